"""Train and eval are disjoint by construction: a row's side is a hash of its holdout key, not a set of seen rows.

The hashes depend on nothing but the key itself, so a key that is held out in one recipe, seed, size or shard is held
out in all of them: eval rows of one recipe are never train rows of another.
"""

import numpy as np

# The share of keys that never reach train: one in eight.
HELDOUT_SHARE = 1 / 8

ODD = np.uint64(0x9E3779B97F4A7C15)
THRESHOLD = np.uint64(int(HELDOUT_SHARE * 2**64))


def mix(values: np.ndarray) -> np.ndarray:
    """A 64-bit finaliser (SplitMix64: Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    with np.errstate(over="ignore"):
        values = values + ODD
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def is_held_out(key_N: np.ndarray) -> np.ndarray:
    """True for the keys that never reach train."""
    return key_N < THRESHOLD
