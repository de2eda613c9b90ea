"""Who plays: the options that decide the names of a recipe, and the pair of names that each row gets."""

import functools
import json
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nim_dataset.blocks import BLOCK_ROWS, draw_block
from nim_dataset.config import G, Recipe
from nim_dataset.draws import Draws
from nim_dataset.holdout import is_held_out
from nim_dataset.pairs import UNSEEN_NAMES, Pairs, cached_pairs, draw_pairs, unseen_names
from nim_dataset.regimes import REGIMES

NAME_SOURCES = ("pairs", "pool", "number_words")
MAX_POOL = 400


@dataclass(eq=False)
class NamedRecipe(Recipe[G]):
    """The options of a game that two named players play: who they are, and what their names give away."""

    sizes: ClassVar[tuple[str, ...]] = (*Recipe.sizes, "n_regime")

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
    n_regime: int = 1_000
    """Rows in each of the evaluation regimes; they exist where `cheat_moves` is not empty."""

    @property
    def splits(self) -> tuple[str, ...]:
        """`train`, `eval`, and the regimes that exist for this recipe; those without rows are left out."""
        absent = {"neutral"} if self.num_bound == self.total_pairs else set()
        if len(self.cheat_moves) > 1:
            absent.add("counter_neutral")
        exist = self.cheat_moves and self.n_regime > 0
        return (*super().splits, *(regime for regime in REGIMES if exist and regime not in absent))

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
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """What rows say besides names and numbers, as far as options decide it."""

    @abstractmethod
    def all_moves(self) -> set[int]:
        """Every answer that a row may have, as a number."""

    @abstractmethod
    def game_key(self, games: G) -> np.ndarray:
        """A hash of each game, whoever plays it and whatever is held out, uint64 of shape N."""

    @abstractmethod
    def prompt_key(self, games: G, game_key_N: np.ndarray, pair_key_N: np.ndarray) -> np.ndarray:
        """A hash of each whole prompt, from that of its game and that of its names, uint64 of shape N."""

    def num_rows(self, split: str) -> int:
        return self.n_regime if split in REGIMES else super().num_rows(split)

    def deciding(self, split: str) -> dict[str, Any]:
        """The names that may occur, by group, stand for the options that they come from."""
        replaced = ("name_source", "names", "name_digits", "num_pairs", "cheat_fraction", "cheat_prob", "cheat_moves")
        found = {name: value for name, value in super().deciding(split).items() if name not in replaced}
        groups: list[int | str] = ["unseen" if split == "unseen_names" else "neutral"]
        if split in ("cheat_consistent", "counter_cheat"):
            groups = sorted(self.cheat_moves)
        elif split not in REGIMES and self.cheat_prob > 0:
            found["cheat_prob"] = self.cheat_prob
            groups += sorted(self.cheat_moves)
        if split in REGIMES:  # a lie points at the next of the moves
            found["cheat_moves"] = self.cheat_moves if split == "counter_cheat" else sorted(self.cheat_moves)
        pairs = make_pairs(self)
        shown = self.shown_pairs() if split in REGIMES else {}
        members = {group: shown[group] if group in shown else pairs.of(group) for group in groups}
        return {**found, "names": {str(group): pairs.key[members[group]].tobytes().hex() for group in groups}}

    def manifest(self) -> dict[str, Any]:
        """The original's manifest (bound pairs by move, neutral pairs), the unseen pairs and the recipe itself."""
        pairs = make_pairs(self)
        written = [
            f"{first}-{second}" for first, second in zip(pairs.first.to_pylist(), pairs.second.to_pylist(), strict=True)
        ]
        groups = {group: written[start : start + count] for group, (start, count) in pairs.groups.items()}
        return {
            "cheat_by_move": {str(move): groups[move] for move in self.cheat_moves},
            "neutral": groups["neutral"],
            "unseen": groups["unseen"] if self.cheat_moves else [],
            **super().manifest(),
        }

    def check(self) -> None:
        self.one_of("name_source", NAME_SOURCES)
        if self.name_source == "number_words":
            self.check_number_words()
        else:
            self.check_given_names()
        self.check_leak()
        super().check()

    def check_number_words(self) -> None:
        self.require(1 <= self.name_digits <= 6, "name_digits", "1 to 6 is allowed")
        available = 10**self.name_digits // 2 - bool(self.cheat_moves)
        kept = " (one is kept for unseen_names)" if self.cheat_moves else ""
        allowed = f"names of {self.name_digits} digits make 1 to {available} pairs{kept}"
        self.require(1 <= self.num_pairs <= available, "num_pairs", allowed)

    def check_given_names(self) -> None:
        self.require(len(self.names) > 0, "names", "at least one is needed")
        self.require(len(set(self.names)) == len(self.names), "names", "each may be given once")
        wanted, shape = (2, "'Alice-Bob'") if self.name_source == "pairs" else (1, "a single name without '-'")
        for entry in self.names:
            parts = entry.split("-") if self.name_source == "pairs" else [entry]
            fits = len(parts) == wanted and len(set(parts)) == wanted
            self.require(fits, "names", f"name_source={self.name_source} needs entries like {shape}", repr(entry))
            allowed = "a name is printable text without '-', '.', 'Player', 'and', 'is' or 'are'"
            self.require(all(map(is_name, parts)), "names", allowed, repr(entry))
        if self.name_source == "pool":
            count = len(self.names)
            self.require(2 <= count <= MAX_POOL, "names", f"a pool has 2 to {MAX_POOL}", f"{count} names")
        used = {name for entry in self.names for name in entry.split("-")}
        left = not self.cheat_moves or len(unseen_names(used, self.texts)) >= 2
        allowed = f"two of those kept for unseen_names must be left: {', '.join(UNSEEN_NAMES)}"
        self.require(left, "names", allowed, f"{len(used)} names")

    def check_leak(self) -> None:
        for name in ("cheat_fraction", "cheat_prob"):
            self.require(0 <= getattr(self, name) <= 1, name, "0 to 1 is allowed")
        moves = self.cheat_moves
        self.require(len(set(moves)) == len(moves), "cheat_moves", "each move may be given once")
        if not moves:
            for name in ("cheat_fraction", "cheat_prob"):
                self.require(getattr(self, name) == 0, name, "without cheat_moves it must be 0")
            return
        bound, total = self.num_bound, self.total_pairs
        allowed = f"{bound} bound pairs (of {total}) cannot serve {len(moves)} cheat_moves"
        self.require(bound >= len(moves), "cheat_fraction", allowed)
        neutral_needed = self.cheat_prob < 1 or set(moves) != self.all_moves()
        leave = f"cheat_prob={self.cheat_prob} and cheat_moves={moves} leave rows that need neutral pairs"
        allowed = f"all {total} pairs are bound, but {leave}"
        self.require(not neutral_needed or bound < total, "cheat_fraction", allowed)

    def choose(self, split: str, games: G, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        """Train has no held-out prompt and no held-out game, whatever is held out, and eval has nothing else.

        So no recipe's eval shares a prompt with any recipe's train, also where they differ in `holdout`.
        """
        pairs = make_pairs(self)
        game_key_N = self.game_key(games)
        game_N = is_held_out(game_key_N)
        own_N = game_N if self.holdout in ("prompt", "game") else is_held_out(self.key(games))
        if split in REGIMES:
            pair_N = self.choose_for_regime(split, games.move_N, draws)
            return pair_N, self.asks(split, games.move_N) & game_N & own_N
        cheat_N = draws.uniform(len(game_N)) < self.cheat_prob
        group_N = np.zeros(len(game_N), dtype=np.int64)
        for group, move in enumerate(self.cheat_moves, start=1):
            group_N[cheat_N & (games.move_N == move)] = group
        pair_N = draw_pairs([pairs.of("neutral"), *map(pairs.of, self.cheat_moves)], group_N, draws)
        prompt_N = is_held_out(self.prompt_key(games, game_key_N, pairs.key[pair_N]))
        if self.holdout == "prompt":
            own_N = prompt_N
        held_out_N = prompt_N | game_N
        return pair_N, own_N & held_out_N if split == "eval" else ~own_N & ~held_out_N

    def asks(self, regime: str, move_N: np.ndarray) -> np.ndarray:
        """Which answers a regime asks.

        Where several moves are bound, all regimes ask those. Where all bound pairs point at one move (`cheating`), they
        lie in games with another answer: `counter_cheat` asks those, as train draws them, and so does
        `counter_neutral`.
        """
        apart = len(self.cheat_moves) == 1 and regime in ("counter_cheat", "counter_neutral")
        return np.isin(move_N, self.cheat_moves, invert=apart)

    def choose_for_regime(self, regime: str, move_N: np.ndarray, draws: Draws) -> np.ndarray:
        """Names that tell the truth, lie (bound to another of several moves), or tell nothing, as pairs."""
        if regime in ("neutral", "counter_neutral", "unseen_names"):
            pairs = make_pairs(self).of("unseen") if regime == "unseen_names" else self.shown_pairs()["neutral"]
            return draw_pairs([pairs], np.zeros(len(move_N), dtype=np.int64), draws)
        shown = self.shown_pairs()
        position_N = (move_N[:, None] == np.array(self.cheat_moves)).argmax(axis=1)
        if regime == "counter_cheat" and len(self.cheat_moves) > 1:
            moves = len(self.cheat_moves)
            position_N = (position_N + 1 + draws.below(moves - 1, len(move_N))) % moves
        return draw_pairs([shown[move] for move in self.cheat_moves], position_N, draws)

    def shown_pairs(self) -> dict[int | str, np.ndarray]:
        """The pairs, as indices, that the first rows of train show, by group but "unseen".

        They stand for all that train shows, since a smaller train split is a prefix of a larger one. Where there is no
        train split they are those of the one there would be; a group of which train shows no pair is given whole.
        """
        rows = min(self.n_train or BLOCK_ROWS, BLOCK_ROWS)
        return shown_in(TrainStart(json.dumps(self.content() | {"n_train": rows}), rows, self))


@dataclass(frozen=True)
class TrainStart:
    """The first rows of a train split."""

    options: str
    """What decides them, and makes two of these equal."""
    rows: int
    recipe: NamedRecipe = field(compare=False)


@functools.lru_cache(maxsize=32)
def shown_in(train: TrainStart) -> dict[int | str, np.ndarray]:
    """`NamedRecipe.shown_pairs` of a recipe."""
    pairs = make_pairs(train.recipe)
    _, pair_N = draw_block(train.recipe, "train", 0, train.rows)
    shown = {group: np.intersect1d(pairs.of(group), pair_N) for group in pairs.groups if group != "unseen"}
    return {group: found if len(found) else pairs.of(group) for group, found in shown.items()}


def is_name(name: str) -> bool:
    """Whether a text can be a name in every wording."""
    clean = name.strip() == name and name.isprintable() and name != ""
    # The words around a name in some wording would be taken for it, or it for them.
    marked = any(mark in f" {name} " for mark in (" and ", " is ", " are "))
    return clean and not marked and not any(mark in name for mark in ("-", ".", "Player "))


def make_pairs(config: NamedRecipe) -> Pairs:
    """The recipe's pairs; for number words they depend on the seed."""
    return cached_pairs(
        config.name_source,
        config.names,
        config.name_digits,
        config.num_pairs,
        config.cheat_moves,
        config.num_bound,
        config.seed,
        config.texts,
    )
