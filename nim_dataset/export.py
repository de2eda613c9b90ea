"""A recipe as files in the original's shape: `data/<config>/{train,eval,...}.jsonl` and `manifest.json`."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.files import written_whole
from nim_dataset.regimes import SPLITS
from nim_dataset.rows import generate_jsonl


def jsonl_bytes(lines: pa.StringArray) -> bytes:
    """All lines end to end: Arrow holds them that way already."""
    _, offsets, text = lines.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return text[int(ends[0]) : int(ends[-1])].to_pybytes()


def manifest_bytes(config: Recipe) -> bytes:
    """The manifest as the text of a JSON file."""
    return (json.dumps(config.manifest(), indent=1) + "\n").encode()


def export(config: Recipe, folder: Path) -> dict[str, int]:
    """Writes every split and the manifest into `folder`; returns the rows written, by split.

    Each file is complete or absent, and the manifest comes last: beside it is nothing of another export. Raises
    `UserError` where the folder cannot be written, or holds a split that is of no export.
    """
    rows = {split: config.num_rows(split) for split in config.splits}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_another_export(config, folder, "manifest.json", ".jsonl")
        with tqdm(total=sum(rows.values()), unit=" rows", desc=f"{config.name} -> {folder}") as progress:
            for split in config.splits:
                with written_whole(folder / f"{split}.jsonl") as file:
                    for lines in generate_jsonl(config, split):
                        file.write(jsonl_bytes(lines))
                        progress.update(len(lines))
        with written_whole(folder / "manifest.json") as file:
            file.write(manifest_bytes(config))
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    return rows


def remove_another_export(config: Recipe, folder: Path, manifest: str, ending: str) -> None:
    """Removes the manifest of an export, and those of its splits that `config` does not have.

    `ending` is that of the splits' files. Raises `UserError` for such a file where there is no manifest.
    """
    said = folder / manifest
    try:
        ours = "recipe" in json.loads(said.read_bytes())
    except (FileNotFoundError, TypeError, ValueError):
        ours = False
    names = (f"{split}{ending}" for split in SPLITS if split not in config.splits)
    others = [file for name in names if (file := folder / name).exists()]
    if others and not ours:
        raise UserError(f"--output {folder}: holds {others[0].name}, which no export left there; choose another folder")
    for file in [*others, *([said] if ours else [])]:
        file.unlink()
