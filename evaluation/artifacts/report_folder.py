"""The one owner of `reports/NAME/`: its layout, and how its files are written and read.

reports/NAME/
  results.csv                                one line per (checkpoint, dataset, dimension, group); see `COLUMNS`, and
                                             the checkpoint's phase, where the run has several
  accuracy_table.csv                         checkpoint, then `<dataset>_accuracy` for each dataset
  <measure>.csv                              the own table of a measure that has one, such as `candidates`
  predictions/<checkpoint>/<dataset>.jsonl   every row with what the model wrote
  incorrect/<dataset>_<checkpoint>.jsonl     the wrong ones: prompt, gold, generated, then the ground truth
  measures/<measure>/<checkpoint>/<dataset>.jsonl   the records of any other measure than `answers`
  sweep.json                                 the settings that made the folder
  metrics.jsonl                              a copy of the training run's log, if there is one
  index.html, figures/                       the page, and its figures as files
  .lock                                      who holds it writes; see `ReportFolder.locked`

The file of a measure's records is its done-mark: it is written last, and whole.
"""

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from evaluation.artifacts.training_log import phase_of, phase_switches
from nim_dataset.errors import UserError
from nim_dataset.files import read_jsonl, write_jsonl, write_text, written_whole

COLUMNS = ("checkpoint", "step", "dataset", "dimension", "group", "n", "correct", "accuracy", "low", "high")
TABLE_TEXTS = ("dataset", "group", "quantity", "kind", "label", "position")
TABLE_NUMBERS = ("step", "layer", "n", "value", "accuracy", "low", "high", "chance")
"""The columns of text and of numbers in the measures' own tables."""
NUMBERS = ("step", "n", "correct", "accuracy", "low", "high")
LOGGED = ("step", "loss", "penalty", "distance")
"""The numbers of a training log that a report reads."""

PREDICTIONS = "predictions"
"""The folder of the records of `answers`."""

LOCK = ".lock"

Row = dict[str, Any]
"""A line of a JSONL file or of results.csv, by column."""


def file_name(dataset: str) -> str:
    """The dataset's name in file names: every character outside `A-Za-z0-9._=+-` becomes `_`."""
    return re.sub(r"[^A-Za-z0-9._=+-]", "_", dataset)


@dataclass(frozen=True)
class ReportFolder:
    """A report folder, there or yet to be made. Readers raise `UserError` for a file that is not as it should be."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The folder, made if need be, is this process's while it writes; `UserError` when it is another's already, or
        cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / LOCK, blocking=False)
            lock.acquire()
        except Timeout:
            raise UserError(
                f"--output {self.path}: another sweep or import is at work there: wait, or choose another"
            ) from None
        except OSError as error:
            raise UserError(f"--output {self.path}: cannot be written ({error.strerror}): choose another") from None
        try:
            yield
        finally:
            lock.release()

    def is_empty(self) -> bool:
        """Whether there is nothing yet, not even a file of somebody else's."""
        if not self.path.is_dir():
            return not self.path.exists()
        return all(path.name == LOCK for path in self.path.iterdir())

    def records(self, kind: str, checkpoint: str, dataset: str) -> Path:
        """The file of a measure's records; `kind` is the measure's folder, such as `PREDICTIONS`."""
        return self.path / kind / checkpoint / f"{file_name(dataset)}.jsonl"

    def incorrect(self, checkpoint: str, dataset: str) -> Path:
        """The file of the wrong predictions."""
        return self.path / "incorrect" / f"{file_name(dataset)}_{checkpoint}.jsonl"

    def write_predictions(self, checkpoint: str, dataset: str, predictions: Iterable[Mapping[str, Any]]) -> None:
        """Writes the wrong predictions and all of them, row by row; the file of all, which says "done", comes last."""

        def all_rows() -> Generator[Mapping[str, Any], None, None]:
            with written_whole(self.incorrect(checkpoint, dataset)) as wrong:
                for row in predictions:
                    if not row["correct"]:
                        shown = {key: value for key, value in row.items() if key != "correct"}
                        wrong.write((json.dumps(shown, ensure_ascii=False) + "\n").encode())
                    yield row

        with closing(all_rows()) as rows:
            write_jsonl(self.records(PREDICTIONS, checkpoint, dataset), rows)

    def read_predictions(self, checkpoint: str, dataset: str) -> Iterator[Row]:
        """What the model wrote for every row, row by row; none when the folder does not hold it (an imported table,
        say)."""
        path = self.records(PREDICTIONS, checkpoint, dataset)
        return _answers(path) if path.is_file() else iter(())

    def read_incorrect(self, checkpoint: str, dataset: str) -> Iterator[Row] | None:
        """The wrong predictions; None when the folder does not hold them, which is not the same as none wrong."""
        path = self.incorrect(checkpoint, dataset)
        return _answers(path) if path.is_file() else None

    def write_results(self, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """Writes `results.csv` and `accuracy_table.csv`; `rows` are mappings with the keys of `COLUMNS`.

        Of a run of several phases, as its training log says, each line has its `phase` too.
        """
        results = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype({"n": "Int64", "correct": "Int64"})
        if switches := phase_switches(self.read_training_log()):
            results["phase"] = [phase_of(step, switches) for step in results["step"]]
        write_text(self.path / "results.csv", results.to_csv(index=False))
        write_text(self.path / "accuracy_table.csv", accuracy_table(results).to_csv(index=False))
        return results

    def write_table(self, name: str, columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `NAME.csv`, a measure's own table; `rows` have step, dataset and `columns` as keys."""
        table = pd.DataFrame(list(rows), columns=["step", "dataset", *columns])
        write_text(self.path / f"{name}.csv", table.to_csv(index=False))

    def read_table(self, name: str, columns: Iterable[str]) -> pd.DataFrame:
        """`NAME.csv`, ordered by step; empty, with its columns, where there is none."""
        path, expected = self.path / f"{name}.csv", ["step", "dataset", *columns]
        if not path.is_file():
            return pd.DataFrame(columns=expected)
        try:
            table = pd.read_csv(path, dtype=dict.fromkeys(TABLE_TEXTS, str))
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0]})") from None
        if missing := [column for column in expected if column not in table.columns]:
            raise UserError(f"{path}: no column {', '.join(missing)}; expected {', '.join(expected)}")
        return _with_numbers(table, TABLE_NUMBERS, str(path)).sort_values("step", kind="stable", ignore_index=True)

    def has_results(self) -> bool:
        """Whether there is a `results.csv`."""
        return (self.path / "results.csv").is_file()

    def read_results(self) -> pd.DataFrame:
        """`results.csv`, ordered by step."""
        path = self.path / "results.csv"
        if not path.is_file():
            how = "write one with evaluation/sweep.py or evaluation.import_logs"
            raise UserError(f"{self.path}: no results.csv here; {how}")
        try:
            results = pd.read_csv(path, dtype={"group": str, "checkpoint": str, "dataset": str})
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0]})") from None
        missing = [column for column in COLUMNS if column not in results.columns]
        if missing:
            raise UserError(f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
        results = _with_numbers(results, NUMBERS, str(path))
        no_step = ~(results["step"] % 1 == 0).to_numpy()  # also what is missing or infinite
        if no_step.any():
            row = int(no_step.argmax())
            raise UserError(f"{path}, line {row + 2}: 'step' is {results['step'][row]}, expected a whole number")
        twice = results.duplicated(["step", "dataset", "dimension", "group"]).to_numpy()
        if twice.any():
            row = int(twice.argmax())
            what = " ".join(str(results[column][row]) for column in ("checkpoint", "dataset", "dimension", "group"))
            raise UserError(f"{path}, line {row + 2}: {what} is there twice; leave one")
        if results["accuracy"].isna().all():
            raise UserError(f"{path}: no results in it" + ("" if results.empty else ": no 'accuracy' is known"))
        return results.astype({"step": int}).sort_values("step", kind="stable", ignore_index=True)

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes `sweep.json`."""
        write_text(self.path / "sweep.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def read_settings(self) -> Row | None:
        """`sweep.json`; None when there is none."""
        path = self.path / "sweep.json"
        if not path.is_file():
            return None
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: invalid UTF-8 at byte {error.start + 1}") from None
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: not JSON ({error.msg})") from None
        if not isinstance(settings, dict):
            raise UserError(f"{path}: expected a JSON object, got {type(settings).__name__}")
        return settings

    def copy_training_log(self, log: Path) -> None:
        """Takes over a run's `metrics.jsonl`, if it has one."""
        if log.is_file():
            write_text(self.path / "metrics.jsonl", log.read_text(encoding="utf-8"))

    def read_training_log(self) -> pd.DataFrame:
        """`metrics.jsonl` of the training run, one line per step; empty when there is none."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return pd.DataFrame()
        return _with_numbers(pd.DataFrame(row for _, row in read_jsonl(path)), LOGGED, str(path))


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """The original's table: one line per checkpoint in order of step, one `<dataset>_accuracy` column per dataset; the
    checkpoint's `phase` beside it, where the results have one."""
    overall = results[(results["dimension"] == "overall") & (results["group"] == "exact_match")]
    datasets = list(dict.fromkeys(overall["dataset"]))
    place = ["step", "checkpoint", *(["phase"] if "phase" in overall else [])]
    table = overall.pivot_table(index=place, columns="dataset", values="accuracy", aggfunc="last")
    table = table.reindex(columns=datasets).add_suffix("_accuracy").reset_index().drop(columns="step")
    table.columns.name = None
    return table


def _with_numbers(table: pd.DataFrame, columns: Iterable[str], path: str) -> pd.DataFrame:
    """The table with these columns, where it has them, as numbers; names the first value that is none."""
    table = table.copy()
    for column in table.columns.intersection(list(columns)):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = table.index[numbers.isna() & table[column].notna()]
        if len(bad):
            raise UserError(f"{path}: '{column}' is {table[column][bad[0]]!r}, expected a number")
        table[column] = numbers
    return table


def _answers(path: Path) -> Iterator[Row]:
    for number, row in read_jsonl(path):
        for field in ("prompt", "gold", "generated"):
            if not isinstance(row.get(field), str):
                raise UserError(f"{path}, line {number}: '{field}' is missing or no text")
        yield row
