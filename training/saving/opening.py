"""Opening a run's folder: whether it can be written and is free, where to go on from, and making it this run's."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from evaluation.artifacts.checksums import what_differs
from evaluation.artifacts.run_folder import (
    clear,
    last_complete_checkpoint,
    list_checkpoints,
    others_files,
    read_state,
    recorded_files,
    step_of,
    writing,
)
from nim_dataset.errors import UserError
from nim_dataset.files import write_text
from training.config import Config

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
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"output_dir: cannot write to '{run_dir}' ({reason}); choose another folder") from None
    if others := others_files(run_dir, config.train.overwrite_output_dir):
        more = f" and {len(others) - 1} more files" if len(others) > 1 else ""
        raise UserError(
            f"output_dir: '{run_dir}' holds {others[0].name}{more}, which no run wrote that is recorded there; choose"
            " another --output_dir"
        )
    base = Path(config.model.model)
    if config.train.overwrite_output_dir and os.path.isdir(base) and base.resolve().is_relative_to(run_dir.resolve()):
        raise UserError(f"model: '{base}' lies in output_dir, and would be deleted; choose another --output_dir")
    there = what_is_there(run_dir)
    if there and not config.train.overwrite_output_dir and not config.train.resume_from_checkpoint:
        raise UserError(
            f"output_dir: '{run_dir}' already has {there[-1].name}; continue with --resume_from_checkpoint auto,"
            f" {START_OVER}"
        )
    return run_dir


def what_is_there(run_dir: Path) -> list[Path]:
    """What a run left in its folder: the trained model, if any, then the checkpoints, complete or not."""
    weights = [run_dir / name for name in recorded_files(run_dir) or () if name.endswith(".safetensors")]
    return [path for path in (*weights, *list_checkpoints(run_dir)) if path.exists()]


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
        if not os.path.isfile(os.path.join(wanted, "trainer_state.json")):
            raise UserError(
                f"resume_from_checkpoint: '{wanted}' is not a training checkpoint; give its folder or 'auto'"
            )
        if damage := what_differs(Path(wanted)):
            raise UserError(
                f"resume_from_checkpoint: '{wanted}' is not as it was saved: {damage}; give another, or 'auto'"
            )
        return Path(wanted), notes
    last = last_complete_checkpoint(run_dir, notes)
    if last is None and what_is_there(run_dir):
        raise UserError(
            f"resume_from_checkpoint: '{run_dir}' holds a run without a checkpoint to continue from"
            f" ({'; '.join(notes) or 'it saved none'}); {START_OVER}"
        )
    return last, notes


def check_is_last(run_dir: Path, checkpoint: Path) -> None:
    """Raises `UserError` when the folder has complete checkpoints that do not lead to `checkpoint`."""
    step = read_state(checkpoint)["global_step"]
    for other in list_checkpoints(run_dir):
        own = other.resolve().parent == checkpoint.resolve().parent
        if not (own and step_of(other) <= step) and what_differs(other) is None:
            raise UserError(
                f"resume_from_checkpoint: '{run_dir}' has {other.name}, which does not lead to {checkpoint}; continue"
                " in another --output_dir"
            )


def begin(run_dir: Path, files: Mapping[str, str], start_over: bool) -> None:
    """Makes the folder this run's: writes the `files` of its record.

    Before, takes away an interrupted save, the final model of an earlier end, so that nobody takes it for this run's,
    and to `start_over` the checkpoints.
    """
    clear(run_dir, checkpoints=start_over)
    for name, text in files.items():
        with writing(name, run_dir):
            write_text(run_dir / name, text)
