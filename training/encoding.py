"""From rows to batches: the loss sees the answer and one end-of-text token, nothing else.

Prompt and answer are tokenized apart and joined, so that training sees exactly the tokens that inference sees: the
prompt's, then those of `" " + answer`. Nothing is cut: a row that does not fit is an error, since a row without its
answer teaches nothing and a row without its beginning teaches something else.

Batches are padded on the left to their own longest row. The answers then end in the same column, so the labels are a
narrow block at the right edge and logits are needed there only (see `AnchoredTrainer.compute_loss`). The end-of-text
token is a label and no input: nothing is predicted from it.

Shapes: B rows of a batch, L inputs of its longest row, K label columns (the tokens of its longest answer).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from evaluation.predict import ANSWER_PREFIX
from nim_dataset.errors import UserError

IGNORE = -100
CHUNK = 10_000


class EncodedRows(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids of all rows, end to end in one array; item i is `{"input_ids": int32[n], "answer_tokens": int}`.

    `answer_tokens` counts the trailing tokens that are the answer, end-of-text included.
    """

    def __init__(self, tokens: np.ndarray, starts: np.ndarray, answer_tokens: np.ndarray) -> None:
        self.tokens, self.starts, self.answer_tokens = tokens, starts, answer_tokens

    def __len__(self) -> int:
        return len(self.answer_tokens)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {
            "input_ids": self.tokens[self.starts[i] : self.starts[i + 1]],
            "answer_tokens": int(self.answer_tokens[i]),
        }


def encode_rows(rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, name: str) -> EncodedRows:
    """Tokenizes the `prompt` and `answer` columns of `rows`; `name` is what an error calls them.

    Raises `UserError` for no rows, a tokenizer without an end-of-text token, and rows longer than `max_length` tokens.
    """
    if len(rows) == 0:
        raise UserError(f"train_data: '{name}' has no rows; give a dataset with at least one")
    if tokenizer.eos_token_id is None:
        raise UserError(
            "tokenizer: it has no end-of-text token, so no answer could end; set its `eos_token` and save it again"
        )
    pieces: list[list[int]] = []
    lengths: list[int] = []
    answer_tokens: list[int] = []
    for begin in range(0, len(rows), CHUNK):
        chunk = rows[begin : begin + CHUNK]
        prompts = tokenizer(chunk["prompt"], add_special_tokens=False, return_attention_mask=False)["input_ids"]
        answers = _answer_ids(tokenizer, chunk["answer"])
        for prompt, answer in zip(prompts, answers, strict=True):
            pieces += [prompt, answer]
            lengths.append(len(prompt) + len(answer))
            answer_tokens.append(len(answer))
    too_long = sum(length > max_length for length in lengths)
    if too_long:
        raise UserError(
            f"max_length: {too_long:,} of the {len(rows):,} rows of '{name}' do not fit in {max_length} tokens"
            f" (the longest has {max(lengths)}); set --max_length {max(lengths)} or shorten the rows"
        )
    tokens = np.fromiter((token for piece in pieces for token in piece), dtype=np.int32, count=sum(lengths))
    return EncodedRows(tokens, np.concatenate([[0], np.cumsum(lengths)]), np.array(answer_tokens, dtype=np.int32))


def _answer_ids(tokenizer: PreTrainedTokenizerBase, answers: Sequence[str]) -> list[list[int]]:
    """Answers repeat (there are only so many moves), so each distinct one is tokenized once."""
    distinct = sorted(set(answers))
    ids = tokenizer([ANSWER_PREFIX + answer for answer in distinct], add_special_tokens=False)["input_ids"]
    by_answer = {answer: [*tokens, tokenizer.eos_token_id] for answer, tokens in zip(distinct, ids, strict=True)}
    return [by_answer[answer] for answer in answers]


@dataclass
class AnswerCollator:
    """Joins rows into `input_ids`, `attention_mask` and `position_ids` (B, L) and the narrow `shift_labels` (B, K).

    `shift_labels` line up with the last K columns of `input_ids` and hold the token that comes next, where that is the
    answer's, and `IGNORE` elsewhere; `labels` are the same, since models compute no loss without them. Positions count
    real tokens from 0, so that padding moves nothing, in models with absolute positions too.
    """

    pad_token_id: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        L = max(len(row["input_ids"]) for row in rows) - 1
        K = max(row["answer_tokens"] for row in rows)
        input_ids_BL = np.full((len(rows), L), self.pad_token_id, dtype=np.int64)
        mask_BL = np.zeros((len(rows), L), dtype=np.int64)
        labels_BK = np.full((len(rows), K), IGNORE, dtype=np.int64)
        for i, row in enumerate(rows):
            ids, n_answer = row["input_ids"], row["answer_tokens"]
            input_ids_BL[i, L - len(ids) + 1 :] = ids[:-1]
            mask_BL[i, L - len(ids) + 1 :] = 1
            labels_BK[i, K - n_answer :] = ids[-n_answer:]
        labels = torch.from_numpy(labels_BK)
        return {
            "input_ids": torch.from_numpy(input_ids_BL),
            "attention_mask": torch.from_numpy(mask_BL),
            "position_ids": torch.from_numpy((mask_BL.cumsum(1) - 1).clip(0)),
            "labels": labels,
            "shift_labels": labels,
        }
