"""Whether padding changes what a model learns from a row: some architectures read it, whatever the mask says."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from evaluation.predict import evaluating
from training.data.encoding import IGNORE, AnswerCollator

TOLERANCE = {"cpu": 3e-4}
OTHER_DEVICES = 1e-2
"""Of the gradient, by its norm: rounding stays below it (on a GPU also that of TF32), a token too many does not."""


def padding_is_ignored(model: PreTrainedModel, row: dict[str, Any], pad_token_id: int) -> bool:
    """Whether `model` has the same gradient for a row of `EncodedRows` by itself as padded to up to twice its length.

    Nothing is found where the gradient is not finite. The model's gradients are gone afterwards.
    """
    collator = AnswerCollator(pad_token_id)
    tokens = np.concatenate([row["input_ids"], row["input_ids"]])
    longest = getattr(model.config, "max_position_embeddings", None) or len(tokens)
    alone, padded = collator([row]), collator([row, {**row, "input_ids": tokens[: longest + 1]}])
    padded["shift_labels"][1], padded["labels"][1] = IGNORE, IGNORE
    with evaluating(model), torch.enable_grad():
        model.zero_grad()
        _loss(model, alone).backward()
        whole = _gradient_norm(model)
        (-_loss(model, padded)).backward()  # what is left is the difference
        difference = _gradient_norm(model)
        model.zero_grad()
    return not difference > TOLERANCE.get(model.device.type, OTHER_DEVICES) * whole


def _loss(model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    inputs = {name: value.to(model.device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    loss: Tensor = model(**inputs, use_cache=False).loss
    return loss


def _gradient_norm(model: PreTrainedModel) -> Tensor:
    norms = [parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]
    return torch.stack(norms).norm()
