"""The grammar of `nim://` paths: which rows of which recipe a path names, and in which format.

`nim://<config>[,key=value...][,shards=N]/<split>[-SSSSS-of-NNNNN].{parquet,jsonl}`, and `manifest.json` beside them.
"""

import functools
import hashlib
import re
from dataclasses import dataclass, field

from nim_dataset.config import Key, Recipe
from nim_dataset.errors import UserError, unknown
from nim_dataset.export import manifest_bytes
from nim_dataset.sources import parse_recipe

FILE = re.compile(r"(?P<split>\w+?)(-(?P<shard>\d{5})-of-(?P<shards>\d{5}))?\.(?P<kind>parquet|jsonl)")
MANIFEST = "manifest.json"
KINDS = ("parquet", "jsonl")
MAX_SHARDS = 99_999


class NoSuchPathError(UserError, FileNotFoundError):
    """A path that names nothing; the message says what is wrong, and the nearest valid name."""


@dataclass(frozen=True)
class NimPath:
    """What a path names: rows `start` to `stop` of a split in a format, or a manifest. Equal if the content is."""

    etag: str
    """Changes when, and only when, the rows of the file do, or its manifest."""
    config: Recipe = field(compare=False)
    """The checked recipe."""
    split: str = field(compare=False)
    """Empty for a manifest."""
    kind: str = field(compare=False)
    """`parquet`, `jsonl` or `manifest`."""
    start: int = field(compare=False)
    """The first row."""
    stop: int = field(compare=False)
    """The row after the last."""


@functools.lru_cache(maxsize=64)  # checking a recipe takes as long as making a thousand rows
def parse_directory(directory: str) -> tuple[Recipe, int]:
    """The checked recipe of a directory, and into how many shards its listing divides each split.

    Raises `NoSuchPathError`.
    """
    name, *pairs = directory.split(",")
    counts = [pair.removeprefix("shards=") for pair in pairs if pair.startswith("shards=")]
    options = [pair for pair in pairs if not pair.startswith("shards=")]
    try:
        if len(counts) > 1 or (counts and not (counts[0].isdecimal() and 1 <= int(counts[0]) <= MAX_SHARDS)):
            raise UserError(f"shards: got {' and '.join(counts)}, but one number from 1 to {MAX_SHARDS} is allowed")
        return parse_recipe(",".join([name, *options]))[0], int(counts[0]) if counts else 1
    except UserError as error:
        raise NoSuchPathError(f"nim://{directory}: {error}") from None


def shard_names(split: str, shards: int, kind: str) -> list[str]:
    """The files that hold a split together: one, or `shards` of them."""
    if shards == 1:
        return [f"{split}.{kind}"]
    return [f"{split}-{shard:05d}-of-{shards:05d}.{kind}" for shard in range(shards)]


def file_names(config: Recipe, shards: int) -> list[str]:
    """All files of a directory."""
    return [name for split in config.splits for kind in KINDS for name in shard_names(split, shards, kind)]


def parse_file(config: Recipe, file: str) -> NimPath:
    """What a file of a recipe's directory holds; raises `NoSuchPathError`."""
    if file == MANIFEST:
        return NimPath(_etag(manifest_bytes(config)), config, "", "manifest", 0, 0)
    where = f"nim://{config.name}/{file}"
    match = FILE.fullmatch(file)
    if match is None:
        allowed = f"<split>.parquet, <split>.jsonl, <split>-00000-of-00008.parquet or {MANIFEST}"
        raise NoSuchPathError(f"{where}: a file is {allowed}")
    split = match["split"]
    if split not in config.splits:
        raise NoSuchPathError(f"{where}: {unknown('split', split, config.splits)}")
    shard, shards = int(match["shard"] or 0), int(match["shards"] or 1)
    if shard >= shards:
        raise NoSuchPathError(f"{where}: there is no such shard, they are numbered 00000-of-N to (N-1)-of-N")
    rows = config.num_rows(split)
    etag = _etag(f"{_digest(Key.of(config), split)}/{file}".encode())
    return NimPath(etag, config, split, match["kind"], rows * shard // shards, rows * (shard + 1) // shards)


@functools.lru_cache(maxsize=64)  # it takes all names of the recipe, and a split may have thousands of files
def _digest(recipe: Key, split: str) -> str:
    return recipe.recipe.digest(split)


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
