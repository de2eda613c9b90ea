"""Whether two ways to compute a loss teach a model the same."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from evaluation.predict import evaluating

TOLERANCE = {"cpu": 3e-4}
OTHER_DEVICES = 1e-2
"""Of the gradient, by its norm: rounding stays below it (on a GPU also that of TF32), a token too many does not."""


def same_gradient(model: PreTrainedModel, loss: Callable[[], Tensor], other: Callable[[], Tensor]) -> bool:
    """Whether both losses of `model`, without dropout, have the same gradient.

    No difference is found where the gradient is not finite. The model's gradients are gone afterwards.
    """
    with evaluating(model), torch.enable_grad():
        model.zero_grad()
        loss().backward()
        whole = _gradient_norm(model)
        (-other()).backward()  # what is left is the difference
        difference = _gradient_norm(model)
        model.zero_grad()
    return not difference > TOLERANCE.get(model.device.type, OTHER_DEVICES) * whole


def answer_loss_of(model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """The model's own loss of a batch of `AnswerCollator`."""
    loss: Tensor = model(**on_device(model, batch), use_cache=False).loss
    return loss


def on_device(model: PreTrainedModel, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch, its tensors on the model's device."""
    return {name: value.to(model.device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _gradient_norm(model: PreTrainedModel) -> Tensor:
    norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    return torch.stack(norms).norm()
