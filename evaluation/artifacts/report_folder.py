"""What a report folder holds: the names, columns and files that the sweep and the import write and the report reads.

reports/NAME/
  results.csv                            one line per (checkpoint, dataset, dimension, group); see `COLUMNS`
  accuracy_table.csv                     checkpoint, then `<dataset>_accuracy` for each dataset
  predictions/<checkpoint>/<dataset>.jsonl   every row with what the model wrote
  incorrect/<dataset>_<checkpoint>.jsonl     the wrong ones: prompt, gold, generated, then the ground truth
  sweep.json                             the settings that made the folder
  metrics.jsonl                          a copy of the training run's log, if there is one
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from nim_dataset.errors import UserError
from nim_dataset.files import write_text

COLUMNS = ("checkpoint", "step", "dataset", "dimension", "group", "n", "correct", "accuracy", "low", "high")


def file_name(dataset: str) -> str:
    """The dataset's name in file names: every character outside `A-Za-z0-9._=+-` becomes `_`."""
    return re.sub(r"[^A-Za-z0-9._=+-]", "_", dataset)


def predictions_path(folder: Path, checkpoint: str, dataset: str) -> Path:
    return folder / "predictions" / checkpoint / f"{file_name(dataset)}.jsonl"


def incorrect_path(folder: Path, checkpoint: str, dataset: str) -> Path:
    return folder / "incorrect" / f"{file_name(dataset)}_{checkpoint}.jsonl"


def write_results(folder: Path, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Writes `results.csv` and `accuracy_table.csv`; `rows` are mappings with the keys of `COLUMNS`."""
    results = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype({"n": "Int64", "correct": "Int64"})
    write_text(folder / "results.csv", results.to_csv(index=False))
    write_text(folder / "accuracy_table.csv", accuracy_table(results).to_csv(index=False))
    return results


def read_results(folder: Path) -> pd.DataFrame:
    """`results.csv` of a report folder, ordered by step; a `UserError` says what is missing."""
    path = folder / "results.csv"
    if not path.is_file():
        raise UserError(f"{folder}: no results.csv here; write one with evaluation/sweep.py or evaluation.import_logs")
    try:
        results = pd.read_csv(path, dtype={"group": str, "checkpoint": str, "dataset": str}, keep_default_na=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0]})") from None
    missing = [column for column in COLUMNS if column not in results.columns]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    if results.empty:
        raise UserError(f"{path}: no results in it")
    return results.sort_values("step", kind="stable", ignore_index=True)


def accuracy_table(results: pd.DataFrame) -> pd.DataFrame:
    """The original's table: one line per checkpoint in order of step, one `<dataset>_accuracy` column per dataset."""
    overall = results[(results["dimension"] == "overall") & (results["group"] == "exact_match")]
    datasets = list(dict.fromkeys(overall["dataset"]))
    table = overall.pivot_table(index=["step", "checkpoint"], columns="dataset", values="accuracy", aggfunc="last")
    table = table.reindex(columns=datasets).add_suffix("_accuracy").reset_index().drop(columns="step")
    table.columns.name = None
    return table
