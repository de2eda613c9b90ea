"""`nim://` paths: an fsspec filesystem whose files are generated when they are read.

This is how `load_dataset("./nim_dataset", "cheating")` works without a loading script: the dataset card lists
`nim://cheating/train.parquet`, `datasets` opens it with fsspec, and so do pandas, Dask, Ray and others. What a path
means is in `nim_dataset/paths.py`.
"""

import contextlib
import datetime
import fnmatch
import re
from collections.abc import ItemsView, Iterator, ValuesView
from errno import EISDIR, EROFS
from typing import Any, NoReturn

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import has_magic
from fsspec.spec import AbstractBufferedFile

from nim_dataset.errors import UserError
from nim_dataset.generated import GeneratedFile, OpenFile, generated
from nim_dataset.late_torch import wait_for_torch
from nim_dataset.offline import serve_offline
from nim_dataset.paths import MANIFEST, NimPath, NoSuchPathError, file_names, parse_directory, parse_file
from nim_dataset.recipes import recipe_names

# This module is imported by whoever first meets a nim:// path, `datasets` included.
serve_offline()
wait_for_torch()


class ReadOnlyError(UserError, OSError):
    """Something would be written or removed."""

    errno = EROFS


class PathError(UserError, OSError):
    """A path that names nothing, where a `FileNotFoundError` would lose its reason: pyarrow, and with it pandas and
    polars, puts one of its own in the place of that which `info` raises."""


class NimFileSystem(AbstractFileSystem):
    """Read-only. Unknown recipes, options, splits and shards raise a `UserError` that is an `OSError`, with the nearest
    valid name: a `FileNotFoundError` when opened or listed, a `PathError` from `info` and `glob`."""

    protocol = "nim"

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        directory, _, file = path.partition("/")
        if not path:
            names = recipe_names()
            return [{"name": name, "size": 0, "type": "directory"} for name in names] if detail else names
        config, shards = parse_directory(directory)
        files = [file] if file else [*file_names(config, shards), MANIFEST]
        if not detail:
            return [f"{directory}/{file}" for file in files]
        return [FileInfo(f"{directory}/{file}", parse_file(config, file)) for file in files]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        directory, _, file = path.partition("/")
        try:
            if file:
                return FileInfo(path, parse_file(parse_directory(directory)[0], file))
            if directory:
                parse_directory(directory)
        except NoSuchPathError as error:
            raise PathError(str(error)) from None
        return {"name": path, "size": 0, "type": "directory"}

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """The files that match. Raises `UserError` for a pattern that takes several splits for one table, and for a
        pattern of shards where it is not said how many there are."""
        path = self._strip_protocol(path)
        directory, _, file = path.partition("/")
        if not has_magic(path):
            self.info(path)
            found = [path]
        elif not file or "**" in path:
            found = super().glob(path, maxdepth, **{**kwargs, "detail": False, "one_table": False})
        else:
            directories = fnmatch.filter(recipe_names(), directory) if has_magic(directory) else [directory]
            found = [f"{directory}/{name}" for directory in directories for name in match_files(directory, file)]
        check_one_table(path, found)
        return {name: self.info(name) for name in found} if kwargs.get("detail") else found

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """As fsspec's. With `one_table`, raises `UserError` where the Parquet files hold several splits: the default
        with both `withdirs` and `detail`, by which pyarrow, and so pandas and Ray, asks for a directory to read."""
        one_table = kwargs.pop("one_table", withdirs and detail)
        self.info(path)  # fsspec's own finds nothing where nothing is, so that `du` says 0
        found = super().find(path, maxdepth, withdirs, detail, **kwargs)
        if one_table:
            check_one_table(self._strip_protocol(path), [name for name in found if name.endswith(".parquet")])
        return found

    def modified(self, path: str) -> datetime.datetime:
        """The same for all files and all times, since what a path holds depends on nothing but the path."""
        return datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)

    def ukey(self, path: str) -> str:
        """The file's ETag."""
        return self.info(path)["ETag"]

    def checksum(self, path: str) -> int:
        """The file's ETag as a number."""
        return int(self.ukey(path), 16)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str | None = None,
        size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        if mode != "rb":
            self._refuse(path)
        if cache_type is not None:  # `blockcache::` brings a cache of its own, which fsspec's file asks
            return AbstractBufferedFile(self, path, block_size=block_size, cache_type=cache_type, size=size)
        return OpenFile(self._file(path))

    def _file(self, path: str) -> GeneratedFile:
        directory, _, file = self._strip_protocol(path).partition("/")
        if not file:
            raise IsADirectoryError(EISDIR, "a recipe is a directory of its splits", f"nim://{directory}")
        return generated(parse_file(parse_directory(directory)[0], file))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        file = self._file(path)
        start, end = (at + file.size if at is not None and at < 0 else at for at in (start, end))
        return file.read(max(start or 0, 0), end)

    def get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **kwargs: Any
    ) -> None:
        if self.isdir(rpath):
            super().get_file(rpath, lpath, callback, outfile, **kwargs)
            return
        pieces = self._file(rpath).pieces()
        with open(lpath, "wb") if outfile is None else contextlib.nullcontext(outfile) as file:
            for piece in pieces:
                callback.relative_update(file.write(piece))

    def _refuse(self, path: str, *args: Any, **kwargs: Any) -> NoReturn:
        raise ReadOnlyError(f"nim://{self._strip_protocol(path)}: generated files are read-only")

    mkdir = makedirs = rmdir = touch = cp_file = pipe_file = rm = rm_file = _rm = mv = _refuse

    def put_file(self, lpath: str, rpath: str, *args: Any, **kwargs: Any) -> None:
        self._refuse(rpath)


class FileInfo(dict[str, Any]):
    """What `info` tells of a file. Its `size` is found, by making the file, when it is asked for."""

    def __init__(self, name: str, path: NimPath) -> None:
        super().__init__(name=name, size=None, type="file", ETag=path.etag)
        self._path = path

    def __getitem__(self, key: str) -> Any:
        return generated(self._path).size if key == "size" else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        return generated(self._path).size if key == "size" else super().get(key, default)

    def __iter__(self) -> Iterator[str]:  # so that dict(info) and {**info} ask __getitem__
        return super().__iter__()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return dict(self).items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return dict(self).values()

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> "FileInfo":
        return FileInfo(self["name"], self._path)

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def match_files(directory: str, pattern: str) -> list[str]:
    """The files of a directory that a pattern matches; it may name a number of shards: `train-*-of-00004.parquet`."""
    config, shards = parse_directory(directory)
    named = re.search(r"-of-(\d{5})\.", pattern)
    found = fnmatch.filter([*file_names(config, int(named[1]) if named else shards), MANIFEST], pattern)
    if not found and fnmatch.filter(file_names(config, 2), pattern):
        raise UserError(
            f"nim://{directory}/{pattern}: say how many shards there are: nim://{directory},shards=8/{pattern}"
        )
    return found


def check_one_table(pattern: str, found: list[str]) -> None:
    """Raises `UserError` where files of one format hold several splits; `pattern` is the path that stands for them."""
    files = [path.rpartition("/")[2] for path in found]
    splits = list(dict.fromkeys(re.split(r"[-.]", file)[0] for file in files))
    if len(splits) > 1 and len({file.rpartition(".")[2] for file in files}) == 1:
        raise UserError(
            f"nim://{pattern}: this would mix rows of {', '.join(splits)} in one table; name one split, such as "
            f"nim://{found[0]}, or list the files"
        )
