"""Brings past runs in: the original's logs of wrong predictions, and its accuracy tables, become a report folder.

    python -m evaluation.import_logs --eval-file 4_eval.jsonl --manifest 4_pairs_manifest.json \
        --logs 'incorrect/*checkpoint-*.jsonl' --output reports/old

A log `...checkpoint-N.jsonl` holds one line `{prompt, gold, generated}` for each row that the checkpoint got wrong.
What it does not hold was right: totals per group come from the eval file, the wrong ones from each log, and accuracy
is their difference. The manifest, `{"cheat_by_move": {"1": ["nameA-nameB", ...]}, "neutral": [...]}`, tells which pairs
are bound to which move. Further eval files and logs can be imported into the same folder, one after the other:

    python -m evaluation.import_logs --eval-file 345678_eval.jsonl --logs '*incorrect_predictions.jsonl' \
        --step-pattern '^([0-9]+)incorrect' --step-offset 75000 --output reports/old

takes the step from the beginning of the names, and adds those of the run before. `--step` gives it for a single log.

    python -m evaluation.import_logs --accuracy-table accuracy_table.csv --output reports/old
    python -m evaluation.import_logs --accuracy-table acc_468_checks.json --output reports/old

take the `<dataset>_accuracy` columns of an old table, or the accuracies by max_remove and step, as they are: without
totals there are no intervals. `--name` tells two tables with the same columns apart.
"""

from evaluation.process.extras import needs

if __name__ == "__main__":
    needs("train")

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.past.imported import Imported, save
from evaluation.past.logs import STEP, LogOptions, read_logs
from evaluation.past.tables import read_table
from evaluation.report.page import write_report
from nim_dataset.errors import UserError, exit_on_user_error

ONLY_FOR_LOGS = ("manifest", "step", "step_pattern", "limit", "allow_unmatched")


def read_all(options: argparse.Namespace) -> list[Imported]:
    """What the options name, read and checked; nothing is written. Raises `UserError`."""
    if bool(options.eval_file) != bool(options.logs):
        missing = "--logs" if options.eval_file else "--eval-file"
        raise UserError(f"{missing} is missing: logs are read against the eval file they were made with")
    if not options.eval_file and not options.accuracy_table:
        raise UserError("nothing to import: pass --eval-file with --logs, or --accuracy-table")
    imports = []
    if options.eval_file:
        given = {name: getattr(options, name) for name in ONLY_FOR_LOGS if getattr(options, name) is not None}
        log_options = LogOptions(name=options.name, step_offset=options.step_offset, **given)
        imports.append(read_logs(options.eval_file, options.logs, log_options))
    elif alone := [name for name in ONLY_FOR_LOGS if getattr(options, name) not in (None, False)]:
        raise UserError(f"--{alone[0].replace('_', '-')} is about logs: pass --eval-file and --logs, or leave it out")
    if options.accuracy_table:
        imports += read_table(options.accuracy_table, options.name, options.step_offset)
    names = [each.dataset for each in imports]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(
            f"'{twice}' is both in --eval-file and in --accuracy-table: import one after the other, with --name"
        )
    return imports


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.import_logs",
        description="Turn old logs of wrong predictions, or an old accuracy table, into a report folder.",
    )
    add = parser.add_argument
    add("--eval-file", type=Path, help="the JSONL file (prompt, answer) that was evaluated")
    add("--manifest", type=Path, help="JSON with cheat_by_move and neutral: which pairs are bound")
    add("--logs", nargs="+", default=[], help="logs, or quoted patterns such as 'DIR/*checkpoint-*.jsonl'")
    add("--step", type=int, metavar="N", help="the step of a single log, whatever its name")
    add(
        "--step-offset",
        type=int,
        default=0,
        metavar="N",
        help="added to each step, for a run that went on from another",
    )
    pattern = f"regular expression whose first group is the step in a log's name (default: '{STEP}')"
    add("--step-pattern", metavar="REGEX", help=pattern)
    limit = "rows of the eval file that were scored, from the first (default: all, or as the log's sweep tells)"
    add("--limit", type=int, metavar="N", help=limit)
    unmatched = "leave out log rows that match no row of the eval file, however many they are"
    add("--allow-unmatched", action="store_true", help=unmatched)
    tables = "an old accuracy_table.csv (checkpoint, <dataset>_accuracy), or acc_*.json (max_remove, step)"
    add("--accuracy-table", type=Path, metavar="FILE", help=tables)
    name = "what to call the dataset; those of a table's columns become NAME:<dataset>"
    add("--name", help=name)
    add("--output", type=Path, required=True, metavar="reports/NAME", help="the report folder to write")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_args(arguments)
    with exit_on_user_error():
        imports = read_all(options)
        save(ReportFolder(options.output), imports)
        page = write_report([options.output])
        print((options.output / "accuracy_table.csv").read_text(encoding="utf-8"), end="")
        for note in dict.fromkeys(note for each in imports for note in each.notes):
            print(f"note: {note}")
        print(f"results: {options.output / 'results.csv'}\nreport: {page}")


if __name__ == "__main__":
    main()
