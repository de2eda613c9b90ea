"""Attention over rows that lie end to end, so that a batch has no padding.

A batch is then one sequence of the tokens of all its rows. Everything in a transformer but attention treats tokens one
by one, and so computes on real tokens only; attention is told the rows' lengths and runs the model's own kernel without
a mask: once for all rows of the same length. That is for CPUs, where arithmetic takes the time: on a GPU, launching a
kernel per length and layer would cost more than the padding does.

A model can be trained so if its rows do not touch each other otherwise, which `rows_stay_apart` finds out by trying:
recurrent layers, sliding windows and position biases that come with the mask do not pass, and are padded.

Shapes: T tokens of a batch, H heads (G of keys and values), D channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from evaluation.predict import evaluating

BY_ROW = "by_row"
OWN = "sdpa"
"""The implementation that `BY_ROW` calls, and the only one that it stands in for."""


def attend_by_row(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1GTD: Tensor,
    value_1GTD: Tensor,
    attention_mask: None,
    *,
    row_lengths: Sequence[int],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each of the rows whose `row_lengths` add up to T; gives (1, T, H, D).

    Raises `ValueError` where the layer's window is shorter than a row.
    """
    window = kwargs.get("sliding_window")
    if window is not None and window < max(row_lengths):
        raise ValueError(f"a row of {max(row_lengths)} tokens is longer than the attention window of {window}")
    by_length: dict[int, list[int]] = {}
    for row, length in enumerate(row_lengths):
        by_length.setdefault(length, []).append(row)
    queries, keys, values = (x.split(list(row_lengths), dim=2) for x in (query_1HTD, key_1GTD, value_1GTD))
    attended: dict[int, Tensor] = {}
    for rows in by_length.values():
        q, k, v = (torch.cat([of_rows[row] for row in rows]) for of_rows in (queries, keys, values))
        out = sdpa_attention_forward(module, q, k, v, None, **kwargs)[0]
        attended.update(zip(rows, out.split(1), strict=True))
    return torch.cat([attended[row] for row in range(len(row_lengths))], dim=1), None


AttentionInterface.register(BY_ROW, attend_by_row)


@contextmanager
def attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Inside, `model` attends by `implementation`; afterwards as before."""
    before = str(model.config._attn_implementation)
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def lay_end_to_end(rows: Sequence[Tensor]) -> dict[str, Any]:
    """A model's inputs for `rows` of token ids: `input_ids` and `position_ids` (1, T), and `row_lengths`."""
    return {
        "input_ids": torch.cat(list(rows))[None],
        "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None],
        "row_lengths": [len(row) for row in rows],
    }


@torch.no_grad()
def rows_stay_apart(model: PreTrainedModel, rows: Sequence[Tensor]) -> bool:
    """Whether `model` makes the same of `rows` (inputs) end to end as of each by itself.

    Rows as long as any that will be trained on show an attention window that is shorter than they are.
    """
    if model.config._attn_implementation != OWN or not model._supports_attention_backend:
        return False
    with evaluating(model):
        try:
            alone_TD = torch.cat([model.base_model(input_ids=row[None], use_cache=False)[0][0] for row in rows])
            with attention(model, BY_ROW):
                together_TD = model.base_model(**lay_end_to_end(rows), use_cache=False)[0][0]
        except Exception:  # whatever a model may say to such inputs: padding is always right
            return False
    return bool(((together_TD - alone_TD).abs() <= 1e-4 * alone_TD.abs().max()).all())
