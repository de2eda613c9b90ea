"""The original's tables of accuracies: a CSV by checkpoint and dataset, or a JSON by max_remove and step.

Neither holds totals, so what is imported has no intervals.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.artifacts.report_folder import Row
from evaluation.past.imported import Imported
from nim_dataset.errors import UserError

Accuracies = dict[tuple[str, str, str, int], float]
"""(dataset, dimension, group, step) -> accuracy from 0 to 1."""


def read_table(table: Path, name: str | None = None, step_offset: int = 0) -> list[Imported]:
    """The datasets of an `accuracy_table.csv` (checkpoint, then `<dataset>_accuracy`), or that of an `acc_*.json`.

    `name` is what to call the dataset of a JSON, by default the file's name without ending; the datasets of a CSV are
    then called `name:<dataset>`. `step_offset` is added to each step. Raises `UserError`.
    """
    if not table.is_file():
        raise UserError(f"--accuracy-table {table}: no such file")
    if table.suffix == ".json":
        accuracies = _read_json(table, name or table.stem)
        holds = "accuracy by max_remove, whose mean is taken for the accuracy over all rows, and no totals"
    else:
        accuracies, holds = _read_csv(table, f"{name}:" if name else ""), "no totals"
    if not accuracies:
        raise UserError(f"{table}: no accuracy in it")
    by_dataset: dict[str, dict[int, list[Row]]] = {}
    for (dataset, dimension, group, before), accuracy in sorted(accuracies.items(), key=lambda item: item[0][3]):
        step = before + step_offset
        if step < 0:
            raise UserError(f"--step-offset {step_offset}: step {before} of {table} becomes {step}")
        where = {"checkpoint": f"checkpoint-{step}", "step": step, "dataset": dataset}
        row = {**where, "dimension": dimension, "group": group, "accuracy": accuracy}
        by_dataset.setdefault(dataset, {}).setdefault(step, []).append(row)
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    notes = [f"{', '.join(by_dataset)}: from {table.name}, which holds {holds}, so there are no intervals."]
    return [
        Imported(dataset, table.name, digest, dict.fromkeys(rows, digest), notes, partial(_scored, rows))
        for dataset, rows in by_dataset.items()
    ]


def _scored(rows: Mapping[int, list[Row]], step: int) -> tuple[list[Row], list[Row]]:
    return [], rows[step]


def _read_csv(table: Path, prefix: str) -> Accuracies:
    try:
        old = pd.read_csv(table)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{table}: cannot be read as CSV ({str(error).splitlines()[0]})") from None
    columns = [str(column) for column in old.columns if str(column).endswith("_accuracy")]
    if "checkpoint" not in old.columns or not columns:
        found = ", ".join(map(str, old.columns))
        raise UserError(f"{table}: expected the columns checkpoint and <dataset>_accuracy, found {found}")
    if twice := next((column for column in map(str, old.columns) if re.search(r"_accuracy\.[0-9]+$", column)), None):
        raise UserError(f"{table}: the column {twice.rpartition('.')[0]} is there twice; leave one")  # pandas adds .1
    accuracies: Accuracies = {}
    lines: dict[int, int] = {}
    for line, row in enumerate(old.to_dict("records"), start=2):
        match = re.search(r"([0-9]{1,15})$", str(row["checkpoint"]))
        if match is None:
            raise UserError(f"{table}:{line}: the checkpoint '{row['checkpoint']}' does not end in its step")
        if (first := lines.setdefault(int(match[1]), line)) != line:
            raise UserError(f"{table}:{line}: '{row['checkpoint']}' is there twice, in line {first} too; leave one")
        for column in columns:
            if not pd.isna(row[column]):
                where = f"{table}:{line}: {column}"
                dataset = prefix + column.removesuffix("_accuracy")
                accuracies[dataset, "overall", "exact_match", int(match[1])] = _accuracy(row[column], where)
    return accuracies


def _read_json(table: Path, dataset: str) -> Accuracies:
    try:
        content = json.loads(table.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
    except UserError as error:
        raise UserError(f"{table}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{table}: cannot be read as JSON ({str(error).splitlines()[0]})") from None
    nested = isinstance(content, dict) and content and all(isinstance(steps, Mapping) for steps in content.values())
    if not nested or not all(re.fullmatch("[1-9][0-9]{0,2}", key) for key in content):
        raise UserError(f'{table}: expected accuracy by max_remove and step, as in {{"3": {{"10000": 0.25}}}}')
    accuracies: Accuracies = {}
    for group, steps in content.items():
        for step, accuracy in steps.items():
            where = f"{table}: max_remove {group}, step {step}"
            if not re.fullmatch("0|[1-9][0-9]{0,14}", step):
                raise UserError(f"{where}: expected a whole number as the step")
            accuracies[dataset, "max_remove", group, int(step)] = _accuracy(accuracy, where)
    for step in set.intersection(*(set(steps) for steps in content.values())):
        shares = [accuracies[dataset, "max_remove", group, int(step)] for group in content]
        accuracies[dataset, "overall", "exact_match", int(step)] = sum(shares) / len(shares)
    return accuracies


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise UserError(f"'{next(name for name in names if names.count(name) > 1)}' is there twice; leave one")
    return found


def _accuracy(value: Any, where: str) -> float:
    try:
        accuracy = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        accuracy = math.nan
    if not 0 <= accuracy <= 1:
        raise UserError(f"{where} is '{value!s:.60}', expected a number from 0 to 1")
    return accuracy
