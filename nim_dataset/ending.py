"""How reads end when the interpreter does.

Arrow reads ahead, and drops what it read from, in threads of its own. One that needs Python when the interpreter ends
takes the process with it ("terminate called without an active exception", https://github.com/apache/arrow/issues/45214).
"""

import atexit
import gc
import io
import threading
import time
import weakref
from typing import Any

from pyarrow.fs import FSSpecHandler

ENDING = threading.Event()
"""Whether the interpreter ends."""
OPEN_FILES: "weakref.WeakSet[io.IOBase]" = weakref.WeakSet()
PATIENCE = 0.3
"""Seconds to wait for Arrow's threads at the end; less, unless a variable keeps what they read from."""


@atexit.register
def end_reads() -> None:
    """Ends reads that are going on after the piece that they are at, refuses later ones, and waits until Arrow's
    threads have dropped the files and the file system."""
    ENDING.set()
    _close_files()
    kept = [weakref.ref(each) for each in [*OPEN_FILES, *_file_systems_of_arrow()]]
    deadline, pause = time.monotonic() + PATIENCE, 0.001
    while any(reference() is not None for reference in kept) and time.monotonic() < deadline:
        gc.collect()  # `datasets` has a file in a circle with its own methods
        time.sleep(pause)
        pause *= 2


def _close_files() -> None:
    for file in list(OPEN_FILES):
        file.close()


def _file_systems_of_arrow() -> list[Any]:
    """What Arrow, and with it pandas, calls `nim://` by."""
    handlers = [each for each in gc.get_objects() if type(each) is FSSpecHandler]
    return [each for each in handlers if getattr(each.fs, "protocol", None) == "nim"]
