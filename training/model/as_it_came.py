"""What is saved beside the weights is the base model's own.

A library that loads a tokenizer and saves it again writes another class and other options, and a new config.json lacks
names that older versions and other tools read.
"""

import json
import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from evaluation.artifacts.on_the_hub import cached_snapshot
from nim_dataset.files import write_text

CONFIG = "config.json"
TOKENIZER = (
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("tokenizer.model", "spiece.model", "*.tiktoken", "chat_template.*"),
)
OF_THE_WEIGHTS = ("dtype", "torch_dtype", "transformers_version")
"""Keys of config.json that the base's file does not tell of the trained weights."""


def base_files(name: str, commit: str | None) -> list[Path]:
    """config.json and the tokenizer's files of a model in a folder, or loaded from the Hub."""
    folder = name if os.path.isdir(name) else cached_snapshot(name, commit or "main")
    kinds = (CONFIG, *TOKENIZER)
    return sorted(file for file in Path(folder or "").glob("*") if any(fnmatch(file.name, kind) for kind in kinds))


def put_back(files: Sequence[Path], folder: Path) -> None:
    """Makes the tokenizer in `folder` that of the `files`, and gives its config.json the keys that only theirs has."""
    theirs = {file.name: file for file in files}
    if len(theirs.keys() - {CONFIG}):
        for file in [file for file in folder.iterdir() if any(fnmatch(file.name, kind) for kind in TOKENIZER)]:
            file.unlink()
        for name in theirs.keys() - {CONFIG}:
            shutil.copyfile(theirs[name], folder / name)
    if CONFIG in theirs and (folder / CONFIG).is_file():
        base, saved = (json.loads(file.read_text(encoding="utf-8")) for file in (theirs[CONFIG], folder / CONFIG))
        kept = {key: value for key, value in base.items() if key not in saved and key not in OF_THE_WEIGHTS}
        write_text(folder / CONFIG, json.dumps({**saved, **kept}, indent=2, sort_keys=True) + "\n")
