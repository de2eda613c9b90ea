"""How a run's batches are laid out, and what of the model is computed for them: as little as gives the same gradient.

Decided once a run, before its first step, from the model and the rows alone, so that a run that goes on decides alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainingArguments

from evaluation.last_layer import computed_at, needed_at_places_only
from evaluation.predict import evaluating
from nim_dataset.errors import UserError
from training.data.encoding import AnswerCollator, EncodedRows
from training.data.end_to_end import BY_ROW, attention, rows_stay_apart
from training.data.gradients import answer_loss_of, on_device, same_gradient
from training.data.padding import padding_is_ignored


@dataclass
class Layout:
    """That of a run's batches, and the modules that compute at the answers only."""

    model: PreTrainedModel
    why_padded: str = ""
    """Why batches are padded; nothing where they lie end to end."""
    narrowed: list[nn.Module] = field(default_factory=list)
    """Of the last layer, whose output then means nothing but at the answers (see `evaluation/last_layer.py`);
    none where the loss or its gradient would change."""

    @property
    def end_to_end(self) -> bool:
        return not self.why_padded

    @contextmanager
    def applied(self, batch: dict[str, Any]) -> Iterator[None]:
        """Inside, the model takes the batch, a collated one of this layout, forward and backward."""
        by_row = attention(self.model, BY_ROW) if self.end_to_end else nullcontext()
        with by_row, computed_at(batch["logits_to_keep"], self.narrowed):
            yield


def choose_layout(
    model: PreTrainedModel,
    args: TrainingArguments,
    rows: EncodedRows,
    collator: AnswerCollator,
    longest: list[Tensor],
    whole_last_layer: bool = False,
) -> Layout:
    """The layout for training on `rows`; `collator` is set to it. `longest` are inputs as long as any of a batch.

    `whole_last_layer` says that somebody reads the last layer's output elsewhere than at answers.
    Raises `UserError` for a model that reads padding.
    """
    layout = Layout(model, _why_padded(model, args, longest))
    collator.end_to_end = layout.end_to_end
    if layout.why_padded and not padding_is_ignored(model, rows[0], collator.pad_token_id):
        raise UserError(
            f"model: a {model.config.model_type} model reads the padding of shorter rows, so it would learn"
            " something else from a batch than from its rows; take another architecture"
        )
    if not whole_last_layer and not args.torch_compile:  # which would compile anew for each number of places
        two = [rows[0], rows[len(rows) - 1]]
        batch = on_device(model, replace(collator, columns=(), beside=None)(two))
        with evaluating(model), layout.applied(batch):
            candidates = needed_at_places_only(model, batch)
        if candidates and _same_when_narrowed(layout, batch, candidates):
            layout.narrowed = candidates
    return layout


def _why_padded(model: PreTrainedModel, args: TrainingArguments, longest: list[Tensor]) -> str:
    if args.device.type != "cpu":
        return "on a GPU faster than an attention call for each length"
    if args.torch_compile:
        return "torch_compile would compile anew for each combination of lengths"
    if args.neftune_noise_alpha is not None:
        return "neftune's noise depends on the layout"
    if not rows_stay_apart(model, longest):
        return f"end to end, a {model.config.model_type} model would not keep rows apart"
    return ""


def _same_when_narrowed(layout: Layout, batch: dict[str, Any], modules: list[nn.Module]) -> bool:
    def loss(narrowed: list[nn.Module]) -> Tensor:
        with replace(layout, narrowed=narrowed).applied(batch):
            return answer_loss_of(layout.model, batch)

    return same_gradient(layout.model, lambda: loss([]), lambda: loss(modules))


def describe_layout(layout: Layout, rows: EncodedRows, batch_size: int) -> str:
    """A line on the layout, why it is so, and what it saves or costs in batches of so many rows, as the rows come."""
    inputs_N = np.asarray(rows.lengths()) - 1
    batches = [inputs_N[first : first + batch_size] for first in range(0, len(inputs_N), batch_size)]
    padded = sum(int(batch.max()) * len(batch) for batch in batches)
    share = f"{padded / inputs_N.sum() - 1:.1%}"
    if layout.why_padded:
        return f"padded to the longest, {share} more tokens ({layout.why_padded})"
    calls = sum(len(np.unique(batch)) for batch in batches) / len(batches)
    saved = f"padding would add {share} tokens"
    return f"end to end ({saved}; rows of one length share an attention call, {calls:.1f} a layer)"
