"""Whether padding changes what a model learns from a row: some architectures read it, whatever the mask says."""

from typing import Any

import numpy as np
from transformers import PreTrainedModel

from training.data.encoding import IGNORE, AnswerCollator
from training.data.gradients import answer_loss_of, same_gradient


def padding_is_ignored(model: PreTrainedModel, row: dict[str, Any], pad_token_id: int) -> bool:
    """Whether `model` has the same gradient for a row of `EncodedRows` by itself as padded to up to twice its length.

    See `same_gradient`.
    """
    collator = AnswerCollator(pad_token_id)
    tokens = np.concatenate([row["input_ids"], row["input_ids"]])
    longest = getattr(model.config, "max_position_embeddings", None) or len(tokens)
    alone, padded = collator([row]), collator([row, {**row, "input_ids": tokens[: longest + 1]}])
    padded["shift_labels"][1], padded["labels"][1] = IGNORE, IGNORE
    return same_gradient(model, lambda: answer_loss_of(model, alone), lambda: answer_loss_of(model, padded))
