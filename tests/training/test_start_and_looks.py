"""A run that saves its base model and looks closer: at its loss by set, at its gradients by layer, by own callbacks.

To look changes nothing: the run is the same as one without, and goes on from its start exactly.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import nim_dataset
from training.train import main

CALLBACK = """
from transformers import TrainerCallback

class Count(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        with open(args.output_dir + "/counted", "a") as file:
            file.write(f"{state.global_step} ")
"""


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def train(data: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """`train(name, *flags, **options)` is a run of 3 steps of a model with dropout and tied embeddings; its folder."""
    folder = tmp_path_factory.mktemp("looks")
    (folder / "my_callbacks.py").write_text(CALLBACK)
    config = data.model("gpt2").config
    config.resid_pdrop = config.embd_pdrop = 0.1
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "base")
    data.tokenizer.save_pretrained(folder / "base")

    def run(name: str, *flags: str, **options: Any) -> Path:
        settings = {
            "model": str(folder / "base"),
            "train_data": ["quickstart,n_train=64"],
            "per_device_train_batch_size": 4,
            "warmup_steps": 0,
            "logging_steps": 1,
            "eval_rows": 0,
            "max_steps": 3,
            "disable_tqdm": True,
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings | options))
        assert main(["--config", str(folder / f"{name}.yaml"), "--output_dir", str(folder / name), *flags]) == 0
        return folder / name

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield run


LOOKS: dict[str, Any] = {
    "save_at": [0, 2],
    "eval_rows": 5,
    "eval_loss": True,
    "log_layer_grad_norms": True,
    "callbacks": ["my_callbacks:Count"],
}


@pytest.fixture(scope="module")
def looked_at(train: Callable[..., Path]) -> Path:
    return train("looked_at", **LOOKS)


def test_the_base_model_is_saved_and_measured(looked_at: Path) -> None:
    assert {path.name for path in looked_at.glob("checkpoint-*")} == {"checkpoint-0", "checkpoint-2", "checkpoint-3"}
    base = weights(looked_at.parent / "base")
    assert all(torch.equal(weight, base[name]) for name, weight in weights(looked_at / "checkpoint-0").items())
    measured = [line["step"] for line in metrics(looked_at) if "eval_exact_match" in line]
    assert measured == [0, 2, 3]


def test_the_loss_by_set_is_that_of_each_row_alone(looked_at: Path, data: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(looked_at / "checkpoint-2").eval()
    logged = {line["step"]: line for line in metrics(looked_at) if "eval_exact_match" in line}[2]
    for split, key in (("eval", "eval_loss"), ("neutral", "eval_neutral_loss")):
        losses, tokens = 0.0, 0
        for row in nim_dataset.load_source(f"quickstart,n_train=64:{split}", limit=5):
            prompt = data.tokenizer(row["prompt"])["input_ids"]
            answer = [*data.tokenizer(" " + row["answer"])["input_ids"], data.tokenizer.eos_token_id]
            with torch.no_grad():
                logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
            losses += torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()
            tokens += len(answer)
        assert logged[key] == pytest.approx(losses / tokens, rel=1e-5)


def test_the_norms_by_layer_are_parts_of_the_gradients_norm(looked_at: Path) -> None:
    steps = [line for line in metrics(looked_at) if "grad_norm" in line]
    assert len(steps) == 3
    parts = {"embeddings", "layer_0", "layer_1", "rest"}  # the head is the embeddings'
    for line in steps:
        norms = {key.removeprefix("grad_norm_"): value for key, value in line.items() if key.startswith("grad_norm_")}
        assert set(norms) == parts
        assert sum(norm**2 for norm in norms.values()) == pytest.approx(line["grad_norm"] ** 2, rel=1e-4)
    assert steps[0]["grad_norm"] > 1.0  # so that it was clipped


def test_own_callbacks_are_called(looked_at: Path) -> None:
    assert (looked_at / "counted").read_text() == "1 2 3 "


def test_to_look_changes_nothing(looked_at: Path, train: Callable[..., Path]) -> None:
    plain = train("plain")
    assert all(torch.equal(weight, weights(looked_at)[name]) for name, weight in weights(plain).items())
    losses = [line["loss"] for line in metrics(looked_at) if "loss" in line]
    assert losses == [line["loss"] for line in metrics(plain)]


def test_a_run_goes_on_from_its_start(looked_at: Path, train: Callable[..., Path]) -> None:
    shutil.copytree(looked_at, looked_at.parent / "again")
    for step in (2, 3):
        shutil.rmtree(looked_at.parent / "again" / f"checkpoint-{step}")
    again = train("again", "--resume_from_checkpoint", "auto", **LOOKS)
    assert metrics(again) == metrics(looked_at)
    assert all(torch.equal(weight, weights(looked_at)[name]) for name, weight in weights(again).items())
