"""What a game is: the options of its recipes, and what it brings so that rows can be drawn, written and read back."""

import abc
import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, get_type_hints

import datasets
import numpy as np
import pyarrow as pa

from nim_dataset.draws import Draws
from nim_dataset.errors import UserError, unknown
from nim_dataset.holdout import is_held_out
from nim_dataset.options import coerce
from nim_dataset.phrases import Layout

# The version of the generated content. Any deliberate change of rows or text bumps it, and with it every ETag.
GENERATOR_VERSION = "1.2.0"

MAX_ROWS = 10**12


@dataclass
class Games:
    """Ground truth of N rows or candidates. A game adds its own arrays; all have N as their first dimension."""

    move_N: np.ndarray
    """The answer as a number, int32."""

    def take(self, index_N: np.ndarray) -> Self:
        """The rows at `index_N`."""
        return type(self)(*(getattr(self, f.name).take(index_N, axis=0) for f in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """All rows of `parts`, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


class Position(Protocol):
    """One game as its prompt tells it."""

    @property
    def move(self) -> int:
        """The right answer as a number."""

    @property
    def answer(self) -> str:
        """The right answer as the generator writes it."""

    def columns(self) -> dict[str, Any]:
        """What the prompt tells, by column of the dataset, `move` included."""

    def holdout_keys(self) -> dict[str, Hashable]:
        """What may be held out besides whole prompts: value by holdout."""

    def options(self) -> dict[int, str]:
        """Every possible answer, by its number, ascending; empty where they are more than a recipe may have."""

    def spans(self, prompt: str) -> dict[str, list[tuple[int, int]]]:
        """Where the things that its prompt tells stand in it: item -> (start, stop) in characters, in order."""


G = TypeVar("G", bound=Games)


@dataclass(eq=False)
class Recipe(datasets.BuilderConfig, abc.ABC, Generic[G]):
    """The options of one recipe of a game, and the game itself. A game is a subclass in a file of `nim_dataset/games`.

    `replace` and `nim_dataset.get_config` return checked copies. Impossible values raise `UserError` (a `ValueError`)
    that names the field, the value and what is allowed.
    """

    version: datasets.Version = field(default_factory=lambda: datasets.Version(GENERATOR_VERSION))

    n_train: int = 30_000
    """Rows in train."""
    n_eval: int = 5_000
    """Rows in eval."""
    holdout: str = "prompt"
    """What eval never shares with train: one of the game's `holdouts`."""
    seed: int = 0
    """Of the rows. Train and eval stay disjoint across seeds and recipes too."""
    answer_prefix: str = ""
    """What each answer begins with: a space, for tools that join prompt and answer as they are."""

    about: ClassVar[str] = "questions and their answers."
    """What a model that is trained on the game is trained on, and what for; the end of a sentence, in Markdown."""
    features: ClassVar[datasets.Features]
    """The columns of every split: `prompt`, `answer` and `move`, and the game's own."""
    holdouts: ClassVar[tuple[str, ...]]
    """What may be held out."""
    sizes: ClassVar[tuple[str, ...]] = ("n_train", "n_eval")
    """The options that say how many rows a split has, and nothing about the rows."""

    # The options as a whole

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have rows, in their usual order."""
        return tuple(split for split in ("train", "eval") if self.num_rows(split) > 0)

    def num_rows(self, split: str) -> int:
        """Rows of a split."""
        return {"train": self.n_train, "eval": self.n_eval}[split]

    def content(self) -> dict[str, Any]:
        """The options, as plain values in a fixed order, with the recipe's name and the generator's version."""
        options = {name: getattr(self, name) for name in option_types(type(self))}
        return {"recipe": self.name, "generator_version": GENERATOR_VERSION, **options}

    def manifest(self) -> dict[str, Any]:
        """What an export says beside its rows."""
        return {"recipe": self.content()}

    def deciding(self, split: str) -> dict[str, Any]:
        """What decides the rows of a split: its size, and the options without those that change none of its rows."""
        options = {name: value for name, value in self.content().items() if name not in self.sizes}
        return {**options, "rows": self.num_rows(split)}

    def digest(self, split: str | None = None) -> str:
        """A hash, in hex: it changes when, and only when, rows of the split do (of any split, where none is named)."""
        content = [self.deciding(name) for name in ([split] if split else self.splits)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]

    def replace(self, **overrides: Any) -> Self:
        """A checked copy with some options changed; values may also be strings, as in a `nim://` path."""
        known = option_types(type(self))
        for key in overrides:
            if key not in known:
                raise UserError(f"{self.name}: {unknown('option', key, known)}")
        changed = dataclasses.replace(self, **{key: coerce(key, value, known[key]) for key, value in overrides.items()})
        changed.check()
        return changed

    def check(self) -> None:
        """Raises `UserError` for values that no dataset can be made from."""
        self.one_of("holdout", self.holdouts)
        spaces = self.answer_prefix.strip(" ") == ""
        self.require(spaces, "answer_prefix", "nothing but spaces is allowed", repr(self.answer_prefix))
        for name in self.sizes:
            self.require(0 <= getattr(self, name) <= MAX_ROWS, name, f"0 to {MAX_ROWS} is allowed")
        self.require(len(self.splits) > 0, "n_train", "a row or more is needed in some split")
        self.require(0 <= self.seed < 2**63, "seed", "0 to 2**63 - 1 is allowed")

    def require(self, condition: bool, name: str, allowed: str, value: object = None) -> None:
        """Raises `UserError` unless `condition` holds; `value` is given where it is not the whole option's."""
        if not condition:
            raise UserError(f"{name}: got {getattr(self, name) if value is None else value}, but {allowed}")

    def one_of(self, name: str, choices: Sequence[str]) -> None:
        """Raises `UserError` unless the option is one of `choices`."""
        if getattr(self, name) not in choices:
            raise UserError(f"{name}: {unknown('value', getattr(self, name), choices)}")

    # What a game brings

    @classmethod
    @functools.cache
    def schema(cls) -> pa.Schema:
        """The Arrow schema of `features`, which `datasets` makes anew each time."""
        return cls.features.arrow_schema

    @classmethod
    def recipes(cls) -> Sequence["Recipe[G]"]:
        """The game's recipes, by which users know it."""
        return ()

    def rotation(self) -> np.ndarray:
        """The kinds of game that the rows of a split take turns in: row i is of kind `rotation()[i % len]`.

        So every split has an equal share of each kind. By default there is a single kind.
        """
        return np.zeros(1, dtype=np.int32)

    def all_games(self) -> G | None:
        """Every game there is, if each is to occur in a split once before one occurs twice; None: they are drawn."""
        return None

    def draw(self, draws: Draws, turn_N: np.ndarray) -> G:
        """N random games; `turn_N` is what `rotation` gives each."""
        raise NotImplementedError

    @abc.abstractmethod
    def key(self, games: G) -> np.ndarray:
        """A hash of what is held out of each game, uint64 of shape N, whoever plays it."""

    def choose(self, split: str, games: G, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        """The pair of names that plays each of N candidates, 0 where nobody does, and which of them the split keeps."""
        key_N = self.key(games)
        return np.zeros(len(key_N), dtype=np.int64), is_held_out(key_N) == (split == "eval")

    @abc.abstractmethod
    def columns(self, games: G) -> dict[str, Any]:
        """The game's own columns: arrays of N values, by name."""

    @abc.abstractmethod
    def lay_out(self, games: G, *players_N: pa.Array) -> Layout:
        """The prompts of N games; with names, one array for each player."""

    @abc.abstractmethod
    def answers(self, games: G) -> tuple[list[str], np.ndarray]:
        """Texts, and which of them is the answer of each of N games."""

    @classmethod
    @abc.abstractmethod
    def parse(cls, prompts: Sequence[str]) -> Sequence[Position | None]:
        """The games that prompts tell, such that they would be written the same; None for any other text."""

    def labelled(self, positions: Sequence[Position | None]) -> Sequence[Position | None]:
        """Parsed games with the answers that this recipe gives them."""
        return positions

    @classmethod
    @abc.abstractmethod
    def chance(cls, rows: pa.Table) -> pa.ChunkedArray:
        """The probability that a uniform guess among the possible answers is right, by row; null where not known."""

    def overview(self) -> dict[str, str]:
        """The recipe in a few cells, by heading, for lists of recipes."""
        return {}

    def note(self, row: dict[str, Any]) -> str:
        """What a reader of a row wants to know besides prompt and answer."""
        return ", ".join(f"{name} {row[name]}" for name in self.features if name not in ("prompt", "answer", "move"))


@dataclass(frozen=True)
class Key:
    """A recipe as it is now, for caches: equal to another where all options are."""

    options: tuple[tuple[str, Any], ...]
    recipe: Recipe = field(compare=False)

    @classmethod
    def of(cls, recipe: Recipe) -> "Key":
        return cls(tuple(recipe.content().items()), recipe)


@functools.cache
def option_types(recipe: type[Recipe]) -> dict[str, Any]:
    """The options of a game's recipes with their types: its own first, then those that it shares with other games."""
    hints = get_type_hints(recipe)
    inherited = {f.name for f in fields(datasets.BuilderConfig)}
    options = {f.name for f in fields(recipe)} - inherited
    order = [name for cls in recipe.__mro__ for name in inspect.get_annotations(cls) if name in options]
    return {name: hints[name] for name in dict.fromkeys(order)}
