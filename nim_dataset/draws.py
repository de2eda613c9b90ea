"""Random columns that are the same on every platform, for any number of processes.

Numbers come from the raw stream of Philox, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3"). NumPy guarantees that raw stream, but not the methods of `Generator`, so the two mappings below are
ours: rows can only change when this project changes them.
"""

import hashlib

import numpy as np
import pyarrow as pa


def digests64(texts_N: pa.StringArray) -> np.ndarray:
    """A stable 64-bit hash of each text, uint64 of shape N."""
    texts = texts_N.cast(pa.binary()).to_pylist()
    joined = b"".join([hashlib.blake2b(text, digest_size=8).digest() for text in texts])
    return np.frombuffer(joined, dtype="<u8")


class Draws:
    """Draws keyed by what they are for: `Draws("cheating", seed, "train", block=3)`."""

    def __init__(self, *key: object, block: int = 0) -> None:
        digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
        self._philox = np.random.Philox(
            key=np.frombuffer(digest, dtype="<u8"), counter=np.array([0, 0, 0, block], dtype=np.uint64)
        )

    def below(self, bound: int | np.ndarray, size: int | tuple[int, ...]) -> np.ndarray:
        """Whole numbers from 0 to `bound - 1`, as int32; `bound` (below 2**31) may differ by element."""
        if isinstance(bound, int) and bound == 1:
            return np.zeros(size, dtype=np.int32)
        scaled = self.raw(size) >> np.uint64(32)
        return ((scaled * np.asarray(bound, dtype=np.uint64)) >> np.uint64(32)).astype(np.int32)

    def uniform(self, size: int) -> np.ndarray:
        """Floats in [0, 1), as float64."""
        return (self.raw(size) >> np.uint64(11)) * 2.0**-53

    def raw(self, size: int | tuple[int, ...]) -> np.ndarray:
        """uint64, all bits random."""
        return self._philox.random_raw(int(np.prod(size))).reshape(size)
