"""A run touches only what a run of ours wrote: other people's models, checkpoints and records stay as they are."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.artifacts.run_folder import list_checkpoints
from nim_dataset.errors import UserError
from training.train import main

FLAGS = (
    *("--model", "tiny", "--train_data", "quickstart,n_train=64", "--per_device_train_batch_size", "4"),
    *("--max_steps", "3", "--save_steps", "1", "--eval_rows", "0"),
)


def train(folder: Path, *flags: str) -> int:
    return main([*FLAGS, "--output_dir", str(folder), *flags])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sharded(folder: Path, data: Any) -> None:
    data.model("gpt_neox").save_pretrained(folder, max_shard_size="20KB")
    data.tokenizer.save_pretrained(folder)
    assert len(list(folder.glob("model-0000*-of-*.safetensors"))) > 1


def adapter(folder: Path, data: Any) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "adapter_config.json").write_text("{}")


def other_checkpoints(folder: Path, data: Any) -> None:
    (folder / "checkpoint-500").mkdir()
    (folder / "checkpoint-500" / "model.safetensors").write_bytes(b"weights")


def file(name: str) -> Callable[[Path, Any], None]:
    def write(folder: Path, data: Any) -> None:
        (folder / name).write_text("{}")

    return write


@pytest.mark.parametrize("flags", [(), ("--overwrite_output_dir",), ("--resume_from_checkpoint", "auto")])
@pytest.mark.parametrize(
    "fill",
    [
        *(sharded, adapter, other_checkpoints),
        *map(file, ("best.safetensors", "pytorch_model.bin", "config.json", "config.yaml", "metrics.jsonl")),
        *map(file, ("environment.json", "tokenizer.json")),
    ],
)
def test_a_folder_of_someone_else_is_refused_and_stays_as_it_is(
    tmp_path: Path, data: Any, fill: Callable[[Path, Any], None], flags: tuple[str, ...]
) -> None:
    fill(tmp_path, data)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"output_dir: '.*' holds \S+( and \d+ more files)?, which no run wrote"):
        train(tmp_path, *flags)
    assert contents(tmp_path) == before


def test_the_base_model_s_own_folder_is_refused(tmp_path: Path, data: Any) -> None:
    sharded(tmp_path, data)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="which no run wrote"):
        train(tmp_path, "--model", str(tmp_path))
    assert contents(tmp_path) == before


def test_a_run_clears_what_a_run_wrote_and_nothing_else(tmp_path: Path, data: Any) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").write_text("mine")
    for name in ("checkpoint-best-3", "checkpoint-1-keep", "checkpoint-old-run-7", "checkpoint-03"):
        (run / name).mkdir()
        (run / name / "model.safetensors").write_bytes(b"weights")
    kept = contents(run)

    assert train(run, "--save_total_limit", "2") == 0
    assert [path.name for path in list_checkpoints(run)] == ["checkpoint-2", "checkpoint-3"]
    assert kept.items() <= contents(run).items()
    files = json.loads((run / "environment.json").read_text())["files"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files) <= set(contents(run))

    for lies_in_it in (run, run / "checkpoint-2"):
        with pytest.raises(UserError, match=r"model: '.*' lies in output_dir, and would be deleted"):
            train(run, "--overwrite_output_dir", "--model", str(lies_in_it))
    assert train(run, "--overwrite_output_dir", "--max_steps", "1") == 0
    assert [path.name for path in list_checkpoints(run)] == ["checkpoint-1"]
    assert kept.items() <= contents(run).items()

    # A model or a checkpoint that someone puts into a run's folder is not the run's.
    for put in (other_checkpoints, file("best.safetensors")):
        put(run, data)
        before = contents(run)
        with pytest.raises(UserError, match=r"holds (best\.safetensors|checkpoint-500), which no run wrote"):
            train(run, "--overwrite_output_dir")
        assert contents(run) == before
        shutil.rmtree(run / "checkpoint-500", ignore_errors=True)


def test_a_finished_checkpoint_of_another_folder_is_published_with_its_record(tmp_path: Path) -> None:
    assert train(tmp_path / "run") == 0
    last = tmp_path / "run" / "checkpoint-3"
    assert train(tmp_path / "other", "--resume_from_checkpoint", str(last)) == 0
    published = contents(tmp_path / "other")
    assert published["model.safetensors"] == (last / "model.safetensors").read_bytes()
    assert train(tmp_path / "other", "--overwrite_output_dir", "--max_steps", "1") == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert train(tmp_path) == 0
    finally:
        os.umask(before)
    readable = [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077]
    assert not readable


@pytest.mark.parametrize("name", ["environment.json", "config.yaml"])
def test_a_folder_whose_record_was_half_written_can_be_used_again(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()  # so that this file of the record cannot be written
    with pytest.raises(UserError, match=f"could not write {name}"):
        train(tmp_path)
    (tmp_path / name).rmdir()
    assert train(tmp_path) == 0
