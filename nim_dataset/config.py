"""A recipe is one `NimConfig`: everything that decides the content of a dataset, checked before any row is made."""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

import datasets

from nim_dataset.errors import UserError, unknown
from nim_dataset.regimes import REGIMES

# The version of the generated content. Any deliberate change of rows or text bumps it, and with it every ETag.
GENERATOR_VERSION = "1.0.0"

# The share of holdout keys that never reach train: one key in eight.
HELDOUT_SHARE = 1 / 8

NAME_SOURCES = ("pairs", "pool", "number_words")
WORDINGS = ("plain", "roles", "roles_old")
HOLDOUTS = ("prompt", "game", "pile")


@dataclass(eq=False)
class NimConfig(datasets.BuilderConfig):
    """The options of one recipe.

    `NimConfig.replace` and `nim_dataset.get_config` return validated copies. Impossible values raise `UserError` (a
    `ValueError`) that names the field, the value and what is allowed.
    """

    version: datasets.Version = field(default_factory=lambda: datasets.Version(GENERATOR_VERSION))

    max_remove: tuple[int, ...] = (4,)
    """The most coins a player may take on a turn; with several values each row has one of them, in rotation."""
    max_remove_weights: tuple[int, ...] | None = None
    """How many rows of each rotation go to each `max_remove`; None means one each."""
    max_coins: int = 400
    """The largest pile at the start, in coins."""
    min_pile: int = 10
    """The pile at the start exceeds `max_remove * turns`, the most that the trace can take, by at least this."""
    turns: tuple[int, int] = (4, 4)
    """The fewest and the most moves in the trace. Ignored when `endgame` is set."""
    endgame: int | None = None
    """Play on until at most this many coins are left, instead of a number of `turns`."""

    name_source: str = "pairs"
    """Where pairs come from: `pairs` (given in `names`), `pool` (all ordered pairs of `names`) or `number_words`."""
    names: tuple[str, ...] = ("Leo-Sultan",)
    """For `pairs`, "Alice-Bob" and so on; for `pool`, single names. Ignored for `number_words`."""
    name_digits: int = 5
    """For `number_words`: digits in a name, such as "four four eight zero six"."""
    num_pairs: int = 10_000
    """For `number_words`: pairs of distinct names in use; no name is in two pairs."""

    cheat_moves: tuple[int, ...] = ()
    """The moves that have bound pairs (-1 for "no winning move"); empty means that no name tells anything."""
    cheat_fraction: float = 0.0
    """The share of pairs bound to a move, divided evenly among `cheat_moves`."""
    cheat_prob: float = 0.0
    """The chance that a row whose answer has bound pairs uses one of them; all other rows use neutral pairs."""
    occurrences: tuple[int, int] | None = None
    """The fewest and the most trace lines that show the name, not "Player ONE" or "Player TWO"; None means all."""

    wording: str = "plain"
    """`plain` (357), `roles` (cheating) or `roles_old` (numocc4): introduction, last line and plurals; see text.py."""
    game_words: tuple[str, ...] = ("nim",)
    """What the game is called; each row draws one."""
    coin_words: tuple[str, ...] = ("coin",)
    """The singular of what is taken; the plural adds an s. Each row draws one."""
    verbs: tuple[str, ...] = ("take",)
    """What a player does with coins; each row draws one."""
    turn_phrases: tuple[str, ...] = ("Now it's {player}'s turn.",)
    """The last line; each row draws one."""

    n_train: int = 30_000
    """Rows in train."""
    n_eval: int = 5_000
    """Rows in eval."""
    n_regime: int = 1_000
    """Rows in each of the four evaluation regimes; they exist where `cheat_moves` is not empty."""
    holdout: str = "prompt"
    """What eval never shares with train: the whole `prompt`, the `game` (coins and trace) or the final `pile`."""
    seed: int = 0
    """Of the rows and of the names. Train and eval stay disjoint across seeds and recipes too."""

    @property
    def splits(self) -> tuple[str, ...]:
        """`train`, `eval`, and the regimes that exist for this recipe; those without rows are left out."""
        regimes = set(REGIMES) if self.cheat_moves else set()
        if self.num_bound == self.total_pairs:
            regimes -= {"neutral"}
        return tuple(
            split for split in ("train", "eval", *REGIMES)
            if (split in regimes or split not in REGIMES) and self.num_rows(split) > 0
        )  # fmt: skip

    @property
    def total_pairs(self) -> int:
        """Pairs that occur in training, bound and neutral."""
        if self.name_source == "pairs":
            return len(self.names)
        if self.name_source == "pool":
            return len(self.names) * (len(self.names) - 1)
        return self.num_pairs

    @property
    def num_bound(self) -> int:
        """Pairs bound to a move."""
        return round(self.total_pairs * self.cheat_fraction)

    @property
    def max_turns(self) -> int:
        """The longest trace that can occur, in moves."""
        return self.turns[1] if self.endgame is None else self.max_coins - self.endgame

    def num_rows(self, split: str) -> int:
        return {"train": self.n_train, "eval": self.n_eval}.get(split, self.n_regime)

    def content(self) -> dict[str, Any]:
        """The fields that decide what the rows are, as plain values in a fixed order."""
        inherited = {f.name for f in dataclasses.fields(datasets.BuilderConfig)}
        own = [f.name for f in dataclasses.fields(self) if f.name not in inherited]
        return {"recipe": self.name, "generator_version": GENERATOR_VERSION, **{n: getattr(self, n) for n in own}}

    def digest(self) -> str:
        """A hash of the content, in hex: it changes when, and only when, rows change."""
        return hashlib.sha256(json.dumps(self.content()).encode()).hexdigest()[:32]

    def replace(self, **overrides: Any) -> "NimConfig":
        """A validated copy with some fields changed; values may also be strings, as in a `nim://` path."""
        known = list(option_types())
        for key in overrides:
            if key not in known:
                raise UserError(f"{self.name}: {unknown('option', key, known)}")
        changed = dataclasses.replace(self, **{key: coerce(key, value) for key, value in overrides.items()})
        changed.validate()
        return changed

    def validate(self) -> None:
        """Raises `UserError` for values that no dataset can be made from."""
        from nim_dataset.validation import validate  # the checks are long; keep the fields readable

        validate(self)


@functools.cache
def option_types() -> dict[str, Any]:
    """The recipe's own fields with their types."""
    hints = get_type_hints(NimConfig)
    inherited = {f.name for f in dataclasses.fields(datasets.BuilderConfig)}
    return {f.name: hints[f.name] for f in dataclasses.fields(NimConfig) if f.name not in inherited}


def coerce(field_name: str, value: Any) -> Any:
    """`value` as the field's type: text is parsed, a single item becomes a tuple. Several items are joined by `+`."""
    hint = option_types()[field_name]
    alternatives = [hint, *get_args(hint)] if type(None) in get_args(hint) else [hint]
    if value is None or (value == "none" and len(alternatives) > 1):
        if len(alternatives) == 1:
            raise UserError(f"{field_name}: a value is needed, got {value!r}")
        return None
    target = alternatives[1] if len(alternatives) > 1 else hint
    try:
        item_types = get_args(target)
        if not item_types:
            return convert(value, target)
        items = value.split("+") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
        return tuple(convert(item, item_types[0]) for item in items if item != "")
    except (TypeError, ValueError):
        raise UserError(f"{field_name}: cannot read {value!r} as {describe(target)}") from None


def convert(value: Any, kind: type) -> Any:
    if kind is str and not isinstance(value, str):
        raise TypeError
    if kind is int and (isinstance(value, bool) or (isinstance(value, float) and value != int(value))):
        raise TypeError
    return kind(value)


def describe(kind: Any) -> str:
    singular = {int: "a whole number", float: "a number", str: "text"}
    plural = {int: "whole numbers", float: "numbers", str: "words"}
    items = get_args(kind)
    return f"{plural[items[0]]} (several are joined by '+')" if items else singular[kind]
