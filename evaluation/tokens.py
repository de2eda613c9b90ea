"""The tokens of prompts and answers, as training and evaluation both have them, and whether a model can hold them."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nim_dataset.errors import UserError

ANSWER_PREFIX = " "
"""Joins prompt and answer to one text."""

A_TEXT = "There are 12 coins."
"""To try a tokenizer or a model on."""


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """The tokens of each prompt, after those with which the tokenizer itself begins a text (Llama's or Gemma's BOS)."""
    before = _begins_with(tokenizer)
    ids = tokenizer(list(prompts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return [before + row if before and row else row for row in ids]


def _begins_with(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    own, alone = (tokenizer(A_TEXT, add_special_tokens=special)["input_ids"] for special in (True, False))
    starts = (i for i in range(len(own)) if own[i : i + len(alone)] == alone)
    return own[: next(starts, 0)]


def encode_answers(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], answers: Sequence[str]
) -> tuple[list[list[int]], list[bool]]:
    """The tokens of each answer as they follow its prompt in one text, and for each answer whether none do.

    An answer may begin with the space that joins it to the prompt. It has such tokens where those of the prompt begin
    those of `prompt + ANSWER_PREFIX + answer`. Where a token lies across the two, `ANSWER_PREFIX + answer` is tokenized
    by itself. What is looked at is the prompt's last line, so that each combination is tokenized once.
    """
    answers = [answer.lstrip(" ") for answer in answers]
    lasts = [prompt[prompt.rstrip().rfind("\n") + 1 :] for prompt in prompts]
    pairs = sorted(set(zip(lasts, answers, strict=True)))
    texts = sorted(set(answers))

    def encode(several: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(several, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return ids

    alone = dict(zip(texts, encode([ANSWER_PREFIX + answer for answer in texts]), strict=True))
    line_ids = encode([line for line, _ in pairs])
    both_ids = encode([line + ANSWER_PREFIX + answer for line, answer in pairs])
    following = {
        pair: both[len(line) :] if both[: len(line)] == line else None
        for pair, line, both in zip(pairs, line_ids, both_ids, strict=True)
    }
    found = [following[pair] for pair in zip(lasts, answers, strict=True)]
    ids = [alone[answer] if tokens is None else tokens for tokens, answer in zip(found, answers, strict=True)]
    return ids, [tokens is None for tokens in found]


def answer_budget(tokenizer: PreTrainedTokenizerBase, answers: Iterable[str]) -> int:
    """The `max_new_tokens` that suffices to judge these gold answers: the longest one's tokens, and one more.

    The one more is the end-of-text token, or the token that shows that the answer goes on ("take 1" + "0 coins").
    """
    texts = {ANSWER_PREFIX + answer.lstrip(" ") for answer in answers}
    return 1 + max((len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts), default=0)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokens that end an answer: the model's, or else the tokenizer's."""
    end: Any = model.generation_config.eos_token_id if model.generation_config is not None else None
    end = tokenizer.eos_token_id if end is None else end
    return (end,) if isinstance(end, int) else tuple(end or ())


def check_rows(model: PreTrainedModel, rows: list[int], ids: list[list[int]], max_new_tokens: int) -> None:
    """`check_fits` row by row; its error names the row."""
    for row, row_ids in zip(rows, ids, strict=True):
        try:
            check_fits(model, [row_ids], len(row_ids) + max_new_tokens)
        except UserError as error:
            raise UserError(f"row {row}: {error}") from None


def check_fits(model: PreTrainedModel, ids: list[list[int]], length: int) -> None:
    """Raises `UserError` unless the model can read prompts of these token ids, and hold `length` tokens."""
    if not all(ids):
        raise UserError("an empty prompt has no answer: every prompt must have at least one token")
    vocabulary = cast(torch.nn.Embedding, model.get_input_embeddings()).num_embeddings
    if (largest := max(map(max, ids))) >= vocabulary:
        raise UserError(
            f"the tokenizer does not match the model: it gives token id {largest}, the model embeds {vocabulary} tokens"
        )
    room = getattr(model.config, "max_position_embeddings", None)
    if room is not None and length > room:
        raise UserError(f"prompt and answer take {length} tokens, the model holds max_position_embeddings={room}")
