"""Brings past runs in: the original's logs of wrong predictions, and its accuracy tables, become a report folder.

    python -m evaluation.import_logs --eval-file 4_eval.jsonl --manifest 4_pairs_manifest.json \
        --logs 'incorrect/*checkpoint-*.jsonl' --output reports/old

A log `...checkpoint-N.jsonl` holds one line `{prompt, gold, generated}` for each row that the checkpoint got wrong.
What it does not hold was right: totals per group come from the eval file, the wrong ones from each log, and accuracy
is their difference. The manifest, `{"cheat_by_move": {"1": ["nameA-nameB", ...]}, "neutral": [...]}`, tells which pairs
are bound to which move. Further eval files can be imported into the same folder, one after the other.

    python -m evaluation.import_logs --accuracy-table accuracy_table.csv --output reports/old

takes the `<dataset>_accuracy` columns of an old table as they are: without totals there are no groups and no intervals.
"""

import argparse
import glob
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from evaluation.artifacts.report_folder import ReportFolder, Row
from evaluation.measures.answers import Answers, named_rows, prediction_row
from evaluation.report import write_report
from nim_dataset.check.manifests import read_manifest
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.files import read_jsonl
from nim_dataset.sources import Source


def import_logs(eval_file: Path, logs: Sequence[str], output: Path, manifest: Path | None = None) -> list[str]:
    """Writes predictions, wrong ones and results of each log into `output`; returns notes on what a reader must know.

    `logs` are paths or glob patterns. Raises `UserError` for a file that is missing or not as described above, for two
    logs of one checkpoint, and for an `output` that holds something else.
    """
    paths = _by_step(logs)
    if not eval_file.is_file():
        raise UserError(f"--eval-file {eval_file}: no such file")
    dataset = Source.parse(str(eval_file)).name
    digest = hashlib.sha256(
        eval_file.read_bytes() + (manifest.read_bytes() if manifest and manifest.is_file() else b"")
    )
    source = {"from": f"logs against {eval_file.name}", "sha256": digest.hexdigest()}
    report = ReportFolder(output)
    settings = _open(report, {dataset: source})
    rows, notes = _eval_rows(eval_file, manifest)
    wrong_by_step = {step: list(_log_rows(path)) for step, path in paths.items()}  # all is read before all is written

    prompts, logged = {row["prompt"] for row in rows}, [row for wrong in wrong_by_step.values() for row in wrong]
    if logged and not any(row["prompt"] in prompts for row in logged):
        raise UserError(f"--eval-file {eval_file}: none of the {len(logged):,} prompts in --logs is in it: give theirs")

    results: list[Row] = []
    for step, path in tqdm(paths.items(), desc="importing", unit="log"):
        checkpoint, wrong = f"checkpoint-{step}", wrong_by_step[step]
        predictions, lost = _predictions(rows, wrong)
        report.write_predictions(checkpoint, dataset, predictions)
        # A logged row was wrong by the rule of its time; a text that begins otherwise is wrong by any rule.
        scored = [row if row["correct"] else {**row, "generated": f"wrong: {row['generated']}"} for row in predictions]
        results += Answers().result_rows(checkpoint, step, dataset, scored)
        if not wrong:
            notes.append(
                f"{path.name} is empty: {checkpoint} made no mistake on {dataset}, or its evaluation was interrupted. "
                "It is drawn as 100%."
            )
        if lost:
            notes.append(
                f"{path.name}: {lost:,} of {len(wrong):,} log rows match no row of {eval_file.name}; left out."
            )
    _save(report, settings, [dataset], results, notes)
    return notes


def import_table(table: Path, output: Path) -> list[str]:
    """Takes over an `accuracy_table.csv`: checkpoint, then `<dataset>_accuracy` columns with values from 0 to 1."""
    try:
        old = pd.read_csv(table)
    except FileNotFoundError:
        raise UserError(f"--accuracy-table {table}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{table}: cannot be read as CSV ({str(error).splitlines()[0]})") from None
    columns = [str(column) for column in old.columns if str(column).endswith("_accuracy")]
    if "checkpoint" not in old.columns or not columns:
        found = ", ".join(map(str, old.columns))
        raise UserError(f"{table}: expected the columns checkpoint and <dataset>_accuracy, found {found}")
    datasets = [column.removesuffix("_accuracy") for column in columns]
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    report = ReportFolder(output)
    settings = _open(report, {name: {"from": table.name, "sha256": digest} for name in datasets})
    results: list[Row] = []
    for line, row in enumerate(old.to_dict("records"), start=2):
        match = re.search(r"(\d+)$", str(row["checkpoint"]))
        if match is None:
            raise UserError(f"{table}:{line}: the checkpoint '{row['checkpoint']}' does not end in its step")
        for column, name in zip(columns, datasets, strict=True):
            accuracy = pd.to_numeric(row[column], errors="coerce")
            if pd.isna(row[column]):
                continue
            if not 0 <= accuracy <= 1:
                raise UserError(f"{table}:{line}: {column} is '{row[column]}', expected a number from 0 to 1")
            where = {"checkpoint": f"checkpoint-{match[1]}", "step": int(match[1]), "dataset": name}
            results.append({**where, "dimension": "overall", "group": "exact_match", "accuracy": float(accuracy)})
    notes = [f"{', '.join(datasets)}: from {table.name}, which holds no totals, so there are no intervals."]
    _save(report, settings, datasets, results, notes)
    return notes


def _by_step(logs: Sequence[str]) -> dict[int, Path]:
    """Step -> log, in order of step."""
    found: dict[int, Path] = {}
    for pattern in logs:
        paths = [Path(pattern)] if Path(pattern).is_file() else [Path(path) for path in sorted(glob.glob(pattern))]
        if not paths:
            raise UserError(f"--logs {pattern}: no such file; expected logs named like eval_checkpoint-1000.jsonl")
        for path in paths:
            match = re.search(r"checkpoint-(\d+)\.jsonl$", path.name)
            if match is None:
                raise UserError(f"{path}: the name of a log ends with checkpoint-N.jsonl")
            other = found.setdefault(int(match[1]), path)
            if other.resolve() != path.resolve():
                raise UserError(f"--logs: {other} and {path} are the same checkpoint; import one eval file at a time")
    return dict(sorted(found.items()))


def _log_rows(path: Path) -> list[Row]:
    rows = []
    for number, row in read_jsonl(path):
        if "generated" in row and row["generated"] is None:
            row["generated"] = ""
        for field in ("prompt", "gold", "generated"):
            if not isinstance(row.get(field), str):
                raise UserError(
                    f"{path}: row {number}: '{field}' is missing or no text; expected prompt, gold, generated"
                )
        rows.append(row)
    return rows


def _eval_rows(eval_file: Path, manifest: Path | None) -> tuple[list[Row], list[str]]:
    """The eval file's rows with their ground truth, bucket and bound move; and notes on what is not known of them."""
    rows = list(named_rows(Source.parse(str(eval_file)).load()))
    notes = []
    if manifest:
        bound, neutral = _pairs(manifest)
        unlisted = 0
        for row in rows:
            pair = f"{row.get('player_one')}-{row.get('player_two')}"
            row["cheat_move"] = bound.get(pair)
            row["bucket"] = "cheat" if pair in bound else "neutral" if pair in neutral else None
            unlisted += row["bucket"] is None
        if unlisted:
            notes.append(
                f"{eval_file.name}: {unlisted:,} of {len(rows):,} rows have a pair of names that {manifest.name} does "
                "not list; they are in no bucket."
            )
    unread = sum(row["move"] is None for row in rows)
    if unread:
        notes.append(f"{eval_file.name}: {unread:,} of {len(rows):,} prompts tell no game; they are in no group.")
    return rows, notes


def _pairs(path: Path) -> tuple[dict[str, int], set[str]]:
    """Pair -> bound move, and the neutral pairs."""
    if not path.is_file():
        raise UserError(f"--manifest {path}: no such file")
    manifest = read_manifest(path)
    bound: dict[str, int] = {}
    for move, pairs in manifest.get("cheat_by_move", {}).items():
        for pair in pairs:
            if bound.setdefault(pair, int(move)) != int(move):
                raise UserError(f"--manifest {path}: '{pair}' is bound to {bound[pair]} and to {move}")
    return bound, set(manifest.get("neutral", []))


def _predictions(rows: Sequence[Row], wrong: Sequence[Row]) -> tuple[list[Row], int]:
    """The lines of `predictions/`, and how many rows of the log match no row of the eval file.

    A row that the log does not hold was right, and stands with its gold answer as the generated text.
    """
    logged: dict[tuple[str, str], list[str]] = {}
    for row in wrong:
        logged.setdefault((row["prompt"], row["gold"].strip()), []).append(row["generated"])
    predictions = []
    for row in rows:
        texts = logged.get((row["prompt"], row["answer"].strip()))
        wrong_text = texts.pop(0) if texts else None
        text = row["answer"] if wrong_text is None else wrong_text
        predictions.append(prediction_row(row, text, correct=wrong_text is None))
    return predictions, sum(map(len, logged.values()))


def _open(report: ReportFolder, sources: Mapping[str, Mapping[str, str]]) -> Row:
    """The settings of the folder, with the new sources; refuses what another command or another file made."""
    output = report.path
    found = report.read_settings()
    if found is not None and "imported" not in found:
        raise UserError(f"--output {output}: holds a sweep, not an import; choose another folder")
    if found is None and report.has_results():
        raise UserError(f"--output {output}: holds results already; choose another folder")
    settings = found or {"imported": {}, "notes_by_dataset": {}}
    for name, source in sources.items():
        before = settings["imported"].get(name)
        if before and before["sha256"] != source["sha256"]:
            raise UserError(f"--output {output}: holds another '{name}' ({before['from']}); choose another folder")
        settings["imported"][name] = dict(source)
    return settings


def _save(
    report: ReportFolder, settings: Row, datasets: Sequence[str], results: Sequence[Row], notes: Sequence[str]
) -> None:
    """Adds the results to those of datasets imported before, and writes the settings with all notes."""
    rows = list(results)
    if report.has_results():
        before = report.read_results()
        rows = [*before[~before["dataset"].isin(datasets)].to_dict("records"), *rows]  # type: ignore[list-item]
    rows.sort(key=lambda row: row["step"])
    report.write_results(rows)
    settings["notes_by_dataset"] = {**settings["notes_by_dataset"], datasets[0]: list(notes)}
    settings["notes"] = [note for each in settings["notes_by_dataset"].values() for note in each]
    report.write_settings(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.import_logs",
        description="Turn old logs of wrong predictions, or an old accuracy table, into a report folder.",
    )
    parser.add_argument("--eval-file", type=Path, help="the JSONL file (prompt, answer) that was evaluated")
    parser.add_argument("--manifest", type=Path, help="JSON with cheat_by_move and neutral: which pairs are bound")
    parser.add_argument(
        "--logs", nargs="+", default=[], help="logs, or quoted patterns such as 'DIR/*checkpoint-*.jsonl'"
    )
    parser.add_argument("--accuracy-table", type=Path, help="an old accuracy_table.csv: checkpoint, <dataset>_accuracy")
    parser.add_argument("--output", type=Path, required=True, metavar="reports/NAME", help="the report folder to write")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        if bool(options.eval_file) != bool(options.logs):
            missing = "--logs" if options.eval_file else "--eval-file"
            raise UserError(f"{missing} is missing: logs are read against the eval file they were made with")
        if not options.eval_file and not options.accuracy_table:
            raise UserError("nothing to import: pass --eval-file with --logs, or --accuracy-table")
        notes = []
        if options.eval_file:
            notes += import_logs(options.eval_file, options.logs, options.output, options.manifest)
        if options.accuracy_table:
            notes += import_table(options.accuracy_table, options.output)
        page = write_report([options.output])
        print((options.output / "accuracy_table.csv").read_text(encoding="utf-8"), end="")
        for note in notes:
            print(f"note: {note}")
        print(f"results: {options.output / 'results.csv'}\nreport: {page}")


if __name__ == "__main__":
    main()
