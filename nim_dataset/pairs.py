"""Pairs of player names: what they are, which move each is bound to, and how one is drawn for each row."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nim_dataset.draws import Draws, digest64

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
    digit_words = [
        pa.array(NUMBER_WORDS).take(pa.array(numbers // 10**place % 10)) for place in reversed(range(digits))
    ]
    words = pc.binary_join_element_wise(*digit_words, " ").to_pylist()
    pairs = list(zip(words[::2], words[1::2], strict=True))
    return pairs[:num_pairs], pairs[num_pairs:]


def draw_pairs(groups: Sequence[np.ndarray], group_N: np.ndarray, draws: Draws) -> np.ndarray:
    """A random pair for each of N rows, out of `groups[group_N]`, each an array of pairs."""
    counts = np.array([len(group) for group in groups])
    starts = np.cumsum(counts) - counts
    return np.concatenate(groups)[starts[group_N] + draws.below(counts[group_N], len(group_N))]
