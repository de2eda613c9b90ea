"""Ways of running that must not change the run: one class, one trajectory, through the command line.

The reference is a run of 8 rows per step in one process. Four accumulated micro-batches of 2, and two processes of 4,
add the same numbers in another order: equal to 1e-4 of each loss. A run that was killed and continued, or told to stop
and continued, does the very same arithmetic: equal to the last bit.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.artifacts.checksums import what_differs

STEPS = 24
FLAGS = (
    *("--max_steps", str(STEPS), "--save_at", "8", "16", "--warmup_steps", "2"),
    *("--objectives.contrastive.weight", "10", "--objectives.contrastive.paired", "true"),
)
PER_STEP = ("--per_device_train_batch_size", "8")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, launch: Any) -> Any:
    """The uninterrupted run."""
    run = launch(tmp_path_factory.mktemp("reference") / "run", *FLAGS, *PER_STEP)
    assert run.status == 0, run.stderr
    assert re.search(r"end to end \(padding would add 0\.\d% tokens; rows of one length share", run.stdout), run.stdout
    return run


def assert_same_bits(run: Any, reference: Any) -> None:
    for name, weight in reference.weights().items():
        assert torch.equal(weight, run.weights()[name]), name
    assert run.trajectory() == reference.trajectory()
    assert [line["step"] for line in run.metrics] == [line["step"] for line in reference.metrics]


@pytest.mark.parametrize(
    ("launcher", "flags"),
    [
        ("cpu", ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "4")),
        ("cpu_2", ("--per_device_train_batch_size", "4")),
    ],
    ids=["accumulated", "two processes"],
)
def test_how_a_step_is_split_changes_nothing(
    tmp_path: Path, launch: Any, reference: Any, launcher: str, flags: tuple[str, ...]
) -> None:
    run = launch(tmp_path / "run", *FLAGS, *flags, launcher=launcher)
    assert run.status == 0, run.stderr
    assert len(run.trajectory()) == STEPS
    for key in ("loss", "distance", "grad_norm", "twin_distance", "twin_loss"):
        assert run.trajectory(key) == pytest.approx(reference.trajectory(key), rel=1e-4), key


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def lines(folder: Path) -> int:
    file = folder / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def hold_save(folder: Path, step: int, process: subprocess.Popen[str]) -> Path:
    """Puts a pipe where the optimizer's state of `step` is to go: the run stops there until somebody reads."""
    wait_until((folder / "environment.json").exists, process)  # what an earlier run left is cleared away by now
    half_written = folder / ".saving" / f"checkpoint-{step}"
    half_written.mkdir(parents=True)
    os.mkfifo(half_written / "optimizer.pt")
    return half_written


def start_and_hold(start: Callable[..., subprocess.Popen[str]], folder: Path, step: int) -> subprocess.Popen[str]:
    """The reference's run in `folder`, while it saves `step`."""
    process = start(folder, *FLAGS, *PER_STEP)
    wait_until((hold_save(folder, step, process) / "model.safetensors").exists, process)
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def run_again(launch: Any, folder: Path, reference: Any) -> str:
    """The same command once more, which ends as the reference did; gives what it printed."""
    run = launch(folder, *FLAGS, *PER_STEP)
    assert run.status == 0, run.stderr
    assert_same_bits(run, reference)
    return str(run.stdout)


@pytest.mark.slow
def test_killed_before_the_first_checkpoint_and_started_again(
    tmp_path: Path, launch: Any, start: Callable[..., subprocess.Popen[str]], reference: Any
) -> None:
    folder = tmp_path / "run"
    process = start(folder, *FLAGS, *PER_STEP)
    hold_save(folder, 8, process)
    wait_until(lambda: lines(folder) > 0, process)
    kill(process)
    assert not list(folder.glob("checkpoint-*"))
    assert "starting; writing to" in run_again(launch, folder, reference)


def test_killed_while_saving_and_continued(
    tmp_path: Path, launch: Any, start: Callable[..., subprocess.Popen[str]], reference: Any
) -> None:
    folder = tmp_path / "run"
    kill(start_and_hold(start, folder, 16))
    printed = run_again(launch, folder, reference)
    assert "a save was interrupted" in printed
    assert "continuing from" in printed
    assert "checkpoint-8" in printed
    assert not (folder / ".saving").exists()


def test_killed_between_saves_with_the_last_checkpoint_damaged(
    tmp_path: Path, launch: Any, start: Callable[..., subprocess.Popen[str]], reference: Any
) -> None:
    folder = tmp_path / "run"
    process = start(folder, *FLAGS, *PER_STEP)
    hold_save(folder, STEPS, process)  # so that a late kill finds the run unfinished
    wait_until((folder / "checkpoint-16").exists, process)
    kill(process)
    weights = folder / "checkpoint-16" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1)
    assert "checkpoint-16: model.safetensors is cut short" in run_again(launch, folder, reference)


def test_ctrl_c_saves_a_checkpoint_and_the_run_goes_on_from_it(
    tmp_path: Path, launch: Any, start: Callable[..., subprocess.Popen[str]], reference: Any
) -> None:
    folder = tmp_path / "run"
    process = start_and_hold(start, folder, 8)
    with open(folder / ".saving" / "checkpoint-8" / "optimizer.pt", "rb") as pipe:
        os.killpg(process.pid, signal.SIGINT)
        pipe.read()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    saved = f"{folder}/checkpoint-9"
    told = [f"SIGINT: saving {saved} ...", f"SIGINT: saved {saved}; go on with --resume_from_checkpoint auto"]
    assert stdout.splitlines()[-2:] == told
    assert "continuing from" in run_again(launch, folder, reference)


@pytest.mark.parametrize("launcher", [pytest.param("cpu", marks=pytest.mark.slow), "cpu_2"])
def test_sigterm_to_the_launcher_stops_all_processes_after_the_same_step(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], launcher: str
) -> None:
    folder = tmp_path / "run"
    process = start(folder, "--max_steps", "100000", launcher=launcher)
    wait_until(lambda: lines(folder) > 2, process)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert "SIGTERM: saved" in stdout, stderr
    (checkpoint,) = folder.glob("checkpoint-*")
    assert what_differs(checkpoint) is None


@pytest.mark.slow
def test_ctrl_c_under_the_launcher_saves_too(tmp_path: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
    """The launcher is gone first, with the status by which a shell's loop ends, and a traceback of its own."""
    folder = tmp_path / "run"
    process = start(folder, "--max_steps", "100000", launcher="cpu")
    wait_until(lambda: lines(folder) > 2, process)
    os.killpg(process.pid, signal.SIGINT)
    stdout, _ = process.communicate(timeout=120)  # ends only when nobody writes there any more
    assert process.returncode == -signal.SIGINT
    (checkpoint,) = folder.glob("checkpoint-*")
    assert what_differs(checkpoint) is None
    assert stdout.splitlines()[-2] == f"SIGINT: saving {checkpoint} ..."


@pytest.mark.slow
def test_sigterm_to_the_launcher_ends_a_run_that_has_not_begun(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "run"
    process = start(folder, "--max_steps", "100000", launcher="cpu")
    wait_until(folder.exists, process)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)  # ends only when nobody writes there any more
    assert "starting; writing to" not in stdout, stderr


def test_two_processes_measure_what_one_measures_and_tensorboard_shows_it(tmp_path: Path, launch: Any) -> None:
    flags = (
        *("--max_steps", "9", "--save_at", "0", "1", "--eval_rows", "37", "--report_to", "tensorboard"),
        *("--eval_loss", "true", "--log_layer_grad_norms", "true", "--stop_at", "loss > 0 for 2"),
        *("--objectives.adversarial.weight", "0.05", "--objectives.adversarial.lr", "0.01"),
    )
    one = launch(tmp_path / "one", *flags, *PER_STEP)
    two = launch(tmp_path / "two", *flags, "--per_device_train_batch_size", "4", launcher="cpu_2")
    assert (one.status, two.status) == (0, 0), one.stderr + two.stderr
    regimes = ("", "_cheat_consistent", "_counter_cheat", "_neutral", "_unseen_names")
    for key in (f"eval{regime}_exact_match" for regime in regimes):
        assert one.trajectory(key) == two.trajectory(key)
        assert len(one.trajectory(key)) == 3
    trained = ("grad_norm_embeddings", "grad_norm_layer_1", "adversary_loss", "adversary_accuracy")
    for key in (*(f"eval{regime}_loss" for regime in regimes), *trained):
        assert two.trajectory(key) == pytest.approx(one.trajectory(key), rel=1e-4), key
    for run in (one, two):
        assert {path.name for path in run.folder.glob("checkpoint-*")} == {f"checkpoint-{n}" for n in (0, 1, 2)}

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = one.folder.rglob("events.out.tfevents.*")
    shown = EventAccumulator(str(events))
    shown.Reload()
    assert {"train/loss", "train/distance", "eval/exact_match", "eval/counter_cheat_exact_match"} <= set(
        shown.Tags()["scalars"]
    )


def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path: Path, start: Any) -> None:
    # A file may have 1.5 megabytes here, the weights have two: as on a disk that fills up.
    process = start(tmp_path / "run", "--max_steps", "1", *PER_STEP, file_limit=1_500_000)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2, stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error:")]
    assert "could not write checkpoint-1" in line
    assert "the last good checkpoint is none" in line
    assert not list((tmp_path / "run").glob("checkpoint-*"))
