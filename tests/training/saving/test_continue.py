"""A run goes on from what is whole and its own, and from nothing else; how things are spelled is no concern."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from evaluation.artifacts.run_folder import clear
from nim_dataset.errors import UserError
from nim_dataset.files import write_jsonl
from training.train import main

FLAGS = (
    *("--per_device_train_batch_size", "4", "--max_steps", "3", "--save_steps", "1", "--logging_steps", "1"),
    *("--eval_rows", "0", "--report_to", "tensorboard"),
)
AGAIN = ("--resume_from_checkpoint", "auto")
ROWS = [{"prompt": f"one and {n}", "answer": "take 1 coin"} for n in range(64)]


def train(folder: Path, model: Path, rows: Path, *flags: str) -> int:
    return main([*FLAGS, "--model", str(model), "--train_data", str(rows), "--output_dir", str(folder), *flags])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, data: Any) -> Path:
    """`base/`, `rows.jsonl` and the finished `run/` of both."""
    home = tmp_path_factory.mktemp("home")
    model = data.model("gpt_neox")
    model.config.use_cache = True
    model.generation_config.do_sample = True
    model.save_pretrained(home / "base")
    tokenizer = type(data.tokenizer).from_pretrained(
        Path(data.tokenizer.name_or_path), pad_token=None, padding_side="right"
    )
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    tokenizer.save_pretrained(home / "base")
    write_jsonl(home / "rows.jsonl", ROWS)
    assert train(home / "run", home / "base", home / "rows.jsonl") == 0
    return home


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Path:
    """A copy of the run, as it was killed between its last step and the trained model."""
    run = shutil.copytree(home / "run", tmp_path / "run")
    clear(run, checkpoints=False)
    return run


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    file.write_bytes(content)


def drop_a_weight(file: Path) -> None:
    kept = load_file(file)
    kept.popitem()
    save_file(kept, file, {"format": "pt"})


def write(text: str) -> Callable[[Path], Any]:
    return lambda file: file.write_text(text)


DAMAGES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no state": ("trainer_state.json", write("{}"), "cut short"),
    "null state": ("trainer_state.json", write("null"), "cut short"),
    "other state": ("trainer_state.json", flip_a_bit, "damaged"),
    "no config": ("config.json", write("[]"), "cut short"),
    "weights": ("model.safetensors", flip_a_bit, "damaged"),
    "a weight gone": ("model.safetensors", drop_a_weight, "cut short"),
    "optimizer": ("optimizer.pt", flip_a_bit, "damaged"),
    "scheduler": ("scheduler.pt", flip_a_bit, "damaged"),
    "random state": ("rng_state.pth", flip_a_bit, "damaged"),
    "a file gone": ("scheduler.pt", Path.unlink, "missing"),
    "longer": ("tokenizer.json", lambda file: file.write_bytes(file.read_bytes() + b" "), "damaged"),
    "sums": ("checksums.json", flip_a_bit, "damaged"),
    "odd sums": ("checksums.json", write('{"config.json": 3}'), "damaged"),
    "no sums": ("checksums.json", Path.unlink, "missing"),
}


def test_a_damaged_checkpoint_is_passed_over_and_said_to_be(
    home: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = shutil.copytree(run / "checkpoint-3", run.parent / "kept")
    for kind, (name, damage, what) in DAMAGES.items():
        damage(run / "checkpoint-3" / name)
        with pytest.raises(UserError, match=f"checkpoint-3' is not as it was saved: {name} is {what}; give another"):
            train(run, home / "base", home / "rows.jsonl", "--resume_from_checkpoint", str(run / "checkpoint-3"))
        if kind in ("null state", "weights"):
            assert train(run, home / "base", home / "rows.jsonl", *AGAIN) == 0
            said = capsys.readouterr().out
            assert f"skipped {run / 'checkpoint-3'}: {name} is {what}\n" in said
            assert f"continuing from {run / 'checkpoint-2'};" in said
            assert weights(run) == weights(home / "run") == weights(run / "checkpoint-3")
        shutil.rmtree(run / "checkpoint-3")
        shutil.copytree(kept, run / "checkpoint-3")


def test_the_model_of_a_run_that_was_killed_before_it_had_one_is_complete(home: Path, run: Path) -> None:
    further = ("merges.txt", "tokenizer.model")  # of other tokenizers
    for name in further:
        (run / "checkpoint-3" / name).write_text("tokens")
    assert train(run, home / "base", home / "rows.jsonl", *AGAIN) == 0
    recorded = json.loads((home / "run" / "environment.json").read_text())["files"]
    assert {"additional_chat_templates", "chat_template.jinja", "generation_config.json", "tokenizer.json"} < set(
        recorded
    )
    assert json.loads((run / "environment.json").read_text())["files"] == sorted([*recorded, *further])
    files = [path for path in (home / "run").rglob("*") if path.relative_to(home / "run").parts[0] in recorded]
    for path in filter(Path.is_file, files):
        assert (run / path.relative_to(home / "run")).read_bytes() == path.read_bytes()


def test_what_is_saved_is_the_base_with_other_weights(home: Path) -> None:
    for saved in (home / "run", home / "run" / "checkpoint-2"):
        for file in filter(Path.is_file, (home / "base").rglob("*")):
            same = saved / file.relative_to(home / "base")
            if file.suffix == ".json":
                assert json.loads(same.read_text()) == json.loads(file.read_text()), file.name
            elif file.suffix != ".safetensors":
                assert same.read_bytes() == file.read_bytes(), file.name
    assert weights(home / "run") != weights(home / "base")


def test_spelling_is_no_setting_and_weights_and_rows_are(
    home: Path, run: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(run / "checkpoint-3")
    base = shutil.copytree(home / "base", run.parent / "models" / "moved")
    rows = Path(shutil.copy(home / "rows.jsonl", run.parent / "same.jsonl"))
    monkeypatch.chdir(run.parent)
    assert train(Path("run"), Path("./models/moved"), Path("same.jsonl"), *AGAIN, "--max_length", "99") == 0
    assert weights(run) == weights(home / "run")

    more = (*AGAIN, "--max_steps", "4")
    write_jsonl(rows, ROWS[::-1])
    with pytest.raises(UserError, match=r"train_data: the run in 'run' has other rows, those of \['same.jsonl'\] then"):
        train(Path("run"), base, rows, *more)
    data.model("gpt_neox", seed=1).save_pretrained(base)
    with pytest.raises(UserError, match=r"model: the run in .* started from .*moved \(local\), whose weights differ"):
        train(Path("run"), base, home / "rows.jsonl", *more)


def test_a_checkpoint_without_a_record_says_what_is_not_compared(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = shutil.copytree(home / "run" / "checkpoint-2", tmp_path / "checkpoint-2")
    assert train(tmp_path / "run", home / "base", home / "rows.jsonl", "--resume_from_checkpoint", str(alone)) == 0
    assert f"no environment.json lies beside {alone}, so only the model's shape was compared" in capsys.readouterr().out
    assert weights(tmp_path / "run") == weights(home / "run")


def test_tensorboard_shows_a_continued_run_as_one(home: Path, run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shutil.rmtree(run / "checkpoint-3")
    assert train(run, home / "base", home / "rows.jsonl", *AGAIN) == 0
    (folder,) = {file.parent for file in run.rglob("events.out.tfevents.*")}
    assert folder == run / "tensorboard"
    assert len(list(folder.iterdir())) == 2
    shown = EventAccumulator(str(folder))
    shown.Reload()
    assert [event.step for event in shown.Scalars("train/loss")] == [1, 2, 3]


def test_one_process_takes_one_gpu_and_says_so(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.config import parse_config
    from training.train import run

    argv = [*FLAGS, "--model", str(home / "base"), "--train_data", str(home / "rows.jsonl")]
    config = parse_config([*argv, "--output_dir", str(tmp_path / "run")])
    config.train._n_gpu = 2  # as transformers counts them
    assert run(config) == 0
    assert "training on one of 2 GPUs; accelerate launch --config_file configs/accelerate/ddp.yaml takes all" in (
        capsys.readouterr().out
    )
    assert weights(tmp_path / "run") == weights(home / "run")
    assert (config.train.run_name, config.train.project) == ("run", "nim")
    assert not os.path.exists(tmp_path / "run" / "runs")
