"""Checkpoints and the trained model appear whole, under their own names, or not at all: a mixin for a `Trainer`."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINING_ARGS_NAME

from evaluation.artifacts.run_folder import (
    commit_checkpoint,
    last_complete_checkpoint,
    publish_model,
    rotate_checkpoints,
    staged,
    staged_model,
    writing,
)
from nim_dataset.errors import UserError
from training.model.shards import local_part

LOSS_UNDER_WAY = "loss_under_way"
"""Where trainer_state.json keeps the sum of the losses since the last line of the log, and that line's step."""


class AtomicSaves(Trainer):
    """Writes into the run's staging folder and renames what is complete; refuses to save weights that are not finite.

    A run that continues logs the losses of one that was never interrupted.
    """

    model: PreTrainedModel

    def __init__(self, *, model: PreTrainedModel, **kwargs: Any) -> None:
        base = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
        super().__init__(model=model, **kwargs)
        self._base_config, self._base_generation_config = base
        self.run_dir = Path(str(self.args.output_dir))
        self.add_callback(_LossGoesOn(self))

    def save_final_model(self) -> None:
        """Writes the model and its tokenizer into the run's folder, each file whole or not at all."""
        with writing("the trained model", self.run_dir):
            self.save_model(str(staged_model(self.run_dir)))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                publish_model(self.run_dir)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        with self._base_configs():
            super().save_model(output_dir, _internal_call)
        # A pickle of the settings, host names included, that nothing here reads: config.yaml says the same.
        if self.args.should_save:
            (Path(output_dir or self.run_dir) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    @contextmanager
    def _base_configs(self) -> Iterator[None]:
        """Has the model described as the base was; a Trainer turns `use_cache` off, and takes the tokenizer's tokens.

        Answers end in the tokenizer's end-of-text token, so that stays what a generation ends with.
        """
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        trained = model.config, model.generation_config
        if self._base_generation_config is not None:
            self._base_generation_config.eos_token_id = model.generation_config.eos_token_id
        model.config, model.generation_config = self._base_config, self._base_generation_config
        try:
            yield
        finally:
            model.config, model.generation_config = trained

    def save_extras(self, checkpoint: Path) -> None:
        """Called on every process to write what a subclass needs to continue; `checkpoint` has its own name later."""

    def stop_unless_finite(self, what: str, value: Tensor, step: int) -> None:
        """Raises `UserError`, which names `what` and the last good checkpoint, unless all of `value` is finite."""
        if not torch.isfinite(value).all():
            last = last_complete_checkpoint(self.run_dir)
            rate = self.lr_scheduler.get_last_lr()[0] if self.lr_scheduler is not None else math.nan
            remedy = "lower --learning_rate or --anchor_weight, or clip harder with --max_grad_norm"
            if self.args.fp16:
                remedy = (
                    "fp16 overflows above 65,504, as Pythia's activations may: take --bf16 true instead, or neither"
                )
            raise UserError(
                f"the {what} became {value.sum().item()} at step {step} (learning rate {rate:.3g}); the last good"
                f" checkpoint is {last or 'none'}; {remedy}"
            )

    def save_checkpoint(self) -> None:
        """Saves a checkpoint now; every process calls it."""
        self._save_checkpoint(self.model, None)
        self.control = self.callback_handler.on_save(self.args, self.state, self.control)

    def _get_output_dir(self, trial: Any) -> str:
        return str(staged(self.run_dir))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        step = self.state.global_step
        for name, parameter in self.model.named_parameters():
            self.stop_unless_finite(f"weight {name}", local_part(parameter.detach()), step)
        loss_sum = self.accelerator.reduce(self._tr_loss, reduction="mean").item()
        kept_in_json: Any = self.state.stateful_callbacks
        kept_in_json[LOSS_UNDER_WAY] = {"sum": loss_sum, "since": self._globalstep_last_logged}
        with writing(f"checkpoint-{step}", self.run_dir):
            super()._save_checkpoint(model, trial)
            self.save_extras(staged(self.run_dir) / f"checkpoint-{step}")
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                commit_checkpoint(self.run_dir, step)
                if self.args.save_total_limit is not None:
                    rotate_checkpoints(self.run_dir, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()


class _LossGoesOn(TrainerCallback):
    """A Trainer that continues begins another mean of the loss; this puts back the one that was under way."""

    def __init__(self, trainer: AtomicSaves) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        kept_in_json: Any = state.stateful_callbacks
        if under_way := kept_in_json.get(LOSS_UNDER_WAY):
            self.trainer._tr_loss.fill_(under_way["sum"])
            self.trainer._globalstep_last_logged = under_way["since"]
