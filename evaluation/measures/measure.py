"""What a measure is: from one model and one evaluation set to records that are kept, and from these to result rows.

    @measure("answer_length")
    class AnswerLength(Measure):
        def records(self, subject): ...      # runs the model, on every process
        def results(self, records): ...      # from the file's lines to rows of results.csv

in a module of `evaluation/measures/` is all that adds one; `evaluation/sweep.py --measures answer_length` runs it. With
`columns` and `table` it has a CSV of its own beside `results.csv`, which figures read by `Experiment.table`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.artifacts.report_folder import ReportFolder, Row
from evaluation.eval_sets import EvalSet
from evaluation.measures.known import Known
from nim_dataset.errors import UserError, unknown
from nim_dataset.files import read_jsonl, write_jsonl
from nim_dataset.plugins import Registry, import_modules


class CannotMeasureError(UserError):
    """A measure cannot look at this model or set; the message says why, in one line. Others go on."""


@dataclass(frozen=True)
class Subject:
    """One model before one evaluation set."""

    model: PreTrainedModel
    """In fp32, on the process's device."""
    tokenizer: PreTrainedTokenizerBase
    eval_set: EvalSet
    batch_size: int
    """Rows at a time, per process."""
    accelerator: Accelerator
    """With several processes, each has the model and all rows."""
    label: str
    """What a progress bar is called."""
    tell: Callable[[str], None] = print
    """Says a line that a reader should know, once however often it is said."""
    known: Known = field(default_factory=Known)
    """What the model has said already, to this and other sets or while it was trained; measures add to it."""


@dataclass(frozen=True)
class Found:
    """What a measure says of one checkpoint and set."""

    results: list[Row]
    """Lines of `results.csv`."""
    table: list[Row]
    """Lines of the measure's own table."""


class Measure(ABC):
    """One way to look at a model. A measure keeps no state between calls."""

    name: str
    """Set by `@measure`: what `--measures` calls it."""
    columns: tuple[str, ...] = ()
    """Of the measure's own table, `NAME.csv` beside `results.csv`, after step and dataset; by default it has none."""

    @property
    def folder(self) -> str:
        """Where its records lie in a report folder: `<folder>/<checkpoint>/<dataset>.jsonl`."""
        return f"measures/{self.name}"

    @abstractmethod
    def records(self, subject: Subject) -> Sequence[Row]:
        """Runs the model. Called on every process with the same rows; what the main process returns is kept.

        Raises `CannotMeasureError`, on every process, for a model or a set that it cannot look at.
        """

    @abstractmethod
    def results(self, records: Sequence[Mapping[str, Any]]) -> Sequence[Row]:
        """Rows of `results.csv` without checkpoint, step and dataset: dimension and group, n (rows), accuracy (the
        mean of what is measured), and where they are known correct, low and high (the 95% interval).

        `dimension` is a name of the measure's own; the first row is the one that a sweep prints. Raises `KeyError`,
        `IndexError` or `ValueError` for records that it did not make.
        """

    def table(self, records: Sequence[Mapping[str, Any]]) -> Sequence[Row]:
        """Rows of the measure's own table, with the keys of `columns`. Raises as `results` does."""
        return []

    def write(self, report: ReportFolder, checkpoint: str, dataset: str, records: Sequence[Row]) -> None:
        """Writes the records, whole: from then on the measure is done for this checkpoint and set."""
        write_jsonl(self.done_mark(report, checkpoint, dataset), records)

    def done_mark(self, report: ReportFolder, checkpoint: str, dataset: str) -> Path:
        """The file that exists when the measure is done for this checkpoint and set."""
        return report.records(self.folder, checkpoint, dataset)

    def result_rows(self, checkpoint: str, step: int, dataset: str, records: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The lines of `results.csv` for one checkpoint and set."""
        where = {"checkpoint": checkpoint, "step": step, "dataset": dataset}
        return [{**where, **row} for row in self.results(records)]

    def found(self, checkpoint: str, step: int, dataset: str, records: Sequence[Mapping[str, Any]]) -> Found:
        """What the records of one checkpoint and set say."""
        table = [{"step": step, "dataset": dataset, **row} for row in self.table(records)]
        return Found(self.result_rows(checkpoint, step, dataset, records), table)

    def read(self, report: ReportFolder, checkpoint: str, step: int, dataset: str) -> Found | None:
        """What the records in the folder say, None where there are none; raises `UserError`."""
        path = self.done_mark(report, checkpoint, dataset)
        if not path.is_file():
            return None
        try:
            return self.found(checkpoint, step, dataset, self.read_records(path))
        except (KeyError, IndexError, ValueError):
            raise UserError(f"{path} is damaged; remove it to have its rows scored again") from None

    def read_records(self, path: Path) -> Any:
        """The records of a file, for `table` and then for `results`; what can be read once alone is for `results`."""
        return [row for _, row in read_jsonl(path)]


_measures: Registry[Measure] = Registry("measure")


def measure(name: str) -> Callable[[type[Measure]], type[Measure]]:
    """Registers a measure under a name, which is also its folder's: letters, digits and `_`.

    Raises `UserError` where the name is taken.
    """

    def register(kind: type[Measure]) -> type[Measure]:
        made = kind()
        made.name = name
        _measures.add(name, made)
        return kind

    return register


def all_measures() -> dict[str, Measure]:
    """Name -> measure, in order of name."""
    import_modules("evaluation.measures")
    return dict(sorted(_measures.items()))


def find_measures(names: Sequence[str]) -> list[Measure]:
    """The measures of these names, each once; raises `UserError` for a name that is none."""
    known = all_measures()
    for name in names:
        if name not in known:
            raise UserError(f"--measures: {unknown('measure', name, known)}")
    return [known[name] for name in dict.fromkeys(names)]
