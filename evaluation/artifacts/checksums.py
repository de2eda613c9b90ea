"""A folder's files as they were written: their sizes and CRC-32 in `checksums.json`, so that damage is seen later.

CRC-32 finds what disks, copies and full file systems do; it is no protection against somebody who means harm. It takes
less than a second per gigabyte, which is little beside writing or reading it.
"""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

from nim_dataset.files import write_text

CHECKSUMS = "checksums.json"
CHUNK = 1 << 20


def write_checksums(folder: Path) -> None:
    """Writes down all files of a folder, to be called when they are complete."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    found = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "crc32": _crc32(path)} for path in files
    }
    write_text(folder / CHECKSUMS, json.dumps(found, indent=2) + "\n")


def is_listed(folder: Path, name: str) -> bool:
    """Whether a file was there when the folder's files were written down."""
    try:
        return name in json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def what_differs(folder: Path, of: Callable[[str], bool] = lambda name: True) -> str | None:
    """The first file that is not as it was written down, and why, such as `optimizer.pt is damaged`; None if all are.

    Only files `of` these names are looked at, and further files are no concern. Sizes are compared before anything is
    read.
    """
    try:
        written = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        written = {name: entry for name, entry in written.items() if of(name)}
        sizes = {name: int(entry["bytes"]) for name, entry in written.items()}
        sums = {name: int(entry["crc32"]) for name, entry in written.items()}
    except FileNotFoundError:
        return f"{CHECKSUMS} is missing"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return f"{CHECKSUMS} is damaged"
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} is cut short" if file.stat().st_size < size else f"{name} is damaged"
    try:
        return next((f"{name} is damaged" for name, crc in sums.items() if _crc32(folder / name) != crc), None)
    except OSError as error:
        return f"{Path(str(error.filename)).name} cannot be read ({error.strerror})"


def _crc32(path: Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
