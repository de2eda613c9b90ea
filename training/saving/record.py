"""A run's folder: whether it can be written, what is in it already, and the record of how the run came about."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout
from transformers import PreTrainedConfig

from evaluation.artifacts.run_folder import (
    STAGING,
    last_complete_checkpoint,
    list_checkpoints,
    read_state,
    step_of,
    what_is_missing,
    writing,
)
from nim_dataset.errors import UserError
from nim_dataset.files import write_text
from training.config import FIXED, Config
from training.data.encoding import EncodedRows
from training.model.base import BaseModel

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
    there = what_is_there(run_dir)
    if there and not config.train.overwrite_output_dir and not config.train.resume_from_checkpoint:
        raise UserError(
            f"output_dir: '{run_dir}' already has {there[-1].name}; continue with --resume_from_checkpoint auto,"
            f" {START_OVER}"
        )
    return run_dir


def what_is_there(run_dir: Path) -> list[Path]:
    """What a run left in its folder: the trained model, if any, then the checkpoints, complete or not."""
    return [path for path in (run_dir / "model.safetensors", *list_checkpoints(run_dir)) if path.exists()]


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
    if last is None and what_is_there(run_dir):
        raise UserError(
            f"resume_from_checkpoint: '{run_dir}' holds a run without a checkpoint to continue from"
            f" ({'; '.join(notes) or 'it saved none'}); {START_OVER}"
        )
    return last, notes


def check_same_run(files: Mapping[str, str], model: PreTrainedConfig, checkpoint: Path) -> None:
    """Raises `UserError` unless `checkpoint` is of the `model`'s shape, and its run is the one of this record, `files`.

    What the run had is read in the folder that the checkpoint lies in; a checkpoint alone is compared by shape.
    """
    remedy = "give the run's own, or start another run, in another --output_dir"
    run_dir = checkpoint.parent
    settings, environment = _parse(files)
    recorded = _read_record(run_dir, files) if (run_dir / "environment.json").exists() else None
    for key in FIXED:
        if recorded is not None and recorded[key] != settings[key]:
            raise UserError(f"{key}: the run in '{run_dir}' has {recorded[key]}, not {settings[key]}; {remedy}")
    ours, theirs = model.to_dict(), json.loads((checkpoint / "config.json").read_text())
    for key in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"resume_from_checkpoint: {checkpoint} has {key}={theirs.get(key)}, the model '{settings['model']}'"
                f" has {ours.get(key)}; {remedy}"
            )
    if recorded is None:
        return
    base = recorded["base_model"]
    if base["fingerprint"] != environment["base_model"]["fingerprint"]:
        raise UserError(
            f"model: the run in '{run_dir}' started from {base['name']} ({base['commit'] or 'local'}), whose weights"
            f" differ from those of '{settings['model']}' now; {remedy}"
        )
    if recorded["train_rows"] != environment["train_rows"]:
        raise UserError(f"train_data: the run in '{run_dir}' has other rows of {settings['train_data']}; {remedy}")
    if recorded["rows_per_step"] != environment["rows_per_step"]:
        raise UserError(
            f"per_device_train_batch_size: the run in '{run_dir}' takes {recorded['rows_per_step']} rows a step (batch"
            f" size x gradient_accumulation_steps x processes), not {environment['rows_per_step']}; {remedy}"
        )


def _parse(files: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    return yaml.safe_load(files["config.yaml"]), json.loads(files["environment.json"])


def _read_record(run_dir: Path, names: Iterable[str]) -> dict[str, Any]:
    """What `check_same_run` compares of a run's record; raises `UserError` when it is damaged."""
    try:
        settings, environment = _parse({name: (run_dir / name).read_text() for name in names})
        compared = {key: environment[key] for key in ("base_model", "train_rows", "rows_per_step")}
        return compared | {key: settings[key] for key in FIXED}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(
            f"resume_from_checkpoint: config.yaml or environment.json in '{run_dir}' is damaged, so nobody knows"
            " what run it is; start another one, in another --output_dir"
        ) from None


def check_is_last(run_dir: Path, checkpoint: Path) -> None:
    """Raises `UserError` when the folder has complete checkpoints that do not lead to `checkpoint`."""
    step = read_state(checkpoint)["global_step"]
    for other in list_checkpoints(run_dir):
        own = other.resolve().parent == checkpoint.resolve().parent
        if not (own and step_of(other) <= step) and what_is_missing(other) is None:
            raise UserError(
                f"resume_from_checkpoint: '{run_dir}' has {other.name}, which does not lead to {checkpoint}; continue"
                " in another --output_dir"
            )


def record(config: Config, base: BaseModel, rows: EncodedRows, processes: int) -> dict[str, str]:
    """What tells how the run came about, by file: `config.yaml`, which `--config` reads back, and `environment.json`.

    `rows_per_step` are those between two updates of the weights, over all processes. To be made while `base` still is
    the base model.
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
        "rows_per_step": config.train.train_batch_size * config.train.gradient_accumulation_steps * processes,
        "threads": torch.get_num_threads(),
    }
    return {"config.yaml": config.to_yaml(), "environment.json": json.dumps(environment, indent=2) + "\n"}


def begin(run_dir: Path, files: Mapping[str, str], start_over: bool) -> None:
    """Makes the folder this run's: writes the `files` of its record.

    Before, takes away an interrupted save, the final model of an earlier end, so that nobody takes it for this run's,
    and to `start_over` the checkpoints.
    """
    for folder in [run_dir / STAGING, *(list_checkpoints(run_dir) if start_over else [])]:
        shutil.rmtree(folder, ignore_errors=True)
    for file in (run_dir / "config.json", *run_dir.glob("*.safetensors*")):
        file.unlink(missing_ok=True)
    for name, text in files.items():
        with writing(name, run_dir):
            write_text(run_dir / name, text)
