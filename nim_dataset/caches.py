"""Where the home cannot be written, as on some clusters' nodes, the libraries' caches are in a temporary folder.

What is set already, such as `HF_DATASETS_CACHE`, is left as it is. A Hub cache that is there can still be read, and so
is left too; what it lacks is downloaded where `HF_HUB_CACHE` says.
"""

import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

PLACES = {
    "HF_DATASETS_CACHE": "datasets",
    "HF_MODULES_CACHE": "modules",
    "HF_EVALUATE_CACHE": "evaluate",
    "HF_METRICS_CACHE": "metrics",
    "HF_HUB_CACHE": "hub",
    "HF_XET_CACHE": "xet",
    "MPLCONFIGDIR": "matplotlib",
}
"""The variables that say where a library keeps its cache, and the folder's name."""


def set_writable_caches() -> None:
    """Sets the variables of `PLACES`, and what libraries that are imported already have made of them; says so.

    This is global to the process and to those that it starts, and has no effect where the home can be written.
    """
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    home = Path(os.environ.get("HF_HOME") or cache_home / "huggingface").expanduser()
    unset = [name for name in PLACES if name not in os.environ]
    if "HUGGINGFACE_HUB_CACHE" in os.environ or _holds_something(home / PLACES["HF_HUB_CACHE"]):
        unset = [name for name in unset if name != "HF_HUB_CACHE"]
    if not unset or _can_be_written(home):
        return
    folder = _own_folder()
    os.environ |= {name: str(folder / PLACES[name]) for name in unset}
    for module in ("huggingface_hub.constants", "datasets.config", "evaluate.config"):
        config: Any = sys.modules.get(module)
        for name in unset:
            if hasattr(config, name):
                setattr(config, name, type(getattr(config, name))(folder / PLACES[name]))
        if module == "datasets.config" and config and "HF_DATASETS_CACHE" in unset:
            config.DOWNLOADED_DATASETS_PATH = config.HF_DATASETS_CACHE / config.DOWNLOADED_DATASETS_DIR
            config.EXTRACTED_DATASETS_PATH = config.DOWNLOADED_DATASETS_PATH / config.EXTRACTED_DATASETS_DIR
    if os.environ.get("RANK", "0") == "0":
        print(f"{home} cannot be written, so caches are in {folder}; HF_HOME names another place", file=sys.stderr)


def _holds_something(folder: Path) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def _can_be_written(folder: Path) -> bool:
    """Whether a file can be made in the folder, or where it would be made."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


def _own_folder() -> Path:
    """One temporary folder for all runs of a user, so that rows and models are there the next time; another one where
    that is somebody else's."""
    user = os.getuid() if hasattr(os, "getuid") else None  # where there are none, each has a folder for such files
    folder = Path(tempfile.gettempdir(), "nim-testbed" if user is None else f"nim-testbed-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or user not in (None, found.st_uid):
        return Path(tempfile.mkdtemp(prefix="nim-testbed-"))
    return folder
