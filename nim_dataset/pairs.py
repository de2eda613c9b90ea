"""Pairs of player names: what they are, which move each is bound to, and how one is drawn for each row."""

import functools
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nim_dataset.draws import Draws, digests64

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
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

    def of(self, group: int | str) -> np.ndarray:
        """The pairs of a group, as indices."""
        start, count = self.groups[group]
        return np.arange(start, start + count)

    def columns(self, pair_N: np.ndarray, first_N: pa.Array, second_N: pa.Array) -> dict[str, Any]:
        """The columns of `NAME_COLUMNS`."""
        bound_N = self.bound_move[pair_N]
        return {
            "player_one": first_N,
            "player_two": second_N,
            "bucket": (bound_N != 0).astype(np.int64),
            "cheat_move": pa.array(bound_N, mask=bound_N == 0),
        }


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
        first, second = number_word_pairs(digits, num_pairs, seed)
        seen = num_pairs
    else:
        if source == "pairs":
            pairs = [tuple(entry.split("-")) for entry in names]
        else:
            pairs = [(first, second) for first in names for second in names if first != second]
        seen = len(pairs)
        free = unseen_names({name for pair in pairs for name in pair}, texts)
        pairs += zip(free[::2], free[1::2], strict=False)
        first, second = (pa.array(side, type=pa.string()) for side in zip(*pairs, strict=True))
    bound_move = np.zeros(len(first), dtype=np.int32)
    groups: dict[int | str, tuple[int, int]] = {}
    if cheat_moves:
        bounds = [i * num_bound // len(cheat_moves) for i in range(len(cheat_moves) + 1)]
        for move, start, stop in zip(cheat_moves, bounds, bounds[1:], strict=False):
            bound_move[start:stop] = move
            groups[move] = (start, stop - start)
    groups["neutral"] = (num_bound, seen - num_bound)
    groups["unseen"] = (seen, len(first) - seen)
    key = digests64(pc.binary_join_element_wise(first, second, "-"))
    return Pairs(first, second, bound_move, key, groups)


def number_word_pairs(digits: int, num_pairs: int, seed: int) -> tuple[pa.Array, pa.Array]:
    """Both sides of pairs of distinct number words: those in use, then unseen ones (as many again, where the digits
    allow)."""
    order = np.argsort(Draws("number_words", digits, seed).raw(10**digits), kind="stable")
    words = number_words(digits, order[: min(4 * num_pairs, len(order) // 2 * 2)])
    index = np.arange(len(words))
    return words.take(pa.array(index[::2])), words.take(pa.array(index[1::2]))


def number_words(digits: int, numbers_N: np.ndarray) -> pa.Array:
    """Numbers below `10**digits`, digit by digit, such as "zero four". Up to three digits are written at once."""
    if digits > 3:
        high, low = (number_words(n, part) for n, part in zip((digits - 3, 3), np.divmod(numbers_N, 1000), strict=True))
        return pc.binary_join_element_wise(high, low, " ")
    return pa.array([" ".join(words) for words in itertools.product(NUMBER_WORDS, repeat=digits)]).take(
        pa.array(numbers_N)
    )


def draw_pairs(groups: Sequence[np.ndarray], group_N: np.ndarray, draws: Draws) -> np.ndarray:
    """A random pair for each of N rows, out of `groups[group_N]`, each an array of pairs."""
    counts = np.array([len(group) for group in groups])
    starts = np.cumsum(counts) - counts
    return np.concatenate(groups)[starts[group_N] + draws.below(counts[group_N], len(group_N))]
