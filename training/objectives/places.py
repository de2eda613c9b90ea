"""Where the rows of a batch stand among the hidden states, in whatever way the batch lays them out.

A place counts the tokens of a batch as `states.flatten(0, 1)` does: of states (B, L, D) of rows padded on either side,
or (1, T, D) of rows end to end. Token i of row b, counted from 0 at the first token that the model was given of that
row, is at `row_starts(batch)[b] + i`.

Shapes: B rows of a batch, L tokens of its longest row, K label columns, T tokens of all rows, A answer tokens of all
rows, D channels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

IGNORE = -100


def row_starts(batch: Mapping[str, Any]) -> Tensor:
    """The place (B) of each row's first token."""
    device = batch["input_ids"].device
    if "row_lengths" in batch:
        lengths_B = torch.tensor(batch["row_lengths"], device=device)
        return lengths_B.cumsum(0) - lengths_B
    rows, length = batch["input_ids"].shape
    starts_B = torch.arange(rows, device=device) * length
    return starts_B if batch.get("attention_mask") is None else starts_B + batch["attention_mask"].argmax(dim=1)


def decision_places(batch: Mapping[str, Any]) -> Tensor:
    """The place (B) that predicts the first token of each row's answer: the last of its prompt.

    The answer is what the labels show: the `shift_labels` of the last columns or of `logits_to_keep`, as
    `AnswerCollator` gives them, with the `beside_labels` of rows that it puts beside; or else `labels` (B, L) of all
    places, as a plain `Trainer` takes them.
    """
    rows, length = batch["input_ids"].shape
    if "row_lengths" in batch:
        kept_A = batch["logits_to_keep"]
        first_B: Tensor = kept_A[torch.searchsorted(kept_A, row_starts(batch))]
        return first_B
    ends_B = torch.arange(1, rows + 1, device=batch["input_ids"].device) * length
    if "shift_labels" in batch:
        labels_BK = batch["shift_labels"]
        if "beside_labels" in batch:
            labels_BK = labels_BK.maximum(batch["beside_labels"])
        return ends_B - (labels_BK != IGNORE).sum(dim=1)
    return ends_B - length + (batch["labels"] != IGNORE).int().argmax(dim=1) - 1
