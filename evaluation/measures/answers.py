"""The measure `answers`: greedy answers, every one kept in `predictions/`, scored by the metric."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from transformers import PreTrainedTokenizerBase

from evaluation.artifacts.report_folder import PREDICTIONS, ReportFolder, Row
from evaluation.measures.known import Known, digests_of
from evaluation.measures.measure import Measure, Subject, measure
from evaluation.nim_accuracy.nim_accuracy import Tally, parse_move, text_matches
from evaluation.predict import ROWS_AT_ONCE, write_answers
from evaluation.tokens import answer_budget
from nim_dataset.files import read_jsonl


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
            rows,
            max_new_tokens=answer_budget(subject.tokenizer, subject.eval_set.answers),
            batch_size=subject.batch_size,
            accelerator=subject.accelerator,
            progress=subject.label,
            known=subject.known,
        )
        return PredictionRows(rows, generated) if subject.accelerator.is_main_process else []

    def write(self, report: ReportFolder, checkpoint: str, dataset: str, records: Sequence[Row]) -> None:
        report.write_predictions(checkpoint, dataset, records)

    def results(self, records: Iterable[Mapping[str, Any]]) -> list[Row]:
        tally = Tally()
        for columns in _blocks(records):
            tally.add(columns)
        return [
            {"dimension": dimension, "group": group, **values}
            for dimension, groups in tally.scores()["groups"].items()
            for group, values in groups.items()
        ]

    def read_records(self, path: Path) -> Iterator[Row]:
        return (row for _, row in read_jsonl(path))


def greedy_answers(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    rows: Dataset,
    *,
    max_new_tokens: int,
    known: Known,
    **how: Any,
) -> list[str]:
    """`predict` for the rows whose answers are not `known`; they are afterwards."""
    digests = list(digests_of(rows))
    here = known.answers(digests, max_new_tokens)
    found = write_answers(model, tokenizer, rows["prompt"], max_new_tokens=max_new_tokens, known=here, **how)
    known.written.update(zip(digests, found, strict=True))
    return [answer.text for answer in found]


def named_rows(rows: Dataset) -> Iterator[Row]:
    """The rows one by one, with class labels (`bucket`) as their names."""
    labels = {name: feature for name, feature in rows.features.items() if isinstance(feature, ClassLabel)}
    for batch in rows.iter(batch_size=ROWS_AT_ONCE):
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


SCORED = {
    "generated": "predictions",
    "gold": "references",
    "bucket": "buckets",
    "cheat_move": "cheat_moves",
    "max_remove": "max_removes",
    "pile": "piles",
    "modulus": "moduli",
}
"""Columns of `predictions/` -> what the metric calls them."""
PLAYERS = ("player_one", "player_two")


def _blocks(records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Sequence[Any]]]:
    """The columns of the metric, as far as the first record has them, some rows at a time."""
    if isinstance(records, PredictionRows):
        columns = {name: "answer" if name == "gold" else name for name in (*SCORED, *PLAYERS)}
        columns = {name: column for name, column in columns.items() if column in records.rows.column_names}
        generated = iter(records.generated)
        for batch in records.rows.select_columns([*columns.values()]).iter(batch_size=ROWS_AT_ONCE):
            block = {name: batch[column] for name, column in columns.items()}
            yield _scored({**block, "generated": list(islice(generated, len(block["gold"])))})
        return
    lines = iter(records)
    if (first := next(lines, None)) is None:
        return
    names = [name for name in (*SCORED, *PLAYERS) if name in first]
    values = ([row[name] for name in names] for row in chain([first], lines))
    while some := list(islice(values, ROWS_AT_ONCE)):
        yield _scored(dict(zip(names, zip(*some, strict=True), strict=True)))


def _scored(block: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    columns = {name: block[column] for column, name in SCORED.items() if column in block}
    if PLAYERS[0] in block:
        names = zip(*(block[player] for player in PLAYERS), strict=True)
        columns["pairs"] = [f"{one}-{two}" if one and two else None for one, two in names]
    return columns
