"""Greedy answers to many prompts: batched, length-sorted, left-padded, over one or several processes.

`predict` gives for every prompt the text that `model.generate(do_sample=False, max_new_tokens=...)` gives for that
prompt alone, and decodes each prompt once; batches only make it fast. Rows are decoded in order of length, longest
first, so that a batch holds next to no padding (none for a model that reads it), and a batch size too large for the
memory fails at once. A batch ends when each of its rows has ended its answer with the end-of-text token, or after
`max_new_tokens`, which is no longer than the longest answer that can be right. Of the prompt only the last token's
logits are asked for, so most of the last layer is computed there alone (`last_layer.py`). Only `WINDOW_BATCHES` batches
are tokenized ahead, so memory does not grow with the number of rows.

Shapes: B rows of a batch, P positions of its longest prompt, N new tokens.
"""

import contextlib
import hashlib
import inspect
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets.arrow_dataset import Column
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.last_layer import TOLERANCE, computed_at, needed_at_places_only
from evaluation.tokens import A_TEXT, check_fits, check_rows, encode_prompts, end_tokens
from nim_dataset.errors import UserError

WINDOW_BATCHES = 16
ROWS_AT_ONCE = 5000
"""Rows of a set that are read and scored together."""


class Written(NamedTuple):
    """A greedy answer."""

    text: str
    """Stripped of white space."""
    tokens: int
    """How many it has, without the end-of-text token."""
    ended: bool
    """By the end-of-text token; otherwise it was cut at the budget, which was `tokens`."""

    def is_of_budget(self, max_new_tokens: int) -> bool:
        """Whether this is the answer within so many tokens."""
        return self.tokens <= max_new_tokens if self.ended else self.tokens == max_new_tokens


def predict(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    **options: Any,
) -> list[str]:
    """The texts of `write_answers`, which says what the options are."""
    return [each.text for each in write_answers(model, tokenizer, prompts, **options)]


def write_answers(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 128,
    accelerator: Accelerator | None = None,
    progress: bool | str = False,
    known: Mapping[int, Written] | None = None,
) -> list[Written]:
    """The model's greedy answer to each prompt, in the order of `prompts`; one that comes again is decoded once.

    Args:
        model: a causal LM (also one wrapped by `accelerator.prepare`), on the device where it is to run.
        tokenizer: the model's own; a prompt begins as it begins a text (see `encode_prompts`), and it is left as it is.
        prompts: the texts to continue; a dataset's column is read in pieces, so that memory hardly grows with it.
        max_new_tokens: where a row ends that has not met the end-of-text token; see `answer_budget`.
        batch_size: rows decoded together, per process.
        accelerator: with several processes, each decodes its share of the rows and all return all answers. Every
            process must call with the same prompts.
        progress: show a progress bar over rows on the main process; a string is its label.
        known: row -> its answer, where it is known already: such rows are not decoded.

    Raises:
        UserError: a prompt, named by its row (from 0), that is empty, or with `max_new_tokens` is longer than the
            model can hold; token ids beyond the model's embedding (a tokenizer that belongs to another model).
    """
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    # Processes take turns in the order of length, so that they get equal work; the last turn is filled up with repeated
    # rows, so that all of them run the same number of batches (sharded models need that).
    first_N, lengths_N = _distinct(prompts)
    answers: list[Written | None] = [None] * len(first_N)
    for row, answer in (known or {}).items():
        answers[first_N[row]] = answer
    due_N = np.array([row for row in np.unique(first_N) if answers[row] is None], dtype=np.int64)
    longest_first_N = due_N[np.argsort(-lengths_N[due_N], kind="stable")]
    longest_first_N = np.append(longest_first_N, longest_first_N[-1:].repeat(-len(due_N) % world))
    mine_N = longest_first_N[rank::world]

    unwrapped = _unwrap(model, accelerator)
    kept = dict[Written, Written]()  # of equal answers one is kept
    error: UserError | None = None
    label = progress if isinstance(progress, str) else "predict"
    hidden = not progress or rank != 0 or None  # None: hidden where there is no terminal
    bar = tqdm(total=len(mine_N) * world, desc=label, unit="row", disable=hidden, leave=False)
    with bar, evaluating(model), torch.inference_mode():
        try:
            pads = not len(mine_N) or _ignores_padding(unwrapped, tokenizer)
            narrowed = _narrowed(unwrapped, tokenizer) if len(mine_N) else []
            for rows, batch in _batches(tokenizer, prompts, mine_N, batch_size, pads):
                check_rows(unwrapped, rows, batch, max_new_tokens)
                with computed_at(1, narrowed):
                    written = _decode(unwrapped, tokenizer, batch, max_new_tokens)
                for row, answer in zip(rows, written, strict=True):
                    answers[row] = kept.setdefault(answer, answer)
                bar.update(len(rows) * world)
        except UserError as raised:
            error = raised

    if world > 1:  # an error of one process is an error of all: none must be left waiting
        mine = [(int(row), answers[row]) for row in mine_N]
        shares = gather_object([(mine, error)])
        error = next((other for _, other in shares if other), None)
        for share, _ in shares:
            for row, answer in share:
                answers[row] = answer
    if error:
        raise error
    return [cast(Written, answers[first]) for first in first_N]


def _distinct(prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """For each row the first row that has its prompt, and its prompt's characters; holds no more than some prompts."""
    digests, lengths = bytearray(), array("q")
    for start in range(0, len(prompts), ROWS_AT_ONCE):
        texts = prompts[start : start + ROWS_AT_ONCE]
        digests += b"".join(map(digest, texts))
        lengths.extend(map(len, texts))
    if not lengths:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    _, first, group_N = np.unique(np.frombuffer(digests, "V16"), return_index=True, return_inverse=True)
    return first[group_N], np.array(lengths)


def digest(prompt: str) -> bytes:
    """16 bytes that stand for a prompt."""
    return hashlib.blake2b(prompt.encode(), digest_size=16).digest()


def _batches(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], row_N: np.ndarray, batch_size: int, pads: bool
) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Row numbers and token ids, a batch at a time. `row_N` come by length in characters; a window is by tokens.

    Unless the model `pads`, all rows of a batch have as many tokens.
    """
    window = batch_size * WINDOW_BATCHES
    for start in range(0, len(row_N), window):
        window_rows = row_N[start : start + window].tolist()
        # A dataset's column gives many rows at once far sooner than one by one.
        texts = prompts[window_rows] if isinstance(prompts, Column) else [prompts[row] for row in window_rows]
        ids = encode_prompts(tokenizer, texts)
        by_tokens = sorted(zip(window_rows, ids, strict=True), key=lambda pair: -len(pair[1]))
        alike = [by_tokens] if pads else [list(group) for _, group in groupby(by_tokens, lambda pair: len(pair[1]))]
        for group in alike:
            for first in range(0, len(group), batch_size):
                batch = group[first : first + batch_size]
                yield [row for row, _ in batch], [row_ids for _, row_ids in batch]


def _ignores_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the model says the same after a prompt with padding before it; some read it, whatever the mask says."""
    ids = encode_prompts(tokenizer, [A_TEXT])[0]
    check_fits(model, [ids], 2 * len(ids) + 1)
    alone, padded = (_first_logits(model, ids, before, 1) for before in (0, len(ids)))
    return bool((alone - padded).abs().max() <= 1e-2 * alone.abs().max())


def _narrowed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[torch.nn.Module]:
    """What of the last layer need not be computed for a prompt's other tokens than its last; see `last_layer.py`."""
    if "logits_to_keep" not in inspect.signature(type(model).forward).parameters:
        return []
    ids = encode_prompts(tokenizer, [A_TEXT])[0]
    inputs = {"input_ids": torch.tensor([ids], device=model.device), "logits_to_keep": 1}
    modules = needed_at_places_only(model, inputs)
    whole = _first_logits(model, ids, 0, 2)
    with computed_at(1, modules):
        narrow = _first_logits(model, ids, 0, 2)  # the second token's come from what the first pass kept
    return modules if bool((whole - narrow).abs().max() <= TOLERANCE * whole.abs().max()) else []


def _first_logits(model: PreTrainedModel, ids: list[int], before: int, count: int) -> torch.Tensor:
    """(count, V): those of the tokens that follow `ids`, with so many places of padding before."""
    out = model.generate(  # type: ignore[operator]  # transformers types it as a tensor
        input_ids=torch.tensor([ids[:1] * before + ids], device=model.device),
        attention_mask=torch.tensor([[0] * before + [1] * len(ids)], device=model.device),
        max_new_tokens=count,
        min_new_tokens=count,
        do_sample=False,
        pad_token_id=ids[0],
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.cat(out.logits)


def _decode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: list[list[int]], max_new_tokens: int
) -> list[Written]:
    longest = max(len(row) for row in ids)
    ends = set(end_tokens(model, tokenizer))  # with which finished rows are filled up
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends, default=0)

    ids_BP = torch.tensor([[pad] * (longest - len(row)) + row for row in ids], device=model.device)
    mask_BP = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=model.device)
    out: torch.Tensor = model.generate(  # type: ignore[operator]  # transformers types it as a tensor
        input_ids=ids_BP,
        attention_mask=mask_BP,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=sorted(ends) or None,
        pad_token_id=pad,
    )
    new_BN = out[:, longest:].tolist()
    lengths = [next((i for i, token in enumerate(row) if token in ends), len(row)) for row in new_BN]
    texts = tokenizer.batch_decode(
        [row[:length] for row, length in zip(new_BN, lengths, strict=True)], skip_special_tokens=True
    )
    # A batch whose rows have all ended stops before the budget: only a row that has not ended was cut there.
    return [
        Written(text.strip(), length, length < len(row))
        for text, length, row in zip(texts, lengths, new_BN, strict=True)
    ]


def _unwrap(model: torch.nn.Module, accelerator: Accelerator | None) -> PreTrainedModel:
    return cast(PreTrainedModel, accelerator.unwrap_model(model) if accelerator else getattr(model, "module", model))


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Dropout off inside, and each module as it was afterwards, also when something fails."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
