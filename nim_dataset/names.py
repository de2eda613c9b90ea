"""Who plays: the pairs of names of a recipe, which move each pair is bound to, and the options that decide it."""

import functools
from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nim_dataset.config import G, Recipe
from nim_dataset.draws import Draws, digest64
from nim_dataset.regimes import REGIMES

NAME_SOURCES = ("pairs", "pool", "number_words")
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_POOL = 400

# Names kept for `unseen_names` where the recipe's own names are given: those that the recipe uses are left out.
UNSEEN_NAMES = (
    "Ivan",
    "Judy",
    "Kevin",
    "Laura",
    "Mallory",
    "Niaj",
    "Olivia",
    "Peggy",
    "Quentin",
    "Rupert",
    "Sybil",
    "Trent",
    "Ursula",
    "Victor",
    "Wendy",
    "Yvonne",
)

BUCKETS = ("neutral", "cheat")
NAME_COLUMNS = {
    "player_one": datasets.Value("string"),
    "player_two": datasets.Value("string"),
    "bucket": datasets.ClassLabel(names=list(BUCKETS)),
    "cheat_move": datasets.Value("int32"),
}


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
    def key_with_names(self, games: G, key_N: np.ndarray, pair_key_N: np.ndarray) -> np.ndarray:
        """The hash by which a row belongs to train or eval, from that of its game and that of its names; shape N."""

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
        spans = {group: slice(start, start + count) for group, (start, count) in pairs.groups.items()}
        return {**found, "names": {str(group): pairs.key[spans[group]].tobytes().hex() for group in groups}}

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


def is_name(name: str) -> bool:
    """Whether a text can be a name in every wording."""
    clean = name.strip() == name and name.isprintable() and name != ""
    # The words around a name in some wording would be taken for it, or it for them.
    marked = any(mark in f" {name} " for mark in (" and ", " is ", " are "))
    return clean and not marked and not any(mark in name for mark in ("-", ".", "Player "))


def unseen_names(used: Collection[str], texts: Sequence[str]) -> list[str]:
    """The kept names that are not used as names, nor occur in other texts of the recipe."""
    return [name for name in UNSEEN_NAMES if name not in used and not any(name in text for text in texts)]


@dataclass(frozen=True)
class Pairs:
    """All pairs of a recipe, sorted into groups: the pairs bound to each cheat move, then neutral, then unseen."""

    first: pa.Array
    """Player one's name, by pair."""
    second: pa.Array
    """Player two's name, by pair."""
    bound_move: np.ndarray
    """The move that the pair is bound to, by pair; 0 for pairs that are not bound (no move is 0)."""
    key: np.ndarray
    """A 64-bit hash of both names, by pair; it does not depend on the recipe."""
    groups: dict[int | str, tuple[int, int]]
    """First index and number of pairs of each group: a cheat move, "neutral" or "unseen"."""

    @functools.cached_property
    def in_json(self) -> tuple[pa.Array, pa.Array]:
        """`first` and `second` as inside JSON strings; names are printable, so two escapes are all it takes."""
        first, second = (pc.replace_substring(side, "\\", "\\\\") for side in (self.first, self.second))
        return pc.replace_substring(first, '"', '\\"'), pc.replace_substring(second, '"', '\\"')

    def draw(self, groups: Sequence[int | str], group_N: np.ndarray, draws: Draws) -> np.ndarray:
        """A random pair for each of N rows, out of `groups[group_N]`."""
        starts, counts = np.array([self.groups[group] for group in groups]).T
        return starts[group_N] + draws.below(counts[group_N], len(group_N))

    def columns(self, pair_N: np.ndarray, first_N: pa.Array, second_N: pa.Array) -> dict[str, Any]:
        """The columns of `NAME_COLUMNS`."""
        bound_N = self.bound_move[pair_N]
        return {
            "player_one": first_N,
            "player_two": second_N,
            "bucket": (bound_N != 0).astype(np.int64),
            "cheat_move": pa.array(bound_N, mask=bound_N == 0),
        }


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


@functools.lru_cache(maxsize=8)
def cached_pairs(
    source: str,
    names: tuple[str, ...],
    digits: int,
    num_pairs: int,
    cheat_moves: tuple[int, ...],
    num_bound: int,
    seed: int,
    texts: tuple[str, ...],
) -> Pairs:
    if source == "number_words":
        seen, unseen = number_word_pairs(digits, num_pairs, seed)
    else:
        if source == "pairs":
            seen = [(first, second) for first, second in (entry.split("-") for entry in names)]
        else:
            seen = [(first, second) for first in names for second in names if first != second]
        free = unseen_names({name for pair in seen for name in pair}, texts)
        unseen = list(zip(free[::2], free[1::2], strict=False))
    bound_move = np.zeros(len(seen) + len(unseen), dtype=np.int32)
    groups: dict[int | str, tuple[int, int]] = {}
    if cheat_moves:
        bounds = [i * num_bound // len(cheat_moves) for i in range(len(cheat_moves) + 1)]
        for move, start, stop in zip(cheat_moves, bounds, bounds[1:], strict=False):
            bound_move[start:stop] = move
            groups[move] = (start, stop - start)
    groups["neutral"] = (num_bound, len(seen) - num_bound)
    groups["unseen"] = (len(seen), len(unseen))
    pairs = [*seen, *unseen]
    key = np.array([digest64(f"{first}-{second}") for first, second in pairs], dtype=np.uint64)
    first, second = (pa.array(side, type=pa.string()) for side in zip(*pairs, strict=True))
    return Pairs(first, second, bound_move, key, groups)


def number_word_pairs(digits: int, num_pairs: int, seed: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs of distinct number words, in use and unseen (as many again, where the digits allow)."""
    order = np.argsort(Draws("number_words", digits, seed).raw(10**digits), kind="stable")
    numbers = order[: min(4 * num_pairs, len(order) // 2 * 2)]
    words = [" ".join(NUMBER_WORDS[int(digit)] for digit in f"{number:0{digits}d}") for number in numbers]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    return pairs[:num_pairs], pairs[num_pairs:]
