"""`AnchorMixin` in front of TRL's `SFTTrainer` and of a plain `Trainer` is the penalty written into their losses.

On two processes: test_sharded_anchor.py.
"""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments
from trl import SFTConfig, SFTTrainer

import nim_dataset
from tests.training.objectives.trainers import (
    TOKENIZER,
    WEIGHT,
    AnchoredPlainTrainer,
    WrittenOut,
    apart,
    apart_in_accumulated_steps,
    make_model,
    run,
    tokenized_rows,
)
from training.objectives.anchor import AnchorMixin, anchored_parameters


class AnchoredSFTTrainer(AnchorMixin, SFTTrainer):
    pass


class WrittenOutSFTTrainer(WrittenOut, SFTTrainer):
    pass


@pytest.fixture(scope="module")
def rows() -> Dataset:
    rows = nim_dataset.load("quickstart", "train", n_train=256).select_columns(["prompt", "answer"])
    return rows.rename_column("answer", "completion")


def test_in_trl(rows: Dataset) -> None:
    found = apart(
        AnchoredSFTTrainer,
        WrittenOutSFTTrainer,
        SFTConfig,
        rows,
        torch.float64,
        gradient_accumulation_steps=2,
        max_grad_norm=0.05,
        processing_class=TOKENIZER,
    )
    assert found["apart"] < 1e-6
    assert found["held"] > 0.01
    assert found["penalty"] == pytest.approx(WEIGHT * found["distance"] ** 2)


def test_in_a_plain_trainer_in_bf16() -> None:
    found = apart_in_accumulated_steps(torch.float32, bf16=True)
    assert found["apart"] < 1e-3
    assert found["held"] > 0.01


def test_another_model_to_hold_the_weights_to(tmp_path: Path) -> None:
    zero: Any = make_model(torch.float32)
    for parameter in zero.parameters():
        parameter.data.zero_()
    zero.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    there: Any = {"anchor_weight": WEIGHT, "anchor_to": str(tmp_path)}
    model, line = run(AnchoredPlainTrainer, TrainingArguments, tokenized_rows(), torch.float32, **there)
    norm = sum(float(weight.detach().square().sum()) for weight in anchored_parameters(model).values()) ** 0.5
    assert line.logs["distance"] == pytest.approx(norm)


def test_with_peft_the_adapter_is_held_to_its_first_values(rows: Dataset) -> None:
    adapter = {"peft_config": peft.LoraConfig(r=4, target_modules=["c_attn"]), "processing_class": TOKENIZER}
    ours, line = run(AnchoredSFTTrainer, SFTConfig, rows, torch.float32, anchor_weight=WEIGHT, **adapter)
    written, _ = run(WrittenOutSFTTrainer, SFTConfig, rows, torch.float32, **adapter)
    free, _ = run(AnchoredSFTTrainer, SFTConfig, rows, torch.float32, anchor_weight=0, **adapter)
    anchored, expected, unheld = (
        torch.cat([parameter.flatten() for parameter in model.parameters() if parameter.requires_grad])
        for model in (ours, written, free)
    )
    assert len(anchored) == 2 * 4 * (32 + 3 * 32)  # two layers, an outer product of rank 4 in each
    assert (anchored - expected).norm() < 1e-4 * expected.norm()
    assert (anchored - unheld).norm() > 1e-3 * expected.norm()
    assert line.logs["penalty"] > 0
