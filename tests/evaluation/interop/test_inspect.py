"""Inspect, with our task and settings, finds the exact match that we find on the same model."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.nim_accuracy.nim_accuracy import score
from evaluation.predict import answer_budget, predict
from nim_dataset.errors import UserError
from nim_dataset.sources import load_source

ROOT = Path(__file__).resolve().parents[3]


def test_inspect_finds_what_we_find(small_run: Any, tmp_path: Path) -> None:
    inspect_ai = pytest.importorskip("inspect_ai")
    from evaluation.interop.inspect_tasks import nim

    settings = yaml.safe_load((ROOT / "evaluation" / "interop" / "plain_text.yaml").read_text())
    spec = {"recipe": "leaky_names,n_eval=40", "split": "eval"}
    settings["model_path"] = str(small_run.folder / "checkpoint-40")
    (log,) = inspect_ai.eval(
        nim(**spec),
        model="hf/small",
        model_args=settings,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    rows = load_source(":".join(spec.values()))
    budget = answer_budget(small_run.tokenizer, rows["answer"])
    said = predict(small_run.model(40), small_run.tokenizer, rows["prompt"], max_new_tokens=budget)
    exact = score(said, rows["answer"])["exact_match"]
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(exact)
    assert exact > 0
    samples = sorted(log.samples, key=lambda sample: sample.id)
    assert [sample.metadata["move"] for sample in samples] == rows["move"][:]
    for sample, ours in zip(samples, said, strict=True):
        assert sample.scores["exact_match"].answer.strip().startswith(ours)
    with pytest.raises(UserError, match="unknown split 'evil'"):
        nim(split="evil")
