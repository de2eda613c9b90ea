"""Inspect, with our task and settings, finds the exact match that we find on the same model."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluation.nim_accuracy.nim_accuracy import score
from evaluation.predict import predict
from evaluation.tokens import answer_budget
from nim_dataset.errors import UserError
from nim_dataset.sources import load_source

inspect_log = pytest.importorskip("inspect_ai.log")
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("folder", "task"),
    [("evaluation/interop", ""), (str(ROOT / "evaluation" / "interop"), "@nim")],
    ids=["in the clone", "away from it"],
)
def test_inspect_finds_what_we_find(
    folder: str, task: str, small_run: Any, command_env: dict[str, str], tmp_path: Path
) -> None:
    recipe, split = "leaky_names,n_eval=40,n_regime=40", "cheat_consistent"
    command = [str(Path(sys.executable).with_name("inspect")), "eval", f"{folder}/inspect_tasks.py{task}"]
    command += ["-T", f"recipe={recipe}", "-T", f"split={split}", "--model", "hf/small"]
    command += ["-M", f"model_path={small_run.folder / 'checkpoint-40'}"]
    command += ["--model-config", f"{folder}/plain_text.yaml", "--log-dir", str(tmp_path), "--display", "none"]
    where = tmp_path if Path(folder).is_absolute() else ROOT
    done = subprocess.run(command, capture_output=True, text=True, env=command_env, cwd=where)
    assert done.returncode == 0, done.stderr
    (log_file,) = inspect_log.list_eval_logs(str(tmp_path))
    log = inspect_log.read_eval_log(log_file)
    assert log.status == "success", log.error

    rows = load_source(f"{recipe}:{split}")
    budget = answer_budget(small_run.tokenizer, rows["answer"])
    said = predict(small_run.model(40), small_run.tokenizer, rows["prompt"], max_new_tokens=budget)
    exact = score(said, rows["answer"])["exact_match"]
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(exact)
    assert exact > 0
    samples = sorted(log.samples, key=lambda sample: sample.id)
    assert [sample.metadata["move"] for sample in samples] == rows["move"][:]
    for sample, ours in zip(samples, said, strict=True):
        assert sample.scores["exact_match"].answer.strip().startswith(ours)
    from evaluation.interop.inspect_tasks import nim  # which needs Inspect

    with pytest.raises(UserError, match="unknown split 'evil'"):
        nim(357, split="evil")
