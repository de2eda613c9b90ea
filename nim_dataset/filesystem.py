"""`nim://` paths: an fsspec filesystem whose files are generated when they are read.

This is how `load_dataset("./nim_dataset", "cheating")` works without a loading script: the dataset card lists
`nim://cheating/train.parquet`, `datasets` opens it with fsspec, and so do pandas, Dask and others. The grammar is
`nim://<config>[,key=value...]/<split>[-SSSSS-of-NNNNN].{parquet,jsonl}` and `nim://<config>[,key=value...]/manifest.json`.
"""

import datetime
import functools
import hashlib
import io
import re
from typing import Any

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, unknown
from nim_dataset.export import jsonl_bytes, manifest_bytes
from nim_dataset.recipes import recipe_names
from nim_dataset.rows import generate, generate_jsonl
from nim_dataset.sources import parse_recipe

FILE = re.compile(r"(?P<split>\w+?)(-(?P<shard>\d{5})-of-(?P<shards>\d{5}))?\.(?P<kind>parquet|jsonl)")
MANIFEST = "manifest.json"


class NimFileSystem(AbstractFileSystem):
    """Read-only. Unknown recipes, options, splits and shards raise `FileNotFoundError` with the nearest valid name."""

    protocol = "nim"

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path).strip("/")
        if not path:
            found = [{"name": name, "size": 0, "type": "directory"} for name in recipe_names()]
        elif "/" in path:
            found = [self.info(path)]
        else:
            config = resolve_config(path)
            names = [f"{split}.{kind}" for split in config.splits for kind in ("parquet", "jsonl")] + [MANIFEST]
            found = [self.info(f"{path}/{name}") for name in names]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path).strip("/")
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        directory, _, file = path.partition("/")
        config = resolve_config(directory)
        if not file:
            return {"name": path, "size": 0, "type": "directory"}
        split, kind, _, _ = check_file(config, file)
        content = manifest_bytes(config) if kind == "manifest" else f"{config.digest(split)}/{file}".encode()
        etag = hashlib.sha256(content).hexdigest()[:32]
        # The size is not known before the rows are made; readers that need it get it from the opened file.
        return {"name": path, "size": None, "type": "file", "ETag": etag}

    def size(self, path: str) -> int:
        """Bytes of a file, which is generated to find out (DuckDB asks for it)."""
        return len(self.cat_file(path))

    def modified(self, path: str) -> datetime.datetime:
        """The same for all files and all times, since what a path holds depends on nothing but the path."""
        return datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> io.BytesIO:
        if mode != "rb":
            raise UserError(f"nim://{path}: generated files are read-only, got mode '{mode}'")
        return io.BytesIO(file_bytes(self._strip_protocol(path).strip("/")))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        return file_bytes(self._strip_protocol(path).strip("/"))[start:end]


def resolve_config(directory: str) -> Recipe:
    """The checked config of a directory; raises `FileNotFoundError` with the reason."""
    try:
        return parse_recipe(directory)[0]
    except UserError as error:
        raise FileNotFoundError(f"nim://{directory}: {error}") from None


def check_file(config: Recipe, file: str) -> tuple[str, str, int, int]:
    """Split, kind, first row and end row of a file name; raises `FileNotFoundError`."""
    if file == MANIFEST:
        return "", "manifest", 0, 0
    where = f"nim://{config.name}/{file}"
    match = FILE.fullmatch(file)
    if match is None:
        allowed = f"<split>.parquet, <split>.jsonl, <split>-00000-of-00008.parquet or {MANIFEST}"
        raise FileNotFoundError(f"{where}: a file is {allowed}")
    split = match["split"]
    if split not in config.splits:
        raise FileNotFoundError(f"{where}: {unknown('split', split, config.splits)}")
    shard, shards = int(match["shard"] or 0), int(match["shards"] or 1)
    if shard >= shards:
        raise FileNotFoundError(f"{where}: there is no such shard, they are numbered 00000-of-N to (N-1)-of-N")
    rows = config.num_rows(split)
    return split, match["kind"], rows * shard // shards, rows * (shard + 1) // shards


@functools.lru_cache(maxsize=4)  # readers open a file several times: for its schema, then for its rows
def file_bytes(path: str) -> bytes:
    """The content of one file."""
    directory, _, file = path.partition("/")
    config = resolve_config(directory)
    split, kind, start, stop = check_file(config, file)
    if kind == "manifest":
        return manifest_bytes(config)
    if kind == "jsonl":
        return b"".join(map(jsonl_bytes, generate_jsonl(config, split, start, stop)))
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, config.features.arrow_schema, compression="zstd") as writer:
        for table in generate(config, split, start, stop):
            writer.write_table(table)
    return buffer.getvalue()
