"""Objectives in anybody's `Trainer`: what they add to the gradients, and their figures in the log.

Objectives are prepared with what the model holds when training begins; on a resume, what it held before the checkpoint
was loaded. So always construct the trainer with the base model.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer

from nim_dataset.errors import UserError
from training.objectives.interface import Objective


class ObjectivesMixin(Trainer):
    """Goes before a `transformers.Trainer`, or a class made from it, among the bases of a trainer.

    `objectives`, by name, add their gradients once an optimizer step, after its last backward pass and before clipping.
    Raises `UserError` for DeepSpeed, and for a figure that another objective, or the trainer itself, logs already.
    """

    model: PreTrainedModel

    def __init__(self, *args: Any, objectives: Mapping[str, Objective] | None = None, **kwargs: Any) -> None:
        self.objectives = dict(objectives or {})
        self._prepared = False
        super().__init__(*args, **kwargs)
        if self.objectives and self.is_deepspeed_enabled:
            raise UserError(
                f"objectives: DeepSpeed hides the gradients that {', '.join(self.objectives)} add to; use FSDP2"
                " (configs/accelerate/fsdp2.yaml), or train without objectives (the anchor: --anchor_weight 0)"
            )

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor | Any], *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(model, inputs, *args, **kwargs)
        if self.accelerator.sync_gradients:
            scaler = self.accelerator.scaler
            for objective in self.objectives.values():
                objective.add_gradient(scaler.get_scale() if scaler is not None else 1.0)
        return loss

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
