"""Trainers that are not ours with the anchor, beside the same Trainers with the penalty written into the loss."""

import tempfile
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import nim_dataset
from training.model.base import BUILT_IN
from training.objectives.anchor import AnchorMixin, anchored_parameters

STEPS, WEIGHT = 20, 1e-2
TOKENIZER = AutoTokenizer.from_pretrained(BUILT_IN / "tiny")


class AnchoredPlainTrainer(AnchorMixin, Trainer):
    pass


class WrittenOut(Trainer):
    """The penalty in the loss of each micro-batch, and autograd does the rest."""

    model: PreTrainedModel

    def compute_loss(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        anchored = anchored_parameters(self.model)
        if not hasattr(self, "theta_0"):
            self.theta_0 = {name: parameter.detach().clone() for name, parameter in anchored.items()}
        loss: Any = super().compute_loss(model, *args, **kwargs)
        squares = [(parameter - self.theta_0[name]).pow(2).sum() for name, parameter in anchored.items()]
        return loss + WEIGHT * torch.stack(squares).sum() / self.current_gradient_accumulation_steps


class LastLine(TrainerCallback):
    """The last line of the log of a step."""

    def __init__(self) -> None:
        self.logs: dict[str, float] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.logs = dict(logs) if "loss" in logs else self.logs


def make_model(dtype: torch.dtype) -> nn.Module:
    """Random weights, the same each time; the embeddings are tied."""
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    config.vocab_size = len(TOKENIZER)
    config.bos_token_id = config.eos_token_id = TOKENIZER.eos_token_id
    config.pad_token_id = TOKENIZER.pad_token_id
    model: nn.Module = GPT2LMHeadModel(config)
    return model.to(dtype)


def tokenized_rows() -> Dataset:
    """Texts of the quickstart recipe, all of 64 tokens."""
    texts = ["\n".join(map(str, row.values())) for row in nim_dataset.load("quickstart", "train", n_train=256)]
    ids = TOKENIZER(texts, padding="max_length", max_length=64, truncation=True)["input_ids"]
    return Dataset.from_dict({"input_ids": ids, "labels": ids})


def run(make: Any, make_args: Any, rows: Dataset, dtype: torch.dtype, **options: Any) -> tuple[nn.Module, LastLine]:
    """Trains for 20 steps; `options` that are not the arguments' are the trainer's."""
    line, settings = LastLine(), {}
    for name in ("gradient_accumulation_steps", "max_grad_norm", "bf16"):
        if name in options:
            settings[name] = options.pop(name)
    with tempfile.TemporaryDirectory() as folder:
        args = make_args(
            folder,
            **{"bf16": False, **settings},
            max_steps=STEPS,
            per_device_train_batch_size=4,
            learning_rate=3e-3,
            lr_scheduler_type="constant",
            logging_steps=1,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = make(model=make_model(dtype), args=args, train_dataset=rows, callbacks=[line], **options)
        trainer.train()
    return trainer.model, line


def apart(
    anchored: type[Trainer], written: type[Trainer], make_args: Any, rows: Dataset, dtype: torch.dtype, **options: Any
) -> dict[str, float]:
    """How far the two are `apart` after 20 steps, and how far the anchor `held` its own back, over how far they went;
    and the last line logged."""
    ours, line = run(anchored, make_args, rows, dtype, anchor_weight=WEIGHT, **options)
    theirs, _ = run(written, make_args, rows, dtype, **options)
    free, _ = run(anchored, make_args, rows, dtype, anchor_weight=0, **options)
    anchored_, written_, free_, base = (
        torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        for model in (ours, theirs, free, make_model(dtype))
    )
    travelled = (written_ - base).norm()
    held = {"apart": (anchored_ - written_).norm() / travelled, "held": (anchored_ - free_).norm() / travelled}
    return {**{name: float(value) for name, value in held.items()}, **line.logs}


def apart_in_accumulated_steps(dtype: torch.dtype, **options: Any) -> dict[str, float]:
    """`apart` for a plain `Trainer` that accumulates and clips."""
    accumulated = {"gradient_accumulation_steps": 2, "max_grad_norm": 0.05, **options}
    return apart(AnchoredPlainTrainer, WrittenOut, TrainingArguments, tokenized_rows(), dtype, **accumulated)
