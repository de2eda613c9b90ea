"""What a training run leaves in runs/NAME/: the names of its files, its checkpoints, and whether these are whole.

runs/NAME/
  config.yaml, environment.json    the record of the run, which marks the folder as ours and lists its model's files
  metrics.jsonl                    what was logged
  checkpoint-N/                    all that it takes to go on from step N, and what was measured there
  config.json, *.safetensors, ...  the trained model and its tokenizer; config.json comes last and says "done"
  .saving/                         what is being written: a kill leaves half-written files only there

A checkpoint that was damaged otherwise (a bad disk, a partial copy) is recognised by its checksums.json.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError

from evaluation.artifacts.checksums import CHECKSUMS, is_listed, what_differs, write_checksums
from nim_dataset.errors import UserError
from nim_dataset.files import write_text

CONFIG, ENVIRONMENT, METRICS = "config.yaml", "environment.json", "metrics.jsonl"
STAGING = ".saving"
MARK = {"made_by": "nim-testbed"}
"""In environment.json: a run of ours made this folder, and may delete what it wrote."""
# What a run writes into its folder itself, and what others keep a model in.
RECORDS_AND_MODELS = (
    *(CONFIG, ENVIRONMENT, METRICS, "*config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "*.model", "chat_template.*", "*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth"),
    *("trainer_state.json",),
)

MEASURED = "measured.parquet"
"""In a checkpoint: what was measured of it while training; see `evaluation/measures/known.py`."""
TRAINING_STATE = (
    CHECKSUMS,
    MEASURED,
    "trainer_state.json",
    "*.bin",
    "*.pt",
    "*.pth",
    "pytorch_model_fsdp*",
    "optimizer*",
)
"""What a checkpoint holds beside a model and its tokenizer."""


def is_checkpoint(path: Path) -> bool:
    """Whether this is a folder named `checkpoint-N`; `checkpoint-best-3` and `checkpoint-03` are nobody's step."""
    return re.fullmatch(r"checkpoint-(0|[1-9][0-9]*)", path.name) is not None and path.is_dir()


def step_of(checkpoint: Path) -> int:
    """17 for `.../checkpoint-17`."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def list_checkpoints(run_dir: Path) -> list[Path]:
    """The folders `checkpoint-N` of a run by step, complete or not."""
    return sorted(filter(is_checkpoint, run_dir.glob("checkpoint-*")), key=step_of)


def read_record(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a run and how it came about, from config.yaml and environment.json; raises `UserError`."""
    return _read_mapping(run_dir / CONFIG, yaml.safe_load), read_environment(run_dir)


def read_environment(run_dir: Path) -> dict[str, Any]:
    """The second part of `read_record` alone; raises `UserError`."""
    return _read_mapping(run_dir / ENVIRONMENT, json.loads)


def _read_mapping(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        value = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent}: {path.name} is missing, so this is not a finished run") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: cannot be read (no mapping of names to values)")
    return value


def recorded_files(run_dir: Path) -> list[str] | None:
    """The trained model's files that a run of ours wrote, as its record lists them; None where no run of ours was."""
    try:
        environment = read_environment(run_dir)
        if not MARK.items() <= environment.items():
            return None
        return [name for name in environment["files"] if Path(name).name == name]
    except (UserError, KeyError, TypeError):
        return None


def others_files(run_dir: Path, start_over: bool) -> list[Path]:
    """Models, checkpoints and records in the folder that no run of ours wrote.

    To `start_over`, when all checkpoints are deleted, also those that lack the checksums of ours.
    """
    listed = recorded_files(run_dir)
    ours = {CONFIG, ENVIRONMENT, METRICS, *listed} if listed is not None else set()
    found = [path for path in sorted(run_dir.iterdir()) if path.is_file() and path.name not in ours]
    others = [path for path in found if any(fnmatch(path.name, pattern) for pattern in RECORDS_AND_MODELS)]
    if listed is None:
        others += [path for path in (*list_checkpoints(run_dir), staged(run_dir)) if path.exists()]
    elif start_over:
        others += [path for path in list_checkpoints(run_dir) if not (path / CHECKSUMS).exists()]
    return others


def clear(run_dir: Path, checkpoints: bool) -> None:
    """Deletes what a run of ours left: an interrupted save, the trained model, and if so told the checkpoints."""
    names = recorded_files(run_dir)
    if names is None:
        return
    for folder in [staged(run_dir), *(list_checkpoints(run_dir) if checkpoints else [])]:
        shutil.rmtree(folder, ignore_errors=True)
    for name in sorted(names, key=lambda name: name != "config.json"):  # which says "done"
        _remove(run_dir / name)


def staged(run_dir: Path) -> Path:
    """Where a checkpoint or the trained model is written before it appears under its own name."""
    return run_dir / STAGING


def own_checkpoints(run_dir: Path) -> list[Path]:
    """Those of `list_checkpoints` that a run of ours wrote, by their checksums; others are somebody else's."""
    return [checkpoint for checkpoint in list_checkpoints(run_dir) if (checkpoint / CHECKSUMS).exists()]


def commit_checkpoint(run_dir: Path, step: int) -> None:
    """Writes down the checksums of a finished checkpoint, and moves it out of the staging folder, in one rename.

    A folder of its name without checksums, damaged or somebody else's, is kept as `checkpoint-N-found`.
    """
    target = run_dir / f"checkpoint-{step}"
    if target.exists() and target not in own_checkpoints(run_dir):
        aside = next(name for n in count() if not (name := run_dir / f"{target.name}-found{n or ''}").exists())
        os.replace(target, aside)
        print(f"{target} was there without a run's checksums; it is kept as {aside.name}")
    write_checksums(staged(run_dir) / target.name)
    if target.exists():
        shutil.rmtree(target)
    os.replace(staged(run_dir) / target.name, target)
    with suppress(OSError):  # whatever else lies there is no reason to end a run whose checkpoint is complete
        staged(run_dir).rmdir()


def rotate_checkpoints(run_dir: Path, keep: int) -> None:
    """Deletes all but the last `keep` checkpoints of ours."""
    for checkpoint in own_checkpoints(run_dir)[:-keep]:
        shutil.rmtree(checkpoint, ignore_errors=True)


def staged_model(run_dir: Path) -> Path:
    """Where the trained model is written before `publish_model`."""
    return staged(run_dir) / "final"


def is_over(run_dir: Path) -> bool:
    """Whether training has ended: its last act is to publish the trained model, config.json last."""
    return (run_dir / "config.json").is_file()


def publish_model(run_dir: Path) -> None:
    """Moves the trained model out of the staging folder, file by file; config.json, which says "done", comes last.

    The files are listed in the run's record first, so that they are known as ours whenever this is interrupted.
    """
    files = sorted(staged_model(run_dir).iterdir(), key=lambda file: (file.name == "config.json", file.name))
    environment = read_environment(run_dir)
    environment["files"] = sorted({*environment["files"], *(file.name for file in files)})
    write_text(run_dir / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
    for file in files:
        if file.is_dir():
            _remove(run_dir / file.name)
        os.replace(file, run_dir / file.name)
    shutil.rmtree(staged(run_dir), ignore_errors=True)


def copy_model(checkpoint: Path, run_dir: Path) -> None:
    """Publishes a checkpoint's model and tokenizer, as the end of a run does its own."""
    shutil.copytree(
        checkpoint, staged_model(run_dir), ignore=shutil.ignore_patterns(*TRAINING_STATE), dirs_exist_ok=True
    )
    publish_model(run_dir)


def _remove(path: Path) -> None:
    """Deletes a file or a folder, such as that of a tokenizer's further chat templates; there may be none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The Trainer's state: among others `global_step`, and the `max_steps` that the run was planned for."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text())
    return state


def is_finished(checkpoint: Path, max_steps: int) -> bool:
    """Whether a run of `max_steps` (or, below 1, of the steps it was planned for) ends with this checkpoint."""
    state = read_state(checkpoint)
    return bool(state["global_step"] >= (max_steps if max_steps > 0 else state["max_steps"]))


def last_complete_checkpoint(run_dir: Path, skipped: list[str] | None = None) -> Path | None:
    """The latest checkpoint that training can resume from; `skipped` collects a note for each one passed over."""
    notes = skipped if skipped is not None else []
    if staged(run_dir).exists():
        notes.append(f"{staged(run_dir)}: a save was interrupted here")
    for checkpoint in reversed(list_checkpoints(run_dir)):
        damage = what_differs(checkpoint)
        if damage is None:
            return checkpoint
        notes.append(f"{checkpoint}: {damage}")
    return None


def measured_file(checkpoint: Path) -> Path | None:
    """`MEASURED` of a checkpoint; None where there is none, or where it, the weights or the tokenizer are not as they
    were saved together."""

    def is_read(name: str) -> bool:
        return name == MEASURED or not any(fnmatch(name, pattern) for pattern in TRAINING_STATE)

    whole = is_listed(checkpoint, MEASURED) and what_differs(checkpoint, is_read) is None
    return checkpoint / MEASURED if whole else None


@contextmanager
def writing(what: str, run_dir: Path) -> Iterator[None]:
    """Makes one line, a `UserError`, of what goes wrong inside, where `what` is written to a run's folder."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # each writer has its own name for a full disk
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        free, last = shutil.disk_usage(run_dir).free / 1e9, last_complete_checkpoint(run_dir)
        raise UserError(
            f"output_dir: could not write {what} to '{run_dir}' ({reason}; {free:.2g} GB free); the last good"
            f" checkpoint is {last or 'none'}; see to the folder and continue with --resume_from_checkpoint auto"
        ) from error
