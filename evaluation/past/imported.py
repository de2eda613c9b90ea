"""What was read of one past dataset, and how it is added to a report folder: all is read before anything is written.

`sweep.json` of such a folder keeps, under `imported`, where each dataset comes from, so that the same files can be
imported again and others are refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.artifacts.report_folder import ReportFolder, Row
from nim_dataset.errors import UserError


@dataclass(frozen=True)
class Imported:
    """One dataset of a past run."""

    dataset: str
    """How results and files call it."""
    source: str
    """Where it comes from, for readers: `logs against 4_eval.jsonl`, or the name of a table."""
    sha256: str
    """Of the file that decides its rows (with its manifest), or of the table."""
    digests: Mapping[int, str]
    """Step -> sha256 of the log or table of that checkpoint."""
    notes: Sequence[str]
    """What a reader of the report must know."""
    scored: Callable[[int], tuple[Sequence[Row], Sequence[Row]]]
    """Step -> the lines of `predictions/` (none where they are not known), and those of `results.csv`."""


def save(report: ReportFolder, imports: Sequence[Imported]) -> None:
    """Adds the datasets to the folder's, in the place of what was imported of the same checkpoints before.

    Raises `UserError`, before anything is written, for a folder that a sweep made, and for one that holds another
    dataset of the same name or another log of the same checkpoint.
    """
    with report.locked():
        settings = _settings(report, imports)
        before = report.read_results().to_dict("records") if report.has_results() else []
        report.write_settings(settings)
        results: list[Row] = []
        for each in imports:
            for step in each.digests:
                predictions, rows = each.scored(step)
                if predictions:
                    report.write_predictions(f"checkpoint-{step}", each.dataset, predictions)
                results += rows
        new = {(each.dataset, step) for each in imports for step in each.digests}
        results = [*(row for row in before if (row["dataset"], row["step"]) not in new), *results]  # type: ignore[list-item]
        report.write_results(sorted(results, key=lambda row: row["step"]))


def _settings(report: ReportFolder, imports: Sequence[Imported]) -> Row:
    """Those of the folder with what is imported now."""
    output = report.path
    settings = report.read_settings()
    if settings is not None and "imported" not in settings:
        raise UserError(f"--output {output}: holds a sweep, not an import; choose another folder")
    if settings is None and report.has_results():
        raise UserError(f"--output {output}: holds results already; choose another folder")
    settings = settings or {"imported": {}, "notes_by_dataset": {}}
    for each in imports:
        found = settings["imported"].setdefault(each.dataset, {"from": each.source, "sha256": each.sha256})
        apart = "choose another folder, or tell them apart with --name"
        if found["sha256"] != each.sha256:
            raise UserError(f"--output {output}: holds another '{each.dataset}' ({found['from']}): {apart}")
        digests = found.setdefault("checkpoints", {})
        for step, digest in each.digests.items():
            if digests.setdefault(f"checkpoint-{step}", digest) != digest:
                raise UserError(
                    f"--output {output}: holds checkpoint-{step} of '{each.dataset}' from another log: {apart} or with"
                    " --step-offset"
                )
        notes = settings["notes_by_dataset"].setdefault(each.dataset, [])
        notes += [note for note in each.notes if note not in notes]
    settings["notes"] = list(dict.fromkeys(note for each in settings["notes_by_dataset"].values() for note in each))
    return settings
