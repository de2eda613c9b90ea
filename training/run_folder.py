"""A run's folder: whether it can be written, what is in it already, and the record of how the run came about."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from nim_dataset.errors import UserError
from training.base_model import BaseModel
from training.checkpoints import STAGING, last_complete_checkpoint, list_checkpoints, step_of, what_is_missing, writing
from training.config import FIXED, Config
from training.encoding import EncodedRows

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "huggingface_hub", "nim-testbed")
GIGABYTE = 1e9
START_OVER = "start over with --overwrite_output_dir, or choose another --output_dir"


def open_folder(config: Config) -> Path:
    """The run's folder, made if need be; raises `UserError` when it cannot be written, or holds another run."""
    run_dir = Path(str(config.train.output_dir))
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe = run_dir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"output_dir: cannot write to '{run_dir}' ({error.strerror}); choose another folder") from None
    there = [path.name for path in (run_dir / "model.safetensors", *list_checkpoints(run_dir)) if path.exists()]
    if there and not config.train.overwrite_output_dir and not config.train.resume_from_checkpoint:
        raise UserError(
            f"output_dir: '{run_dir}' already has {there[-1]}; continue with --resume_from_checkpoint auto,"
            f" {START_OVER}"
        )
    return run_dir


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Keeps other runs out of the folder; raises `UserError` when one is at work there."""
    lock = FileLock(run_dir / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"output_dir: another run is at work in '{run_dir}'; wait, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def check_space(run_dir: Path, model: torch.nn.Module) -> None:
    """Raises `UserError` when not even one checkpoint (weights and two moments, in fp32) fits on the disk."""
    needed = 12 * sum(parameter.numel() for parameter in model.parameters())
    free = shutil.disk_usage(run_dir).free
    if free < needed:
        raise UserError(
            f"output_dir: a checkpoint takes about {needed / GIGABYTE:.2g} GB and '{run_dir}' has"
            f" {free / GIGABYTE:.2g} GB left; free some space or choose another folder"
        )


def find_resume(config: Config, run_dir: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint to continue from, if any, and notes on those that were passed over."""
    wanted = config.train.resume_from_checkpoint
    notes: list[str] = []
    if not wanted:
        return None, notes
    if wanted != "auto":
        if not (Path(wanted) / "trainer_state.json").is_file():
            raise UserError(
                f"resume_from_checkpoint: '{wanted}' is not a training checkpoint; give its folder or 'auto'"
            )
        if missing := what_is_missing(Path(wanted)):
            raise UserError(f"resume_from_checkpoint: '{wanted}' is not complete: {missing}; give another, or 'auto'")
        return Path(wanted), notes
    last = last_complete_checkpoint(run_dir, notes)
    if last is None and (list_checkpoints(run_dir) or (run_dir / "model.safetensors").exists()):
        raise UserError(
            f"resume_from_checkpoint: '{run_dir}' holds a run without a checkpoint to continue from"
            f" ({'; '.join(notes) or 'it saved none'}); {START_OVER}"
        )
    return last, notes


def rows_per_step(config: Config, processes: int) -> int:
    """The rows between two updates of the weights, over all processes."""
    return config.train.train_batch_size * config.train.gradient_accumulation_steps * processes


def check_same_run(config: Config, base: BaseModel, rows: EncodedRows, checkpoint: Path, processes: int) -> None:
    """Raises `UserError` unless `checkpoint` is of this model's shape, and its run had this base, data and settings.

    What the run had is read in the folder that the checkpoint lies in; a checkpoint alone is compared by shape.
    """
    remedy = "give the run's own, or start another run, in another --output_dir"
    run_dir, environment = checkpoint.parent, None
    if (run_dir / "environment.json").exists():
        try:
            environment = json.loads((run_dir / "environment.json").read_text())
            before, now = yaml.safe_load((run_dir / "config.yaml").read_text()), yaml.safe_load(config.to_yaml())
            changed = [key for key in FIXED if before[key] != now[key]]
            recorded, train_rows, rows_before = (
                environment[key] for key in ("base_model", "train_rows", "rows_per_step")
            )
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            raise UserError(
                f"resume_from_checkpoint: config.yaml or environment.json in '{run_dir}' is damaged, so nobody knows"
                " what run it is; start another one, in another --output_dir"
            ) from None
        for key in changed:
            raise UserError(f"{key}: the run in '{run_dir}' has {before[key]}, not {now[key]}; {remedy}")
    ours, theirs = base.model.config.to_dict(), json.loads((checkpoint / "config.json").read_text())
    for key in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"resume_from_checkpoint: {checkpoint} has {key}={theirs.get(key)}, the model '{config.model.model}'"
                f" has {ours.get(key)}; {remedy}"
            )
    if environment is None:
        return
    if recorded["fingerprint"] != base.fingerprint():
        raise UserError(
            f"model: the run in '{run_dir}' started from {recorded['name']} ({recorded['commit'] or 'local'}), whose"
            f" weights differ from those of '{config.model.model}' now; {remedy}"
        )
    if train_rows != rows.fingerprint():
        raise UserError(f"train_data: the run in '{run_dir}' has other rows of {now['train_data']}; {remedy}")
    if rows_before != (rows_now := rows_per_step(config, processes)):
        raise UserError(
            f"per_device_train_batch_size: the run in '{run_dir}' takes {rows_before} rows a step (batch size x"
            f" gradient_accumulation_steps x processes), not {rows_now}; {remedy}"
        )


def check_is_last(run_dir: Path, checkpoint: Path) -> None:
    """Raises `UserError` when the folder has complete checkpoints that do not lead to `checkpoint`."""
    for other in list_checkpoints(run_dir):
        own = other.resolve().parent == checkpoint.resolve().parent
        if not (own and step_of(other) <= step_of(checkpoint)) and what_is_missing(other) is None:
            raise UserError(
                f"resume_from_checkpoint: '{run_dir}' has {other.name}, which does not lead to {checkpoint}; continue"
                " in another --output_dir"
            )


def record(config: Config, base: BaseModel, rows: EncodedRows, processes: int) -> dict[str, str]:
    """What tells how the run came about, by file: `config.yaml`, which `--config` reads back, and `environment.json`.

    To be made while `base` still is the base model.
    """
    environment: dict[str, Any] = {
        "command": sys.argv,
        "base_model": {
            "name": base.name,
            "revision": base.revision,
            "commit": base.commit,
            "fingerprint": base.fingerprint(),
        },
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "processes": processes,
        "train_rows": rows.fingerprint(),
        "rows_per_step": rows_per_step(config, processes),
        "threads": torch.get_num_threads(),
    }
    return {"config.yaml": config.to_yaml(), "environment.json": json.dumps(environment, indent=2) + "\n"}


def begin(run_dir: Path, files: dict[str, str], start_over: bool) -> None:
    """Makes the folder this run's: writes the `files` of its record.

    Before, takes away an interrupted save, the final model of an earlier end, so that nobody takes it for this run's,
    and to `start_over` the checkpoints.
    """
    for folder in [run_dir / STAGING, *(list_checkpoints(run_dir) if start_over else [])]:
        shutil.rmtree(folder, ignore_errors=True)
    for file in (run_dir / "config.json", *run_dir.glob("*.safetensors*")):
        file.unlink(missing_ok=True)
    for name, text in files.items():
        partial = run_dir / f"{name}.partial"
        with writing(name, run_dir):
            partial.write_text(text)
            os.replace(partial, run_dir / name)
