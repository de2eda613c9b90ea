"""The original's logs of wrong predictions, read against the eval file that was scored."""

import glob
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.artifacts.report_folder import ReportFolder, Row
from evaluation.measures.answers import Answers, named_rows, prediction_row
from evaluation.past.imported import Imported
from nim_dataset.check.manifests import read_manifest
from nim_dataset.errors import UserError
from nim_dataset.files import read_jsonl
from nim_dataset.sources import Source

STEP = r"checkpoint-(\d+)\.jsonl$"
"""Where the step stands in the name of a log, unless told otherwise."""

FEW_ROWS, FEW_SHARE = 3, 0.01
"""So many rows of a log, or this share of them, may match no row of the eval file without being refused, but never more
than half of them."""

UNLIKELY = 1e-4
"""How improbable it must be that all wrong rows lie as near to the beginning as they do, for a reader to be told."""


@dataclass(frozen=True)
class LogOptions:
    """How to read logs."""

    manifest: Path | None = None
    """Which pairs of names are bound to which move."""
    name: str | None = None
    """What to call the dataset; None means as the eval file."""
    step: int | None = None
    """The step of the one log there is, whatever its name."""
    step_offset: int = 0
    """Added to each step, for a run that went on from another."""
    step_pattern: str = STEP
    """A regular expression whose first group is the step in a log's name."""
    limit: int | None = None
    """How many rows of the eval file were scored; None: what the sweep that wrote the log tells, or else all."""
    allow_unmatched: bool = False
    """Whether to leave out rows that match none of the eval file, however many."""


@dataclass(frozen=True)
class Log:
    """One checkpoint's wrong predictions."""

    path: Path
    wrong: list[Row]
    """Lines with the texts `prompt`, `gold` and `generated`."""
    limit: int | None
    """At most so many rows of the eval file were scored."""


def row_key(prompt: str, answer: str) -> tuple[str, str]:
    """What tells a row of an eval file and of a log of it.

    The original lower-cased and stripped the answer. Prompts that differ in white space alone are the same.
    """
    return " ".join(prompt.split()), answer.strip().lower()


def read_logs(eval_file: Path, logs: Sequence[str], options: LogOptions) -> Imported:
    """The eval file as it was answered at each step; `logs` are paths or glob patterns.

    Raises `UserError` for a file that is missing or not as it should be, for two logs of one checkpoint, and for a log
    of another eval file.
    """
    if options.limit is not None and options.limit < 1:
        raise UserError(f"--limit: got {options.limit}, expected a whole number of at least 1")
    paths = _by_step(logs, options)
    if not eval_file.is_file():
        raise UserError(f"--eval-file {eval_file}: no such file")
    name = options.name or Source.parse(str(eval_file)).name
    digest = hashlib.sha256(eval_file.read_bytes())
    rows, notes = _eval_rows(eval_file, options.manifest)
    if options.manifest:
        digest.update(options.manifest.read_bytes())
    by_step = {step: _read(path, options.limit) for step, path in paths.items()}
    for step, log in by_step.items():
        notes += _log_notes(log, rows, f"checkpoint-{step}", eval_file.name, name, options.allow_unmatched)
    return Imported(
        name,
        f"logs against {eval_file.name}",
        digest.hexdigest(),
        {step: hashlib.sha256(log.path.read_bytes()).hexdigest() for step, log in by_step.items()},
        notes,
        partial(_scored, name, rows, by_step),
    )


def _scored(name: str, rows: Sequence[Row], by_step: Mapping[int, Log], step: int) -> tuple[list[Row], list[Row]]:
    predictions = _answered(rows, by_step[step])[0]
    # A logged row was wrong by the rule of its time; a text that begins otherwise is wrong by any rule.
    scored = [row if row["correct"] else {**row, "generated": f"wrong: {row['generated']}"} for row in predictions]
    return predictions, Answers().result_rows(f"checkpoint-{step}", step, name, scored)


def _answered(rows: Sequence[Row], log: Log) -> tuple[list[Row], list[Row]]:
    """The lines of `predictions/`, and the rows of the log that match no row of the eval file.

    A row that the log does not hold was right, and stands with its gold answer as the generated text.
    """
    logged: dict[tuple[str, str], list[Row]] = {}
    for wrong in log.wrong:
        logged.setdefault(row_key(wrong["prompt"], wrong["gold"]), []).append(wrong)
    predictions = []
    for row in rows[: log.limit]:
        found = logged.get(row_key(row["prompt"], row["answer"]))
        text = found.pop(0)["generated"] if found else None
        predictions.append(prediction_row(row, row["answer"] if text is None else text, correct=text is None))
    return predictions, [wrong for rest in logged.values() for wrong in rest]


def _log_notes(
    log: Log, rows: Sequence[Row], checkpoint: str, eval_name: str, dataset: str, allow_unmatched: bool
) -> list[str]:
    """What a reader must know of a log; raises `UserError` where it is of another eval file."""
    predictions, lost = _answered(rows, log)
    file, notes = log.path.name, []
    if log.limit is not None and log.limit < len(rows):
        notes.append(f"{file}: only the first {log.limit:,} of {len(rows):,} rows of {eval_name} were scored.")
    if not log.wrong:
        notes.append(
            f"{file} is empty: {checkpoint} made no mistake on {dataset}, or its evaluation was interrupted. "
            "It is drawn as 100%."
        )
    if lost:
        share = f"{len(lost):,} of {len(log.wrong):,} log rows"
        if not allow_unmatched and len(lost) > min(max(FEW_ROWS, FEW_SHARE * len(log.wrong)), len(log.wrong) / 2):
            shown = "; ".join(f"{row['prompt']!r:.70}... {row['gold']!r:.20}" for row in lost[:3])
            raise UserError(
                f"{log.path}: {share} ({len(lost) / len(log.wrong):.0%}) match no row of {eval_name}: {shown}; give the"
                " eval file that was scored, or leave them out with --allow-unmatched"
            )
        notes.append(f"{file}: {share} match no row of {eval_name}; left out, as if right.")
    wrong = [number for number, row in enumerate(predictions, start=1) if not row["correct"]]
    if wrong and log.limit is None and (wrong[-1] / len(rows)) ** len(wrong) < UNLIKELY:
        notes.append(
            f"{file}: its last wrong row is row {wrong[-1]:,} of {len(rows):,}. Where only the first rows were scored, "
            "the accuracy is too high: say how many with --limit."
        )
    return notes


def _by_step(logs: Sequence[str], options: LogOptions) -> dict[int, Path]:
    """Step -> log, in order of step."""
    paths: dict[Path, Path] = {}
    for pattern in logs:
        found = [Path(pattern)] if Path(pattern).is_file() else [Path(path) for path in sorted(glob.glob(pattern))]
        if not found:
            raise UserError(f"--logs {pattern}: no such file; expected logs named like eval_checkpoint-1000.jsonl")
        paths |= {path.resolve(): path for path in found}
    if options.step is not None and options.step_pattern != STEP:
        raise UserError(f"--step {options.step} and --step-pattern both tell the step: leave one out")
    if options.step is not None and len(paths) > 1:
        raise UserError(f"--step {options.step}: --logs names {len(paths)} files, and only one can be of that step")
    by_step: dict[int, Path] = {}
    for path in paths.values():
        step = options.step_offset + (_step_in(path, options.step_pattern) if options.step is None else options.step)
        if step in by_step:
            raise UserError(
                f"--logs: {by_step[step]} and {path} are the same checkpoint; import one eval file at a time"
            )
        if step < 0:
            raise UserError(f"--step-offset {options.step_offset}: the step of {path} becomes {step}")
        by_step[step] = path
    return dict(sorted(by_step.items()))


def _step_in(path: Path, pattern: str) -> int:
    try:
        match = re.search(pattern, path.name)
        step = match[1] if match else ""
    except (re.error, IndexError):
        raise UserError(
            f"--step-pattern '{pattern}': expected a regular expression with the step in parentheses, such as"
            " '^([0-9]+)incorrect'"
        ) from None
    if step is None or not re.fullmatch("[0-9]{1,15}", step):
        told = (
            "the name of a log ends with checkpoint-N.jsonl" if pattern == STEP else f"'{pattern}' finds no step in it"
        )
        raise UserError(f"{path}: {told}; give the step of a single log with --step, of several with --step-pattern")
    return int(step)


def _read(path: Path, limit: int | None) -> Log:
    rows = []
    for number, row in read_jsonl(path):
        if "generated" in row and row["generated"] is None:
            row["generated"] = ""
        for field in ("prompt", "gold", "generated"):
            if not isinstance(row.get(field), str):
                raise UserError(
                    f"{path}, line {number}: '{field}' is missing or no text; expected prompt, gold, generated"
                )
        rows.append(row)
    if limit is None and path.resolve().parent.name == "incorrect":
        told = (ReportFolder(path.resolve().parent.parent).read_settings() or {}).get("limit")
        limit = told if isinstance(told, int) else None
    return Log(path, rows, limit)


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
