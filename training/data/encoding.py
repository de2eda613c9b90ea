"""From rows to batches: the loss sees the answer and one end-of-text token, nothing else.

A row is the tokens of its prompt, exactly those that inference sees, then those of its answer as they follow in the
text of both; an answer of which a token would lie across the two is tokenized by itself, and counted. Nothing is cut: a
row that does not fit is an error, since a row without its answer teaches nothing and a row without its beginning
teaches something else.

Batches lie end to end where the model can be trained so, and are padded to their own longest row elsewhere. Logits are
computed for the answers only. The end-of-text token is a label and no input: nothing is predicted from it.

Shapes: B rows of a batch, L inputs of its longest row, K label columns (the tokens of its longest answer); T inputs and
A answer tokens of all rows together.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from evaluation.tokens import encode_answers, encode_prompts
from nim_dataset.errors import UserError
from training.data.end_to_end import lay_end_to_end

IGNORE = -100
CHUNK = 10_000


class EncodedRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids of all rows, end to end in one array; item i is `{"input_ids": int32[n], "answer_tokens": int, "row":
    i}`, and item (i, s) has `"step": s` too.

    `answer_tokens` counts the trailing tokens that are the answer, end-of-text included. Each of `columns`, which hold
    a value for every row, is a further key of an item: of a tensor (N), where the column is one, a tensor ().
    """

    def __init__(
        self,
        tokens: np.ndarray,
        starts: np.ndarray,
        answer_tokens: np.ndarray,
        columns: Mapping[str, Tensor | list[Any]] | None = None,
        apart: int = 0,
    ) -> None:
        self.tokens, self.starts, self.answer_tokens, self.columns = tokens, starts, answer_tokens, columns or {}
        self.apart = apart
        """Rows whose prompt and answer share a token where they are one text, and were tokenized apart."""

    def __len__(self) -> int:
        return len(self.answer_tokens)

    def __getitem__(self, at: int | tuple[int, int]) -> dict[str, Any]:
        i, step = at if isinstance(at, tuple) else (at, None)
        return {
            "input_ids": self.tokens[self.starts[i] : self.starts[i + 1]],
            "answer_tokens": int(self.answer_tokens[i]),
            "row": i,
            **({} if step is None else {"step": step}),
            **{name: values[i] for name, values in self.columns.items()},
        }

    def fingerprint(self) -> str:
        """A hash of all rows, in their order."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.tokens, self.starts, self.answer_tokens):
            digest.update(array.tobytes())
        for name, values in self.columns.items():
            digest.update(f"{name}{values.tolist() if isinstance(values, Tensor) else values}".encode())
        return digest.hexdigest()

    def lengths(self) -> tuple[int, ...]:
        """The tokens of each row, end-of-text included."""
        return tuple(np.diff(self.starts).tolist())

    def longest_inputs(self) -> list[Tensor]:
        """The inputs (int64) of the two longest rows; of a single row, twice."""
        longest = np.resize(np.argsort(-np.diff(self.starts))[:2], 2)
        return [torch.from_numpy(self[int(i)]["input_ids"][:-1]).long() for i in longest]


def encode_rows(
    rows: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    name: str,
    columns: Sequence[str] = (),
    computed: Mapping[str, Tensor | list[Any]] | None = None,
) -> EncodedRows:
    """Tokenizes the columns `prompt` and `answer` of `rows`, and keeps `columns`; `computed` are further ones, of as
    many values. `name` is what an error calls the rows.

    Rows are drawn with replacement, so many have the same text: each text is tokenized once.

    Raises `UserError` for no rows, a column that is not there, a tokenizer without an end-of-text token, prompts
    without a token, and rows longer than `max_length` tokens.
    """
    for column in columns:
        if column not in rows.column_names:
            raise UserError(
                f"objectives: the rows of '{name}' have no column '{column}'; they have {rows.column_names}"
            )
    if len(rows) == 0:
        raise UserError(f"train_data: '{name}' has no rows; give a dataset with at least one")
    if tokenizer.eos_token_id is None:
        raise UserError(
            "tokenizer: it has no end-of-text token, so no answer could end; set its `eos_token` and save it again"
        )
    numbers: dict[tuple[str, str], int] = {}  # of each distinct row, in the order of their first
    texts = rows.select_columns(["prompt", "answer"])
    chunks = (texts[begin : begin + CHUNK] for begin in range(0, len(rows), CHUNK))
    pairs = (pair for chunk in chunks for pair in zip(chunk["prompt"], chunk["answer"], strict=True))
    which_N = np.fromiter((numbers.setdefault(pair, len(numbers)) for pair in pairs), dtype=np.int64, count=len(rows))

    distinct, tokens, answer_tokens, apart = list(numbers), [], [], []
    for begin in range(0, len(distinct), CHUNK):
        prompts, answers = zip(*distinct[begin : begin + CHUNK], strict=True)
        prompt_ids = encode_prompts(tokenizer, prompts)
        if not all(prompt_ids):
            row = int(np.argmax(which_N == begin + prompt_ids.index([])))
            raise UserError(f"prompt: row {row} of '{name}' has no tokens; leave it out")
        answer_ids, shared = encode_answers(tokenizer, prompts, answers)
        for prompt, answer in zip(prompt_ids, answer_ids, strict=True):
            tokens.append(np.array([*prompt, *answer, tokenizer.eos_token_id], dtype=np.int32))
            answer_tokens.append(len(answer) + 1)
        apart += shared
    lengths_N = np.array([len(row) for row in tokens])[which_N]
    too_long = int((lengths_N > max_length).sum())
    if too_long:
        longest = lengths_N.max()
        raise UserError(
            f"max_length: {too_long:,} of the {len(rows):,} rows of '{name}' do not fit in {max_length} tokens"
            f" (the longest has {longest}); set --max_length {longest} or shorten the rows"
        )
    return EncodedRows(
        np.concatenate([tokens[number] for number in which_N]),
        np.concatenate([[0], np.cumsum(lengths_N)]),
        np.array(answer_tokens, dtype=np.int32)[which_N],
        {name: _column(rows[name][:]) for name in columns} | dict(computed or {}),
        apart=int(np.array(apart)[which_N].sum()),
    )


def _column(values: list[Any]) -> Tensor | list[Any]:
    """A tensor of a column of numbers without a null; decided here, so that all batches have the same kind."""
    return torch.tensor(values) if all(isinstance(value, int | float) for value in values) else values


@dataclass
class AnswerCollator:
    """Joins rows into what a model takes: its inputs, `shift_labels` and the `logits_to_keep` that these belong to.

    `shift_labels` hold, for each place whose logits are computed, the token that comes next; `labels` are the same,
    since models compute no loss without them. Positions count each row's tokens from 0. There are two layouts:

    - padded (B, L) on the left, with `attention_mask`: the answers end in the same column, so `logits_to_keep` is K,
      the last columns, and `shift_labels` (B, K) are `IGNORE` where a row's answer is shorter. Any model takes it.
    - `end_to_end` (1, T), with `row_lengths`: no padding at all; `logits_to_keep` (A) are the places before the
      answers' tokens, `shift_labels` (1, A). It takes a model that attends `BY_ROW` (see `end_to_end.py`).

    Each of `columns` is a further key: a tensor (B), where `EncodedRows` has a tensor, else a list of B values.

    The rows that `beside` makes of these follow after them, in either layout; what they are to answer is in
    `beside_labels`, of the shape of `shift_labels`, and in the labels only `IGNORE`.
    """

    pad_token_id: int
    end_to_end: bool = False
    columns: tuple[str, ...] = ()
    beside: Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]] | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        laid_out = [*rows, *self.beside(rows)] if self.beside else rows
        inputs = [torch.from_numpy(row["input_ids"][:-1]).long() for row in laid_out]
        answers = [torch.from_numpy(row["input_ids"][-row["answer_tokens"] :]).long() for row in laid_out]
        batch = self._end_to_end(inputs, answers) if self.end_to_end else self._padded(inputs, answers)
        if self.beside:
            labels = batch["shift_labels"]
            own = torch.arange(labels.numel()).view_as(labels) < (
                sum(map(len, answers[: len(rows)])) if self.end_to_end else len(rows) * labels.shape[1]
            )
            batch["beside_labels"] = labels.masked_fill(own, IGNORE)
            batch["labels"] = batch["shift_labels"] = labels.masked_fill(~own, IGNORE)
        for name in self.columns:
            values = [row[name] for row in rows]
            batch[name] = torch.stack(values) if isinstance(values[0], Tensor) else values
        return batch

    def _end_to_end(self, inputs: list[Tensor], answers: list[Tensor]) -> dict[str, Any]:
        ends = np.cumsum([len(row) for row in inputs])
        kept = [torch.arange(end - len(answer), end) for end, answer in zip(ends, answers, strict=True)]
        labels_1A = torch.cat(answers)[None]
        labels = {"labels": labels_1A, "shift_labels": labels_1A, "logits_to_keep": torch.cat(kept)}
        return {**lay_end_to_end(inputs), **labels}

    def _padded(self, inputs: list[Tensor], answers: list[Tensor]) -> dict[str, Any]:
        mask_BL = pad_left([torch.ones_like(row) for row in inputs], 0)
        labels_BK = pad_left(answers, IGNORE)
        return {
            "input_ids": pad_left(inputs, self.pad_token_id),
            "attention_mask": mask_BL,
            "position_ids": (mask_BL.cumsum(1) - 1).clip(0),
            "labels": labels_BK,
            "shift_labels": labels_BK,
            "logits_to_keep": labels_BK.shape[1],
        }


def pad_left(rows: list[Tensor], value: int) -> Tensor:
    """The rows as one matrix, filled up with `value` on the left."""
    return pad_sequence(rows, batch_first=True, padding_value=value, padding_side="left")
