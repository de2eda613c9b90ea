"""A run that starts from one model and is held to another: `anchor_to`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from nim_dataset.errors import UserError
from training.objectives.anchor import Anchor, anchored_parameters
from training.train import main


def train(folder: Path, *flags: str) -> None:
    options = {"model": "tiny", "train_data": ["quickstart,n_train=64"], "per_device_train_batch_size": 4}
    options |= {"warmup_steps": 0, "logging_steps": 1, "eval_rows": 0, "disable_tqdm": True, "anchor_weight": 0.01}
    options |= {"output_dir": str(folder)}
    (folder.parent / "run.yaml").write_text(yaml.safe_dump(options))
    assert main(["--config", str(folder.parent / "run.yaml"), *flags]) == 0


def penalties(folder: Path) -> list[float]:
    return [json.loads(line)["penalty"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def squared_distance(one: Path, other: Path) -> float:
    weights = [anchored_parameters(AutoModelForCausalLM.from_pretrained(folder)) for folder in (one, other)]
    return sum(float((weights[0][name] - weights[1][name]).detach().double().square().sum()) for name in weights[0])


def test_a_second_run_is_held_to_the_first_ones_base(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(first, "--max_steps", "2", "--save_at", "0")
    base = first / "checkpoint-0"
    start = ["--model", str(first), "--max_steps", "3", "--save_at", "1", "2"]
    train(second, *start, "--anchor_to", str(base))
    expected = [0.01 * squared_distance(second / f"checkpoint-{step}", base) for step in (1, 2, 3)]
    assert penalties(second) == pytest.approx(expected, rel=1e-5)
    assert penalties(second)[0] > 2 * 0.01 * squared_distance(second / "checkpoint-1", first)

    logged = (second / "metrics.jsonl").read_text()
    shutil.rmtree(second / "checkpoint-3")
    shutil.move(second / "checkpoint-2", tmp_path / "kept")
    resume = [*start, "--resume_from_checkpoint", "auto"]
    with pytest.raises(UserError, match=r"anchor_to: the run was anchored to .*checkpoint-0 \(local\), and 'start' is"):
        train(second, *resume)
    with pytest.raises(
        UserError, match=r"anchor_to: the run was anchored to .*, and '.*kept' is another; give what it"
    ):
        train(second, *resume, "--anchor_to", str(tmp_path / "kept"))
    shutil.copytree(base, tmp_path / "moved")  # the same weights elsewhere
    train(second, *resume, "--anchor_to", str(tmp_path / "moved"))
    assert penalties(second) == [json.loads(line)["penalty"] for line in logged.splitlines()]


def test_a_run_held_to_its_start_does_not_go_on_held_to_another(tmp_path: Path, data: Any) -> None:
    train(tmp_path / "run", "--max_steps", "2", "--save_at", "0", "1")
    shutil.rmtree(tmp_path / "run" / "checkpoint-2")
    other = ["--anchor_to", str(tmp_path / "run" / "checkpoint-0"), "--resume_from_checkpoint", "auto"]
    with pytest.raises(UserError, match=r"resume_from_checkpoint: .*objectives.pt lacks the state of 'anchor'"):
        train(tmp_path / "run", "--max_steps", "2", *other)

    with pytest.raises(UserError, match=r"anchor_to: '.*checkpoint-0' is not of the model's shape: gpt_neox.embed_in"):
        Anchor(1.0, str(tmp_path / "run" / "checkpoint-0")).prepare(data.model("gpt_neox"))


def test_the_gradient_pulls_to_the_other_model(data: Any, tmp_path: Path) -> None:
    model, other = data.model("gpt2", seed=0), data.model("gpt2", seed=1)  # tied embeddings
    other.save_pretrained(tmp_path / "other")
    data.tokenizer.save_pretrained(tmp_path / "other")
    anchor = Anchor(0.3, str(tmp_path / "other"))
    anchor.prepare(model)
    anchor.add_gradient()
    there = anchored_parameters(other)
    for name, parameter in anchored_parameters(model).items():
        torch.testing.assert_close(parameter.grad, 0.6 * (parameter - there[name]).detach())
