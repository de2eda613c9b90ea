"""From evaluation rows and a model's answers to what a sweep writes: predictions, the wrong ones, results."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from evaluation.artifacts.report_folder import file_name
from evaluation.nim_accuracy.nim_accuracy import BUCKETS, parse_move, score, text_matches
from nim_dataset.errors import UserError
from nim_dataset.sources import Source

TRUTH = ("coins", "max_remove", "trace", "pile", "move", "player_one", "player_two")


@dataclass(frozen=True)
class EvalSet:
    """The rows of one `--datasets` entry."""

    name: str
    """How results and files call it: the spec of a recipe (`cheating:eval`), or a JSONL file's name without ending."""
    spec: str
    rows: Dataset
    sha256: str
    """Of all prompts and answers: tells whether a file or recipe still is what was scored before."""

    @property
    def answers(self) -> set[str]:
        return set(self.rows.unique("answer"))


def load_eval_sets(specs: Sequence[str], limit: int | None) -> list[EvalSet]:
    """The sets of a sweep, of each at most the first `limit` rows; `UserError` for what is not there or there twice."""
    sources = [Source.parse(spec) for spec in specs]
    files = [file_name(source.name) for source in sources]
    for index, source in enumerate(sources):
        first = files.index(files[index])
        if first < index:
            both = specs[index] if specs[first] == specs[index] else f"{specs[first]} and {specs[index]}"
            raise UserError(
                f"--datasets: the name '{source.name}' comes twice ({both}): give each set once, with its own name"
            )
    return [_load(source, limit) for source in sources]


def _load(source: Source, limit: int | None) -> EvalSet:
    rows = source.load(limit)
    digest = hashlib.sha256()
    for batch in rows.select_columns(["prompt", "answer"]).iter(batch_size=1000):
        for prompt, answer in zip(batch["prompt"], batch["answer"], strict=True):
            digest.update(f"{prompt}\0{answer}\0".encode())
    return EvalSet(source.name, source.spec, rows, digest.hexdigest())


def prediction_rows(eval_set: EvalSet, generated: Sequence[str]) -> Iterable[dict[str, Any]]:
    """One line of `predictions/` per row: prompt, gold, generated and correct, then the ground truth."""
    texts = iter(generated)
    for batch in eval_set.rows.iter(batch_size=1000):
        for row in (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)):
            text, bucket = next(texts), row["bucket"]
            yield {
                "prompt": row["prompt"],
                "gold": row["answer"],
                "generated": text,
                "correct": text_matches(text, row["answer"]),
                **{column: row[column] for column in TRUTH},
                "bucket": None if bucket is None else BUCKETS[bucket],
                "cheat_move": row["cheat_move"],
                "predicted_move": parse_move(text),
            }


def incorrect_rows(predictions: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """One line of `incorrect/` per wrong row: the original's prompt, gold and generated, then the ground truth."""
    for row in predictions:
        if not row["correct"]:
            yield {key: value for key, value in row.items() if key != "correct"}


def result_rows(checkpoint: str, step: int, dataset: str, predictions: Sequence[Mapping[str, Any]]) -> list[dict]:
    """The lines of `results.csv` for one checkpoint and set, from its lines of `predictions/`."""
    column = {key: [row[key] for row in predictions] for key in predictions[0]}
    pairs = zip(column["player_one"], column["player_two"], strict=True)
    scores = score(
        column["generated"],
        column["gold"],
        buckets=column["bucket"],
        cheat_moves=column["cheat_move"],
        max_removes=column["max_remove"],
        piles=column["pile"],
        pairs=[f"{one}-{two}" if one and two else None for one, two in pairs],
    )
    where = {"checkpoint": checkpoint, "step": step, "dataset": dataset}
    return [
        {**where, "dimension": dimension, "group": group, **values}
        for dimension, groups in scores["groups"].items()
        for group, values in groups.items()
    ]
