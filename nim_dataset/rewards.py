"""How good a text is as the answer to a row, as a number: for reinforcement learning, and for other evaluators."""

from collections.abc import Mapping, Sequence
from typing import Any

from nim_dataset.errors import UserError


def score_answer(row: Mapping[str, Any], text: str | None) -> float:
    """1.0 where `text`, which was written after the row's prompt, is right, else 0.0; its mean is the exact match.

    As in the metric `nim_accuracy`: without white space around it, in lower case, the text starts with the row's
    `answer`, and no digit runs on. `None` is no answer. Raises `UserError` for a row without an answer.
    """
    gold = row.get("answer")
    if not isinstance(gold, str) or not gold.strip():
        raise UserError(f"answer: the row has {gold!r}, but the text of the right answer is needed")
    said, gold = (text or "").strip().lower(), gold.strip().lower()
    runs_on = gold[-1].isdigit() and said[len(gold) : len(gold) + 1].isdigit()
    return float(said.startswith(gold) and not runs_on)


def exact_match_reward(
    completions: Sequence[str | Sequence[Mapping[str, str]]], answer: Sequence[str], **columns: Any
) -> list[float]:
    """A reward function of TRL's trainers (`GRPOTrainer(reward_funcs=...)`): `score_answer` of each completion.

    A completion is a text, or the messages of one; `answer` is the dataset's column, other columns are ignored.
    """
    texts = [each if isinstance(each, str) else each[-1]["content"] for each in completions]
    return [score_answer({"answer": gold}, text) for gold, text in zip(answer, texts, strict=True)]
