"""A run's folder: whether it can be written, what is in it already, and the record of how the run came about."""

import json
import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from nim_dataset.errors import UserError
from training.base_model import BaseModel
from training.checkpoints import STAGING, last_complete_checkpoint, list_checkpoints, what_is_missing, writing
from training.config import FIXED, Config
from training.encoding import EncodedRows

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "huggingface_hub", "nim-testbed")
GIGABYTE = 1e9


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
    existing = list_checkpoints(run_dir)
    if existing and config.train.overwrite_output_dir:
        for folder in [*existing, run_dir / STAGING]:
            shutil.rmtree(folder, ignore_errors=True)
    elif existing and not config.train.resume_from_checkpoint:
        raise UserError(
            f"output_dir: '{run_dir}' already has {existing[-1].name}; continue with --resume_from_checkpoint auto,"
            " start over with --overwrite_output_dir, or choose another --output_dir"
        )
    return run_dir


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
    return last_complete_checkpoint(run_dir, notes), notes


def rows_per_step(config: Config, processes: int) -> int:
    """The rows between two updates of the weights, over all processes."""
    return config.train.train_batch_size * config.train.gradient_accumulation_steps * processes


def check_same_run(config: Config, base: BaseModel, rows: EncodedRows, checkpoint: Path, processes: int) -> None:
    """Raises `UserError` unless `checkpoint` is of this model's shape, and its run had this base, data and settings.

    What the run had is read in the folder that the checkpoint lies in; a checkpoint alone is compared by shape.
    """
    remedy = "give the run's own, or start another run, in another --output_dir"
    ours, theirs = base.model.config.to_dict(), json.loads((checkpoint / "config.json").read_text())
    for key in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"resume_from_checkpoint: {checkpoint} has {key}={theirs.get(key)}, the model '{config.model.model}'"
                f" has {ours.get(key)}; {remedy}"
            )
    run_dir = checkpoint.parent
    if not (run_dir / "environment.json").exists():
        return
    environment = json.loads((run_dir / "environment.json").read_text())
    before, now = yaml.safe_load((run_dir / "config.yaml").read_text()), yaml.safe_load(config.to_yaml())
    for key in FIXED:
        if before[key] != now[key]:
            raise UserError(f"{key}: the run in '{run_dir}' has {before[key]}, not {now[key]}; {remedy}")
    recorded = environment["base_model"]
    if recorded["fingerprint"] != base.fingerprint():
        raise UserError(
            f"model: the run in '{run_dir}' started from {recorded['name']} ({recorded['commit'] or 'local'}), whose"
            f" weights differ from those of '{config.model.model}' now; {remedy}"
        )
    if environment["train_rows"] != rows.fingerprint():
        raise UserError(f"train_data: the run in '{run_dir}' has other rows of {now['train_data']}; {remedy}")
    rows_before, rows_now = environment["rows_per_step"], rows_per_step(config, processes)
    if rows_before != rows_now:
        raise UserError(
            f"per_device_train_batch_size: the run in '{run_dir}' takes {rows_before} rows a step (batch size x"
            f" gradient_accumulation_steps x processes), not {rows_now}; {remedy}"
        )


def remove_final_model(run_dir: Path) -> None:
    """Takes away what the end of an earlier run left, so that nobody takes it for this run's."""
    for file in (run_dir / "config.json", *run_dir.glob("*.safetensors*")):
        file.unlink(missing_ok=True)


def write_record(config: Config, base: BaseModel, rows: EncodedRows, run_dir: Path, processes: int) -> None:
    """Writes `config.yaml` (which `--config` reads back) and `environment.json`; clears an interrupted save away."""
    shutil.rmtree(run_dir / STAGING, ignore_errors=True)
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
    _write(run_dir / "config.yaml", config.to_yaml())
    _write(run_dir / "environment.json", json.dumps(environment, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with writing(path.name, path.parent):
        partial.write_text(text)
        os.replace(partial, path)
