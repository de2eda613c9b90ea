"""Objectives in anybody's `Trainer`: what they add to the gradients, and their figures in the log.

Objectives are prepared with what the model holds when training begins; on a resume, what it held before the checkpoint
was loaded. So always construct the trainer with the base model.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer

from nim_dataset.errors import UserError
from training.objectives.interface import Batch, Beside, Objective
from training.objectives.places import IGNORE, decision_places, row_starts


class ObjectivesMixin(Trainer):
    """Goes before a `transformers.Trainer`, or a class made from it, among the bases of a trainer.

    `objectives`, by name, add their losses to that of each micro-batch, and their gradients once an optimizer step,
    after its last backward pass and before clipping. The `loss` that is logged stays the Trainer's own. The columns
    that objectives ask for or `encode` are further keys of a batch, which `remove_unused_columns=False` lets through.
    Raises `UserError` for DeepSpeed, for a batch without such a column, and for a figure that another objective, or the
    trainer itself, logs already.
    """

    model: PreTrainedModel

    def __init__(self, *args: Any, objectives: Mapping[str, Objective] | None = None, **kwargs: Any) -> None:
        self.objectives = dict(objectives or {})
        wanted = self.objectives.values()
        self.columns = tuple(dict.fromkeys(name for o in wanted for name in (*o.columns, *o.encoded)))
        self.needs_hidden_states = any(o.needs_hidden_states for o in wanted)
        self._prepared = False
        super().__init__(*args, **kwargs)
        self._objectives_loss = torch.zeros((), device=self.args.device)
        if self.objectives and self.is_deepspeed_enabled:
            raise UserError(
                f"objectives: DeepSpeed hides the gradients that {', '.join(self.objectives)} add to; use FSDP2"
                " (configs/accelerate/fsdp2.yaml), or train without objectives (the anchor: --anchor_weight 0)"
            )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The Trainer's own loss, and what the objectives add."""
        columns = {name: inputs.pop(name, None) for name in self.columns}
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if lacking := [name for name, values in columns.items() if values is None]:
            raise UserError(
                f"objectives: the batches have no column '{lacking[0]}'; give the rows one, and set"
                " remove_unused_columns=False"
            )
        if not self.needs_hidden_states:
            found: Any = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            loss, outputs = found if return_outputs else (found, None)
            batch = Batch(model, columns, loss)
        else:
            inputs["output_hidden_states"] = True
            starts_R, decisions_R = row_starts(inputs), decision_places(inputs)
            beside_labels = inputs.pop("beside_labels", None)
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            rows = len(starts_R) // (1 if beside_labels is None else 2)
            beside = None
            if beside_labels is not None:
                beside_loss = partial(self._beside_loss, outputs.logits, beside_labels, num_items_in_batch)
                beside = Beside(decisions_R[rows:], beside_loss)
            batch = Batch(model, columns, loss, outputs.hidden_states, starts_R[:rows], decisions_R[:rows], beside)
        terms = [term for o in self.objectives.values() if (term := o.loss(batch)) is not None]
        self._objectives_loss.zero_()
        if terms:
            added = torch.stack(terms).sum() / self.current_gradient_accumulation_steps
            self._objectives_loss += added.detach()
            share = self._is_share(num_items_in_batch)
            loss = loss + (added if share else added * self.current_gradient_accumulation_steps)
        return (loss, outputs) if return_outputs else loss

    def _is_share(self, num_items_in_batch: Tensor | int | None) -> bool:
        """Whether the Trainer's own loss is a share of the mean over the step; else it is divided afterwards."""
        by_model = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        return by_model or self.compute_loss_func is not None

    def _beside_loss(self, logits: Tensor, labels: Tensor, num_items_in_batch: Tensor | int | None) -> Tensor:
        """The loss of the answers that `labels` show, divided as the Trainer's own of the same forward pass."""
        kept = labels != IGNORE
        if num_items_in_batch is None or not self._is_share(num_items_in_batch):
            return cross_entropy(logits[kept].float(), labels[kept])
        loss = cross_entropy(logits[kept].float(), labels[kept], reduction="sum") / num_items_in_batch
        if self.args.average_tokens_across_devices:
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return loss * self.current_gradient_accumulation_steps

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor | Any], *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch; gives the Trainer's own loss."""
        loss = super().training_step(model, inputs, *args, **kwargs)
        if self.accelerator.sync_gradients:
            scaler = self.accelerator.scaler
            for objective in self.objectives.values():
                objective.add_gradient(scaler.get_scale() if scaler is not None else 1.0)
        return loss - self._objectives_loss

    def prepare_objectives(self, model: nn.Module) -> None:
        """Called while `model` (sharded already, under FSDP) still is the base model; the first call counts."""
        if not self._prepared:
            for objective in self.objectives.values():
                objective.prepare(model)
        self._prepared = True

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        self.prepare_objectives(self.model)
        return prepared

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.prepare_objectives(model if model is not None else self.model)
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for name, objective in self.objectives.items():
                figures = objective.figures()
                if taken := sorted(figures.keys() & logs.keys()):
                    raise UserError(f"objectives.{name}: its figure '{taken[0]}' is logged already; name it otherwise")
                logs |= figures
        super().log(logs, start_time)
