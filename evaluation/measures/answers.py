"""The measure `answers`: greedy answers, every one kept in `predictions/`, scored by the metric."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from transformers import PreTrainedTokenizerBase

from evaluation.artifacts.report_folder import PREDICTIONS, ReportFolder, Row
from evaluation.measures.known import Known, digest
from evaluation.measures.measure import Measure, Subject, measure
from evaluation.nim_accuracy.nim_accuracy import parse_move, score, text_matches
from evaluation.predict import answer_budget, write_answers
from nim_dataset.pairs import BUCKETS


@measure("answers")
class Answers(Measure):
    """Is the answer right, the move, and what is it when it is wrong? See the metric's card."""

    @property
    def folder(self) -> str:
        return PREDICTIONS

    def records(self, subject: Subject) -> Sequence[Row]:
        rows = subject.eval_set.rows
        generated = greedy_answers(
            subject.model,
            subject.tokenizer,
            rows["prompt"][:],
            max_new_tokens=answer_budget(subject.tokenizer, subject.eval_set.answers),
            batch_size=subject.batch_size,
            accelerator=subject.accelerator,
            progress=subject.label,
            known=subject.known,
        )
        return PredictionRows(rows, generated) if subject.accelerator.is_main_process else []

    def write(self, report: ReportFolder, checkpoint: str, dataset: str, records: Sequence[Row]) -> None:
        report.write_predictions(checkpoint, dataset, records)

    def results(self, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        column = _columns(records)
        pairs = None
        if "player_one" in column:
            texts = dict[str, str]()  # one for each pair, however many rows have it
            names = zip(column["player_one"], column["player_two"], strict=True)
            named = (f"{one}-{two}" if one and two else None for one, two in names)
            pairs = [None if pair is None else texts.setdefault(pair, pair) for pair in named]
        scores = score(
            column["generated"],
            column["gold"],
            buckets=column.get("bucket"),
            cheat_moves=column.get("cheat_move"),
            max_removes=column.get("max_remove"),
            piles=column.get("pile"),
            pairs=pairs,
            moduli=column.get("modulus"),
        )
        return [
            {"dimension": dimension, "group": group, **values}
            for dimension, groups in scores["groups"].items()
            for group, values in groups.items()
        ]


def greedy_answers(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    known: Known,
    **how: Any,
) -> list[str]:
    """`predict` for the prompts whose answers are not `known`; they are afterwards."""
    digests = [digest(prompt) for prompt in prompts]
    here = known.answers(digests, max_new_tokens)
    found = write_answers(model, tokenizer, prompts, max_new_tokens=max_new_tokens, known=here, **how)
    known.written.update(zip(digests, found, strict=True))
    return [answer.text for answer in found]


def named_rows(rows: Dataset) -> Iterator[Row]:
    """The rows one by one, with class labels (`bucket`) as their names."""
    labels = {name: feature for name, feature in rows.features.items() if isinstance(feature, ClassLabel)}
    for batch in rows.iter(batch_size=1000):
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            for name, feature in labels.items():
                row[name] = None if row[name] is None else feature.int2str(row[name])
            yield row


def prediction_row(row: Mapping[str, Any], generated: str, correct: bool) -> Row:
    """A line of `predictions/`: prompt, gold, generated and correct, all other columns of the row, and the move that
    was written (None without a number)."""
    truth = {name: value for name, value in row.items() if name not in ("prompt", "answer")}
    said = {"prompt": row["prompt"], "gold": row["answer"], "generated": generated, "correct": correct}
    return {**said, **truth, "predicted_move": parse_move(generated)}


class PredictionRows(Sequence[Row]):
    """One line of `predictions/` per row, for the texts that a model wrote; made when it is looked at."""

    def __init__(self, rows: Dataset, generated: Sequence[str]) -> None:
        self.rows, self.generated = rows, generated

    def __iter__(self) -> Iterator[Row]:
        for row, text in zip(named_rows(self.rows), self.generated, strict=True):
            yield prediction_row(row, text, text_matches(text, row["answer"]))

    def __len__(self) -> int:
        return len(self.generated)

    def __getitem__(self, place: Any) -> Any:
        chosen = range(len(self))[place]
        if isinstance(chosen, range):
            return PredictionRows(self.rows.select(chosen), [self.generated[row] for row in chosen])
        return next(iter(self[chosen : chosen + 1]))


SCORED = ("generated", "gold", "player_one", "player_two", "bucket", "cheat_move", "max_remove", "pile", "modulus")
"""What the metric asks for of a line of `predictions/`."""


def _columns(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Those of `SCORED` that the first record has; equal texts are one object, so that a row costs its places alone."""
    texts = dict[str, str]()

    def kept_once(values: Iterable[Any]) -> list[Any]:
        return [texts.setdefault(value, value) if isinstance(value, str) else value for value in values]

    if not isinstance(records, PredictionRows):
        return {name: kept_once(row[name] for row in records) for name in SCORED if name in records[0]}
    source = {name: "answer" if name == "gold" else name for name in SCORED}
    source = {name: column for name, column in source.items() if column in records.rows.column_names}
    columns: dict[str, list[Any]] = {name: [] for name in source}
    for batch in records.rows.select_columns(list(source.values())).iter(batch_size=1000):
        for name, column in source.items():
            columns[name] += kept_once(batch[column])
    if "bucket" in columns:
        columns["bucket"] = [None if bucket is None else BUCKETS[bucket] for bucket in columns["bucket"]]
    return {"generated": list(records.generated), **columns}
