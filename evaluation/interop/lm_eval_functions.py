"""What the tasks that `lm_eval_tasks.py` writes call by name, row by row."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from nim_dataset import score_answer
from nim_dataset.games import parse_prompts


def exact_match(row: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metric of one row, for the text that a model wrote."""
    return {"exact_match": score_answer(row, results[0])}


def with_choices(rows: Dataset) -> Dataset:
    """The rows with two columns more: `choices`, all possible answers in ascending order, and which of them is `right`.

    The answers are those of the measure `candidates`. Raises `ValueError` for a prompt that is of no known game.
    """
    choices, right = [], []
    for game, answer in zip(parse_prompts(rows["prompt"][:])[0], rows["answer"][:], strict=True):
        answers = list(game.options().values()) if game is not None else []
        choices.append(answers)
        right.append(answers.index(answer.lstrip(" ")))
    return rows.add_column("choices", choices).add_column("right", right)
