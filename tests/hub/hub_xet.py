"""Xet uploads to the local Hub, as far as the server must understand them: files come as chunks in xorbs, and a shard
that says which chunks make which file. (https://huggingface.co/docs/xet specifies both formats.)

Files are put together when the shard comes and then kept like those of LFS; downloads are plain HTTP.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

Chunks = list[bytes]
ENTRY = 48  # bytes of each record of a shard, its header included
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30
PLAIN, LZ4, GROUPED_LZ4 = 0, 1, 2


def hash_name(raw: bytes) -> str:
    """The name of a 32-byte hash in a URL: four little-endian 64-bit numbers in hex."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def read_xorb(body: bytes) -> Chunks:
    """The chunks of a xorb: each has a header of 8 bytes (version, packed size, compression, size), then its data."""
    chunks, position = [], 0
    # A xorb may end with a footer, whose first byte is no chunk version.
    while position < len(body) and body[position] == 0:
        packed_size = int.from_bytes(body[position + 1 : position + 4], "little")
        kind, size = body[position + 4], int.from_bytes(body[position + 5 : position + 8], "little")
        position += 8
        chunks.append(unpack(body[position : position + packed_size], kind, size))
        position += packed_size
    return chunks


def unpack(packed: bytes, kind: int, size: int) -> bytes:
    if kind == PLAIN:
        return packed
    content = pa.decompress(packed, decompressed_size=size, codec="lz4", asbytes=True)
    if kind == LZ4:
        return content
    # The first bytes of all groups of four come first, then the second ones, and so on.
    ungrouped, start = np.empty(size, np.uint8), 0
    for place in range(4):
        count = len(ungrouped[place::4])
        ungrouped[place::4] = np.frombuffer(content, np.uint8, count, start)
        start += count
    return ungrouped.tobytes()


def read_shard(body: bytes, xorbs: Mapping[str, Chunks]) -> Iterator[tuple[str, bytes]]:
    """(sha256, content) of each file that a shard describes, put together from chunks of xorbs uploaded before."""
    position = ENTRY
    while body[position : position + 32] != b"\xff" * 32:
        flags, count = struct.unpack_from("<II", body, position + 32)
        content = b""
        for _ in range(count):
            position += ENTRY
            start, stop = struct.unpack_from("<II", body, position + 40)
            content += b"".join(xorbs[hash_name(body[position : position + 32])][start:stop])
        position += ENTRY * (count * bool(flags & WITH_VERIFICATION) + bool(flags & WITH_METADATA) + 1)
        yield hashlib.sha256(content).hexdigest(), content
