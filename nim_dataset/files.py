"""Files are whole or absent: written under a temporary name, then renamed; and JSONL is read in one way."""

import codecs
import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from nim_dataset.errors import UserError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and is deleted when it fails.

    Folders that are missing are made. Its permissions are those that the umask gives to any new file. An `OSError`
    (a full disk, no permission) names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, line ends as they are."""
    with written_whole(path) as file:
        file.write(text.encode())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line."""
    with written_whole(path) as file:
        for row in rows:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of each line that is not blank, one by one.

    Raises `UserError` with file and line for a file that cannot be read, and for a line that is not UTF-8, not JSON, or
    not a JSON object.
    """
    if "\0" in str(path):
        raise UserError(f"{str(path)!r}: no file's name holds a null character")
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    yield number, _parse(line, path, number)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


read_json = json.JSONDecoder().raw_decode
"""`json.loads` in two thirds of its time, for a text that begins at a given place; gives where it ends too."""


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode().rstrip()
        row, end = read_json(text, len(text) - len(text.lstrip(" \t\r\n")))
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, len(text) - len(text[end:].lstrip()))
    except UnicodeDecodeError as error:
        what = f"invalid UTF-8 at byte {error.start + 1}"
    except json.JSONDecodeError as error:
        what = f"invalid JSON at column {error.colno} ({error.msg})"
    except RecursionError:
        what = "invalid JSON (nested too deeply)"
    except ValueError:  # Python reads no number of more than 4,300 digits
        what = "invalid JSON (a number of thousands of digits)"
    else:
        if isinstance(row, dict):
            return row
        what = f"expected a JSON object, got {type(row).__name__}"
    raise UserError(f"{path}, line {number}: {what}")
