"""Loading with `HF_HUB_OFFLINE=1`: `datasets` then refuses every URL, before it asks which filesystem it belongs to.

Nothing is remote about `nim://`, so such paths are let through; all others are refused as ever.
"""

from typing import Any

import datasets
import fsspec
from datasets.utils import file_utils


def serve_offline() -> None:
    """Changes two functions of `datasets.utils.file_utils`, by which `datasets` asks for a file's ETag and copies it.

    This is global to the process, and has no effect online. `tests/nim_dataset/test_access.py` loads offline, and fails
    where a release of `datasets` no longer calls them.
    """
    head, get = file_utils.fsspec_head, file_utils.fsspec_get

    def passes(url: str) -> bool:
        return datasets.config.HF_HUB_OFFLINE and url.startswith("nim://")

    def fsspec_head(url: str, *args: Any, **kwargs: Any) -> Any:
        return fsspec.filesystem("nim").info(url) if passes(url) else head(url, *args, **kwargs)

    def fsspec_get(url: str, temp_file: Any, *args: Any, **kwargs: Any) -> Any:
        if passes(url):
            return fsspec.filesystem("nim").get_file(url, temp_file.name)
        return get(url, temp_file, *args, **kwargs)

    file_utils.fsspec_head, file_utils.fsspec_get = fsspec_head, fsspec_get
