"""The bytes of a generated file: made piece by piece as far as they are read, and kept within a limit of memory.

A piece is what one block of rows becomes: lines of JSON, or a row group of Parquet; a small Parquet file is one piece.
What was dropped from memory is made again from its rows alone, so a file of any size can be read from anywhere.
"""

import bisect
import functools
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nim_dataset.blocks import BLOCK_ROWS
from nim_dataset.config import Key, Recipe
from nim_dataset.ending import ENDING, OPEN_FILES
from nim_dataset.export import jsonl_bytes, manifest_bytes
from nim_dataset.paths import NimPath
from nim_dataset.rows import generate, generate_jsonl

PARQUET_MAGIC = 4
"""Bytes before the first row group."""


class Pieces:
    """The pieces used last, of all files together: as many as fit into `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int]) -> bytes | None:
        """Piece number `key[1]` of the file with ETag `key[0]`; None if it was dropped."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[str, int], piece: bytes) -> None:
        """Keeps a piece, and drops those that were used longest ago."""
        with self._lock:
            self.bytes += len(piece) - len(self._kept.pop(key, b""))
            self._kept[key] = piece
            while self.bytes > self.limit:
                self.bytes -= len(self._kept.popitem(last=False)[1])


PIECES = Pieces(limit=128 << 20)


class GeneratedFile:
    """The content of one file, for any number of readers and threads."""

    def __init__(self, path: NimPath) -> None:
        self.path = path
        self._ends: list[int] = []  # where each piece that was made ends, in bytes
        self._maker = self._make()
        self._footer = b""
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the file, all of which are made to find out."""
        for _ in self.pieces(len(self._ends)):
            pass
        return self._ends[-1] if self._ends else 0

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes `start` to `stop` (None: to the end); fewer where the file ends before."""
        parts: list[bytes] = []
        index = bisect.bisect_right(self._ends, start)
        first = self._ends[index - 1] if index else 0
        for piece in self.pieces(index):
            parts.append(piece[max(start - first, 0) : None if stop is None else max(stop - first, 0)])
            first += len(piece)
            if stop is not None and first >= stop:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, first: int = 0) -> Iterator[bytes]:
        """All pieces from number `first` on, in order."""
        while (piece := self._piece(first)) is not None:
            yield piece
            first += 1

    def _piece(self, index: int) -> bytes | None:
        """Piece number `index`; None after the last. Raises `ValueError` when the interpreter ends."""
        if ENDING.is_set():
            raise ValueError(f"nim://.../{self.path.split}.{self.path.kind} is read no further: the interpreter ends")
        with self._lock:
            while index >= len(self._ends):
                try:
                    piece = next(self._maker, None)
                except BaseException:  # such as Ctrl-C, after which a reader may try again
                    self._ends.clear()
                    self._maker = self._make()
                    raise
                if piece is None:
                    return None
                self._ends.append(len(piece) + (self._ends[-1] if self._ends else 0))
                PIECES.put((self.path.etag, len(self._ends) - 1), piece)
                if index < len(self._ends):
                    return piece
            piece = PIECES.get((self.path.etag, index))
            if piece is None:
                piece = self._make_alone(index)
                PIECES.put((self.path.etag, index), piece)
            return piece

    def _make(self) -> Iterator[bytes]:
        if self.path.kind != "parquet" or self._is_small:
            pieces = self._blocks if self.path.kind == "jsonl" else 1
            yield from map(self._make_alone, range(pieces))
            return
        sink = Sink()
        with self._writer(sink) as writer:
            for index in range(self._blocks):
                writer.write_table(self._table(index))
                yield sink.drain()
        self._footer = sink.drain()
        yield self._footer

    def _make_alone(self, index: int) -> bytes:
        """Piece number `index`, without those before it; a large Parquet file keeps its footer from the first time."""
        if self.path.kind == "manifest":
            return manifest_bytes(self.path.config)
        if self.path.kind == "jsonl":
            return self._lines(index)
        if self._is_small:
            return self._small_parquet()
        if index == self._blocks:
            return self._footer
        sink = Sink()
        with self._writer(sink) as writer:
            writer.write_table(self._table(index))
            return sink.drain()[PARQUET_MAGIC if index else 0 :]

    def _small_parquet(self) -> bytes:
        """The whole file, where its rows make one row group."""
        sink = pa.BufferOutputStream()
        with self._writer(sink) as writer:
            writer.write_table(pa.concat_tables([self._table(index) for index in range(self._blocks)]))
        return sink.getvalue().to_pybytes()

    def _writer(self, sink: Any) -> pq.ParquetWriter:
        schema = self.path.config.schema()
        return pq.ParquetWriter(sink, schema, **parquet_options(schema))

    @property
    def _is_small(self) -> bool:
        """Of a block of rows at most, which two blocks may share; a thousand such shards cost little more than few."""
        return 0 < self.path.stop - self.path.start <= BLOCK_ROWS

    @property
    def _blocks(self) -> int:
        """Blocks that rows of the file are in; an empty shard has none."""
        start, stop = self.path.start, self.path.stop
        return -(-stop // BLOCK_ROWS) - start // BLOCK_ROWS if start < stop else 0

    def _rows(self, index: int) -> tuple[int, int]:
        """First row and end row of the part in block number `index` of those that the file has rows of."""
        first = (self.path.start // BLOCK_ROWS + index) * BLOCK_ROWS
        return max(self.path.start, first), min(self.path.stop, first + BLOCK_ROWS)

    def _lines(self, index: int) -> bytes:
        return jsonl_bytes(self._made(index, "jsonl"))

    def _table(self, index: int) -> pa.Table:
        return self._made(index, "parquet")

    def _made(self, index: int, kind: str) -> Any:
        """The rows of block number `index`, of which a small shard has a part, made with those beside them."""
        start, stop = self._rows(index)
        first = start // BLOCK_ROWS * BLOCK_ROWS
        last = min(first + BLOCK_ROWS, self.path.config.num_rows(self.path.split))
        if (start, stop) == (first, last):
            return make_block(self.path.config, self.path.split, first, last, kind)
        block = block_made_last(Key.of(self.path.config), self.path.split, first, last, kind)
        return block.slice(start - first, stop - start)


@functools.cache
def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """As `benchmarks/generate_rows.py` finds best: zstd for text that seldom repeats, dictionaries for the rest."""
    text = [column.name for column in schema if column.name != "answer" and pa.types.is_string(column.type)]
    repeating = [
        f"{column.name}.list.element" if pa.types.is_list(column.type) else column.name
        for column in schema
        if column.name not in text
    ]
    return {"compression": dict.fromkeys(text, "zstd"), "use_dictionary": repeating, "data_page_version": "2.0"}


def make_block(config: Recipe, split: str, start: int, stop: int, kind: str) -> Any:
    """Rows of one block as a table, or as lines of JSON."""
    make: Callable[..., Iterator[Any]] = generate_jsonl if kind == "jsonl" else generate
    return next(make(config, split, start, stop))


@functools.lru_cache(maxsize=2)
def block_made_last(recipe: Key, *block: Any) -> Any:
    """`make_block`, for small shards, which are cut from a block one after another."""
    return make_block(recipe.recipe, *block)


@functools.lru_cache(maxsize=64)
def generated(path: NimPath) -> GeneratedFile:
    """The file at a path: the same one for all who read it at a time."""
    return GeneratedFile(path)


class Sink(io.RawIOBase):
    """Takes what a writer writes, to hand it on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._written += len(self._parts[-1])
        return len(self._parts[-1])

    def drain(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class Reader(io.RawIOBase):
    """A position in a generated file."""

    def __init__(self, file: GeneratedFile) -> None:
        self.file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        at = offset + (self.file.size if base is None else base)
        if at < 0:
            raise ValueError(f"cannot seek to byte {at}")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.file.read(self._at, self._at + len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self.file.read(self._at)
        self._at += len(data)
        return data


class OpenFile(io.BufferedReader):
    """A generated file, opened for reading."""

    def __init__(self, file: GeneratedFile) -> None:
        super().__init__(Reader(file), buffer_size=1 << 16)
        self._file = file
        OPEN_FILES.add(self)

    @property
    def size(self) -> int:
        """Bytes of the file, all of which are made to find out."""
        return self._file.size
