"""`transformers.Trainer` with an anchor, logits only at the answers, exact match as its evaluation, atomic checkpoints.

Everything else is the Trainer's: optimizer, schedules, mixed precision, accumulation, DDP and FSDP, reporting.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import rotate_checkpoints

from evaluation.artifacts.run_folder import (
    STAGING,
    commit_checkpoint,
    last_complete_checkpoint,
    publish_model,
    staged_model,
    writing,
)
from evaluation.nim_accuracy.nim_accuracy import text_matches
from evaluation.predict import answer_budget, predict
from nim_dataset.errors import UserError
from training.data.encoding import AnswerCollator, EncodedRows
from training.data.end_to_end import BY_ROW, attention, rows_stay_apart
from training.objectives.anchor import Anchor, local_part

LOSS_UNDER_WAY = "loss_under_way"
"""Where trainer_state.json keeps the sum of the losses since the last line of the log, and that line's step."""


class AnchoredTrainer(Trainer):
    """A `Trainer` whose weights are held to where they started.

    Args (beyond the Trainer's):
        anchor_weight: the L2-SP factor; 0 keeps no copy of the weights and costs nothing.
        train_dataset: the encoded rows; the trainer batches them itself.
        processing_class: the tokenizer that they were encoded with.
        eval_dataset: a dict of datasets to measure exact match on (columns `prompt`, `answer`); the one named `eval` is
            logged as `eval_exact_match`, any other as `eval_<name>_exact_match`.

    `theta_0` is what the model holds when training begins; on a resume, what it held before the checkpoint was loaded.
    So always construct the trainer with the base model.
    """

    model: PreTrainedModel
    processing_class: PreTrainedTokenizerBase
    eval_dataset: dict[str, Dataset] | None

    def __init__(
        self,
        *,
        anchor_weight: float,
        train_dataset: EncodedRows,
        processing_class: PreTrainedTokenizerBase,
        **kwargs: Any,
    ) -> None:
        if anchor_weight < 0:
            raise UserError(f"anchor_weight: {anchor_weight} is below 0; give 0 (no anchor) or more")
        pad = processing_class.pad_token_id
        collator = AnswerCollator(processing_class.eos_token_id if pad is None else pad)
        super().__init__(
            train_dataset=train_dataset, processing_class=processing_class, data_collator=collator, **kwargs
        )
        if anchor_weight > 0 and self.is_deepspeed_enabled:
            raise UserError(
                "anchor_weight: DeepSpeed hides the gradients that the anchor adds to; use FSDP2"
                " (configs/accelerate/fsdp2.yaml), or --anchor_weight 0"
            )
        collator.end_to_end = self.end_to_end = (
            self.args.device.type == "cpu"
            and not self.args.torch_compile  # which would compile anew for each combination of lengths
            and self.args.neftune_noise_alpha is None  # whose noise depends on the layout
            and rows_stay_apart(self.model, train_dataset.longest_inputs())
        )
        self.run_dir = Path(str(self.args.output_dir))
        self.anchor_weight = anchor_weight
        self.anchor: Anchor | None = None
        self._tokens = torch.zeros((), dtype=torch.int64, device=self.args.device)
        self._tokens_since = time.perf_counter()

    # ---- The loss and the anchor ----

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor | Any], *args: Any, **kwargs: Any) -> Any:
        """The mean over the answer tokens of the whole step."""
        mask = inputs.get("attention_mask")
        self._tokens += inputs["input_ids"].numel() if mask is None else mask.sum()
        return super().compute_loss(model, inputs, *args, **kwargs)

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor | Any], *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch. After the last one of an optimizer step, the anchor's gradient is added, once."""
        with attention(self.model, BY_ROW) if self.end_to_end else nullcontext():
            loss = super().training_step(model, inputs, *args, **kwargs)
        self._stop_unless_finite("loss", loss, self.state.global_step + 1)
        if self.anchor is not None and self.accelerator.sync_gradients:
            scaler = self.accelerator.scaler
            self.anchor.add_gradient(scale=scaler.get_scale() if scaler is not None else 1.0)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and self.accelerator.scaler is None:  # a scaler leaves such steps out, and goes on
            self._stop_unless_finite("gradient", torch.as_tensor(norm), self.state.global_step + 1)
        return norm

    def _stop_unless_finite(self, what: str, value: Tensor, step: int) -> None:
        if not torch.isfinite(value).all():
            last = last_complete_checkpoint(self.run_dir)
            raise UserError(
                f"the {what} became {value.sum().item()} at step {step} (learning rate"
                f" {self._get_learning_rate():.3g}); the last good checkpoint is {last or 'none'}; lower"
                " --learning_rate or --anchor_weight, or clip harder with --max_grad_norm"
            )

    def _drop_anchor_here(self, model: nn.Module) -> None:
        if self.anchor is None and self.anchor_weight > 0:
            self.anchor = Anchor(model, self.anchor_weight)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        # The last moment at which the model (sharded already, under FSDP) still is the base model.
        self._drop_anchor_here(model if model is not None else self.model)
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            # Trainer loads by the names on disk and passes over those that differ from the model's own, such as
            # `embed_out` for GPT-NeoX's `lm_head`; `from_pretrained` knows them, and `strict` leaves nothing out.
            saved = type(self.model).from_pretrained(resume_from_checkpoint, dtype=self.model.dtype)
            self.model.load_state_dict(saved.state_dict(), strict=True)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        try:
            model, dataloader = super()._prepare_for_training(*args, **kwargs)
        except (ValueError, TypeError) as error:  # such as a schedule that needs --lr_scheduler_kwargs
            raise UserError(" ".join(str(error).split())) from error
        self._drop_anchor_here(self.model)
        return model, dataloader

    # ---- What is logged ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds penalty, distance and speed to a step's figures; `loss` is the data's alone."""
        if "loss" in logs:
            if self.anchor is not None:
                distance = self.anchor.distance()
                logs |= {"penalty": self.anchor_weight * distance**2, "distance": distance}
            tokens = self.accelerator.reduce(self._tokens, reduction="sum").item()
            logs["tokens_per_second"] = round(tokens / (time.perf_counter() - self._tokens_since), 1)
            self._reset_speed()
        super().log(logs, start_time)

    def _reset_speed(self) -> None:
        self._tokens.zero_()
        self._tokens_since = time.perf_counter()

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Exact match on each of the eval datasets, every row counted once over all processes."""
        started = time.perf_counter()
        metrics = {}
        for name, rows in (self.eval_dataset or {}).items():
            key = metric_key_prefix if name == "eval" else f"{metric_key_prefix}_{name}"
            metrics[f"{key}_exact_match"] = self._exact_match(rows)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self._tokens_since += time.perf_counter() - started  # the speed is that of training
        return metrics

    def _exact_match(self, rows: Dataset) -> float:
        answers: Sequence[str] = rows["answer"]
        predictions = predict(
            self.model,
            self.processing_class,
            rows["prompt"],
            max_new_tokens=answer_budget(self.processing_class, answers),
            batch_size=self.args.per_device_eval_batch_size,
            accelerator=self.accelerator,
        )
        return sum(text_matches(p, a) for p, a in zip(predictions, answers, strict=True)) / len(answers)

    # ---- Checkpoints ----

    def _get_output_dir(self, trial: Any) -> str:
        # A checkpoint is written in a staging folder and appears under its own name only when it is complete.
        return str(Path(super()._get_output_dir(trial)) / STAGING)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        super()._save(output_dir, state_dict)
        # A pickle of the settings, host names included, that nothing here reads: config.yaml says the same.
        (Path(output_dir or self.run_dir) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        for name, parameter in self.model.named_parameters():
            self._stop_unless_finite(f"weight {name}", local_part(parameter.detach()), self.state.global_step)
        loss_sum = self.accelerator.reduce(self._tr_loss, reduction="mean").item()
        kept_in_json: Any = self.state.stateful_callbacks
        kept_in_json[LOSS_UNDER_WAY] = {"sum": loss_sum, "since": self._globalstep_last_logged}
        with writing(f"checkpoint-{self.state.global_step}", self.run_dir):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                commit_checkpoint(self.run_dir, self.state.global_step)
                rotate_checkpoints(output_dir=str(self.run_dir), save_total_limit=self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # Trainer begins another mean of the loss when it continues; the one that was under way is to go on.
        kept_in_json: Any = self.state.stateful_callbacks
        under_way = kept_in_json.get(LOSS_UNDER_WAY)
        if under_way and self.state.global_step == self._initial_global_step:
            self._tr_loss.fill_(under_way["sum"])
            self._globalstep_last_logged = under_way["since"]
        super()._run_epoch(*args, **kwargs)

    def save_final_model(self) -> None:
        """Writes the model and its tokenizer into the run's folder, each file whole or not at all."""
        with writing("the trained model", self.run_dir):
            self.save_model(str(staged_model(self.run_dir)))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                publish_model(self.run_dir)
