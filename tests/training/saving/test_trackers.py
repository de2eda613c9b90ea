"""Trackio and Weights & Biases show a run under its own name, in its seeds' group, and a continued run as one.

They are no dependencies (Trackio asks for an older Pillow than the tested one): `test_with_the_tools_installed`
installs them into a folder of its own, and runs the others with it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.artifacts.run_folder import clear
from training.saving.reporting import group_of, run_name
from training.train import main

FLAGS = (
    *("--model", "tiny", "--train_data", "quickstart,n_train=64,n_eval=8,n_regime=4", "--eval_rows", "4"),
    *("--max_steps", "2", "--save_steps", "1", "--logging_steps", "1", "--per_device_train_batch_size", "4"),
)


@pytest.mark.parametrize(
    ("folder", "name", "group"),
    [
        ("runs/quickstart", "quickstart", "quickstart"),
        ("runs/quickstart-seed12", "quickstart-seed12", "quickstart"),
        ("runs/studies/shortcut/base-1f/seed-0", "studies/shortcut/base-1f/seed-0", "studies/shortcut/base-1f"),
        ("elsewhere/mine", "mine", "mine"),
        ("runs/seed1", "seed1", "seed1"),
        ("runs", "runs", "runs"),
    ],
)
def test_names(folder: str, name: str, group: str) -> None:
    assert run_name(Path("/work-of-ada", folder)) == name
    assert group_of(name) == group


def train_and_continue(folder: Path, tool: str) -> None:
    """A run, continued from its first step as if it had been killed, and then started over."""
    flags = (*FLAGS, "--report_to", tool, "--output_dir", str(folder))
    assert main([*flags]) == 0
    clear(folder, checkpoints=False)
    shutil.rmtree(folder / "checkpoint-2")
    assert main([*flags, "--resume_from_checkpoint", "auto"]) == 0
    assert main([*flags, "--overwrite_output_dir"]) == 0


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # which is read when it is imported
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    train_and_continue(tmp_path / "runs" / "base" / "seed-1", "trackio")
    continued, over = sorted(storage.get_run_records("nim"), key=lambda run: run["created_at"])
    assert (continued["name"], over["name"]) == ("base/seed-1", "base/seed-1")
    for run, steps in ((continued, [1, 2, 2]), (over, [1, 2])):
        assert storage.get_run_config("nim", run["name"], run_id=run["id"])["_Group"] == "base"
        logged = storage.get_logs("nim", run["name"], run_id=run["id"])
        assert sorted(line["step"] for line in logged if "train/loss" in line) == steps
        assert sorted(line["step"] for line in logged if "eval/counter_cheat_exact_match" in line) == steps


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_and_continue(folder := tmp_path / "runs" / "base" / "seed-1", "wandb")
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    ids = [run.name.rpartition("-")[2] for run in runs]
    assert (len(ids), len(set(ids)), ids.count(ids[0])) == (3, 2, 2)
    for run in runs:
        (log,) = run.glob("*.wandb")
        written = log.read_bytes()
        assert all(word in written for word in (b"base/seed-1", b"nim", b"eval/counter_cheat_exact_match"))


@pytest.mark.slow
def test_with_the_tools_installed(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--target", str(tmp_path / "tools"), "trackio", "wandb"]
    subprocess.run(pip, check=True)
    paths = (str(tmp_path / "tools"), str(Path(__file__).parents[3]))
    test = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(test, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
