"""Train and eval are disjoint by construction: a row's side is a hash of its holdout key, not a set of seen rows.

The hashes depend on nothing but the key itself, so a key that is held out in one recipe, seed, size or shard is held
out in all of them: eval rows of one recipe are never train rows of another.
"""

import numpy as np

from nim_dataset.config import HELDOUT_SHARE

ODD = np.uint64(0x9E3779B97F4A7C15)
THRESHOLD = np.uint64(int(HELDOUT_SHARE * 2**64))


def mix(values: np.ndarray) -> np.ndarray:
    """A 64-bit finaliser (SplitMix64: Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    with np.errstate(over="ignore"):
        values = values + ODD
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def game_key(coins_N: np.ndarray, moves_NT: np.ndarray) -> np.ndarray:
    """Hash of the coins at the start and the trace, whatever the names, `max_remove` or wording."""
    key_N = coins_N.astype(np.uint64)
    with np.errstate(over="ignore"):
        for moves_N in moves_NT.T:
            key_N = np.where(moves_N > 0, key_N * ODD + moves_N.astype(np.uint64), key_N)
    return mix(key_N)


def prompt_key(game_key_N: np.ndarray, max_remove_N: np.ndarray, pair_key_N: np.ndarray) -> np.ndarray:
    """Hash of all that a prompt tells: the game, `max_remove` and both names. Other wordings of it share the key."""
    with np.errstate(over="ignore"):
        return mix(game_key_N * ODD + max_remove_N.astype(np.uint64) + pair_key_N)


def pile_key(pile_N: np.ndarray) -> np.ndarray:
    """Hash of the coins that are left."""
    return mix(~pile_N.astype(np.uint64))


def is_held_out(key_N: np.ndarray) -> np.ndarray:
    """True for the keys that never reach train."""
    return key_N < THRESHOLD
