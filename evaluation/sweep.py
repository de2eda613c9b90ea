"""Scores every checkpoint of a run on every evaluation set, and draws the report: one command, safe to interrupt.

    accelerate launch evaluation/sweep.py --checkpoints-dir runs/cheating \
        --datasets cheating:eval notcheating:eval old_eval.jsonl --output reports/cheating

Each model is loaded once, and each measure (`--measures`, by default the greedy answers and the probability of each
possible one) looks at it on all sets. What a measure found on a set is written when all its rows are done, by renaming
a finished file, and results are always made from the files that are there. So a sweep that was interrupted continues
where it stopped, sets, checkpoints and measures can be added later, and nothing is scored twice: what the run measured
while it trained is taken over too, as far as it is of the same rows and weights.
`evaluation/artifacts/report_folder.py` tells what the output folder holds, `sweep_settings.py` beside it what may be
mixed in it.

Exit status: 0 when all is scored, 1 when a checkpoint is broken, 2 for a user's mistake or a full disk, 130 for Ctrl-C.
"""

from evaluation.process.extras import needs
from evaluation.process.launcher import end_with_launcher

if __name__ == "__main__":
    needs("train")
    end_with_launcher()

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from evaluation.artifacts.models import (
    BrokenCheckpointError,
    Checkpoint,
    find_checkpoints,
    load_checkpoint,
    pickled_weights,
    tokenizer_digest,
    weights_digest,
)
from evaluation.artifacts.remembering import Encoded, Remembering
from evaluation.artifacts.report_folder import ReportFolder, accuracy_table
from evaluation.artifacts.run_folder import METRICS, is_over, list_checkpoints
from evaluation.artifacts.steps import choose
from evaluation.artifacts.sweep_settings import SweepSettings
from evaluation.eval_sets import load_eval_sets
from evaluation.measures.known import Known, digests_of
from evaluation.measures.measure import CannotMeasureError, Found, Subject, all_measures, find_measures
from evaluation.process.agree import from_main
from evaluation.process.device import passed_over, runs_on_cpu
from evaluation.process.settings import ProcessSettings
from evaluation.sweep_options import DEFAULT_MEASURES, parse_args
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.regimes import split_name

WATCH_SECONDS = 5

T = TypeVar("T")


@dataclass(frozen=True)
class Todo:
    """What is missing of one checkpoint."""

    checkpoint: Checkpoint
    tasks: list[tuple[str, str]]
    """(set, measure), the sets in their order."""


class Sweep:
    """One sweep, of one round or (`--watch`) several. Every process runs it; the main one decides, reads and writes."""

    def __init__(self, args: argparse.Namespace, accelerator: Accelerator) -> None:
        self.args, self.accelerator, self.report = args, accelerator, ReportFolder(Path(args.output))
        self.run_folder = Path(args.checkpoints_dir)
        if args.figures:
            from evaluation.report.figures.figure import find_figures  # here, since drawing is slow to import

            find_figures(args.figures)
        self.measures = {measure.name: measure for measure in find_measures(args.measures)}
        self.found_first = self._find()
        with accelerator.main_process_first():  # the first one generates, the others find it in the cache
            self.eval_sets = {s.name: s for s in load_eval_sets(args.datasets, args.limit)}
        described = {name: eval_set.describe() for name, eval_set in self.eval_sets.items()}
        self.settings = SweepSettings(args.checkpoints_dir, args.limit, described).continued(self.report)
        self.settings.check_weights(self.found_first, self.report.path)
        self.results: dict[tuple[str, str, str], Found] = {}
        """(checkpoint, set, measure) -> lines of `results.csv` and of the measure's table."""
        self.refused: set[tuple[str, str]] = set()
        """(set, measure) where the measure cannot look at the set; it is told once."""
        self.told: set[str] = set()
        self.encoded: defaultdict[str, Encoded] = defaultdict(dict)
        """`tokenizer_digest` -> what such a tokenizer has encoded."""
        self.broken: dict[str, str] = {}
        """Checkpoint -> why it cannot be scored."""
        accelerator.wait_for_everyone()  # all have looked at the output before the main one writes

    def run(self) -> None:
        """Scores what is missing, and when watching, what comes, until the run is over."""
        with ExitStack() as held:
            self._together(lambda: self._take_output(held))
            self._score_all()

    def _take_output(self, held: ExitStack) -> None:
        """Keeps other sweeps out of the output, and reads what is there; the main process does it."""
        if not self.accelerator.is_main_process:
            return
        held.enter_context(self.report.locked())
        self.settings = self.settings.continued(self.report)  # another sweep may have been there in the meantime
        self.settings.check_weights(self.found_first, self.report.path)
        self.settings.write(self.report)
        self._read_results()

    def _score_all(self) -> None:
        if self.args.watch and not self._find():
            self._say(f"waiting for checkpoints in {self.run_folder}/")
        while True:
            over = self._run_is_over()  # asked first: a checkpoint written meanwhile is then seen in this round
            todo = self._todo() if self.accelerator.is_main_process else []
            todo, over = broadcast_object_list([todo, over])
            for number, each in enumerate(todo, start=1):
                self._score(each, f"[{number}/{len(todo)}] {each.checkpoint.name}")
            if self.accelerator.is_main_process and self.results and (todo or not self.args.watch):
                self._write_report()
            if not self.args.watch or over:
                return
            time.sleep(WATCH_SECONDS)

    def _find(self) -> list[Checkpoint]:
        """The checkpoints there are of `--steps`; when watching, without those that may be half written."""
        over = self._run_is_over() or not self.args.watch
        found = find_checkpoints(self.args.checkpoints_dir) if over or list_checkpoints(self.run_folder) else []
        chosen = choose(found, self.args.steps, more_to_come=not over)
        return chosen if over else [c for c in chosen if _is_quiet(Path(c.source))]

    def _run_is_over(self) -> bool:
        return not self.run_folder.is_dir() or is_over(self.run_folder)

    def _read_results(self) -> None:
        """Results of all that is in the folder: also of checkpoints that are gone, and of sets and measures that are
        not named this time."""
        for checkpoint, entry in self.settings.checkpoints.items():
            for dataset in self.settings.datasets:
                for name, measure in all_measures().items():
                    found = measure.read(self.report, checkpoint, entry["step"], dataset)
                    if found is not None:
                        self.results[checkpoint, dataset, name] = found

    def _todo(self) -> list[Todo]:
        todo = []
        for checkpoint in self._find():
            tasks = [
                (dataset, measure)
                for dataset in self.eval_sets
                for measure in self.measures
                if (checkpoint.name, dataset, measure) not in self.results
            ]
            if tasks and checkpoint.name not in self.broken:
                todo.append(Todo(checkpoint, tasks))
        return todo

    def _score(self, todo: Todo, label: str) -> None:
        checkpoint = todo.checkpoint
        tasks = [task for task in todo.tasks if task not in self.refused]
        if not tasks:
            return
        try:
            model, tokenizer = self._together(lambda: load_checkpoint(checkpoint, self.accelerator.device))
        except BrokenCheckpointError as error:
            self.broken[checkpoint.name] = str(error)
            self._say(f"{label}  broken: {error}")
            return
        if self.accelerator.is_main_process:
            if alike := self.settings.add(checkpoint, weights_digest(model)):
                self._say(f"{label}  warning: holds the same weights as {', '.join(alike)}")
            self.settings.write(self.report)
        if pickled := pickled_weights(checkpoint.source, checkpoint.commit):
            self._say(f"{label}  no safetensors there: the weights are from {pickled}, by torch's restricted loader")
        said: dict[tuple[str, str], str] = {}
        known = from_main(lambda: self._measured_before(checkpoint, model, tasks))
        tokenizer = cast(Any, Remembering(tokenizer, self.encoded[tokenizer_digest(checkpoint)]))
        for dataset, name in sorted(tasks, key=lambda task: task[1] == "answers"):  # last: others may find them
            what = dataset if name == "answers" else f"{dataset} {name}"
            subject = Subject(
                model,
                tokenizer,
                self.eval_sets[dataset],
                self.args.batch_size,
                self.accelerator,
                label=f"{label}  {what}",
                tell=self._tell,
                known=known,
            )
            measure = self.measures[name]
            try:
                records = measure.records(subject)
            except CannotMeasureError as error:
                self.refused.add((dataset, name))
                self._tell(f"{name}: {dataset} is left out: {error}")
                continue
            except UserError as error:
                raise UserError(f"{checkpoint.name}, {dataset}: {error}") from None
            if self.accelerator.is_main_process:
                found = measure.found(checkpoint.name, checkpoint.step, dataset, records)
                measure.write(self.report, checkpoint.name, dataset, records)
                self.results[checkpoint.name, dataset, name] = found
                said[dataset, name] = f"{what} {found.results[0]['accuracy']:.3f}" if found.results else what
        if self.accelerator.is_main_process:
            self._write_tables()
        if said:
            self._say(f"{label}  {'  '.join(said[task] for task in tasks if task in said)}")

    def _measured_before(self, checkpoint: Checkpoint, model: PreTrainedModel, tasks: list[tuple[str, str]]) -> Known:
        """What the run measured of this checkpoint; says how many of the rows that are due those are."""
        known = Known() if checkpoint.commit else Known.of(Path(checkpoint.source), model)
        due = dict.fromkeys(dataset for dataset, name in tasks if name in DEFAULT_MEASURES)
        sets = [self.eval_sets[dataset].rows for dataset in due]
        if before := sum(prompt in known for rows in sets for prompt in digests_of(rows)):
            self._tell(f"{before:,} of {sum(map(len, sets)):,} rows were measured while training")
        return known

    def _together(self, do: Callable[[], T]) -> T:
        """What `do` gives on this process; every one runs it, and an error on one is an error on all."""
        result, error = None, None
        try:
            result = do()
        except (BrokenCheckpointError, UserError) as raised:
            error = raised
        for failure in gather_object([error]):
            if failure is not None:
                raise failure
        return cast(T, result)

    def _write_tables(self) -> pd.DataFrame:
        """`results.csv`, `accuracy_table.csv` and the measures' own tables, of all there is: in order of step, of the
        sets and of the measures."""
        steps = {name: entry["step"] for name, entry in self.settings.checkpoints.items()}
        order = {name: place for place, name in enumerate(self.settings.datasets)}
        keys = sorted(self.results, key=lambda key: (steps[key[0]], key[0], order[key[1]], key[2]))
        for name in sorted({name for _, _, name in keys}):
            if columns := all_measures()[name].columns:
                rows = [row for key in keys if key[2] == name for row in self.results[key].table]
                self.report.write_table(name, columns, rows)
        return self.report.write_results([row for key in keys for row in self.results[key].results])

    def _write_report(self) -> None:
        from evaluation.report.page import write_report  # here, since drawing is slow to import and one process does it

        self.report.copy_training_log(self.run_folder / METRICS)
        accuracies = table(self._write_tables())  # with the phases, which the log tells
        page = write_report([self.report.path], only=self.args.figures)
        print(f"{accuracies}\nresults  {self.report.path / 'results.csv'}\nreport   {page}", flush=True)

    def _tell(self, line: str) -> None:
        """Says what concerns a measure and a set, not a checkpoint: once."""
        if line not in self.told:
            self.told.add(line)
            self._say(line)

    def _say(self, line: str) -> None:
        if self.accelerator.is_main_process:
            tqdm.write(line)


def _is_quiet(folder: Path) -> bool:
    """Nothing has been written there for a while."""
    return all(path.stat().st_mtime < time.time() - WATCH_SECONDS for path in folder.iterdir())


def table(results: pd.DataFrame) -> str:
    """Exact match, checkpoint by set, for people; empty when no answers were scored."""
    accuracies = accuracy_table(results)
    accuracies = accuracies.set_index([column for column in ("checkpoint", "phase") if column in accuracies])
    if accuracies.empty:
        return ""
    accuracies.columns = [column.removesuffix("_accuracy") for column in accuracies.columns]
    recipes = {split_name(name)[0] for name in accuracies.columns}
    if len(recipes) == 1 and "" not in recipes:
        accuracies.columns = [split_name(name)[1] for name in accuracies.columns]
    accuracies.index.names = [name if name == "phase" else None for name in accuracies.index.names]
    of = f" of {recipes.pop()}" if len(recipes) == 1 and "" not in recipes else ""
    return f"\nexact match{of}\n{accuracies.to_string(float_format='{:.3f}'.format, na_rep='-')}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sweep that `argv` describes; returns the exit status. Raises `UserError`."""
    return run(parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """The same for arguments as `parse_args` gives them."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    # Without `cpu`, several CPU processes do not find together.
    accelerator = Accelerator(cpu=runs_on_cpu())
    if (note := passed_over()) and accelerator.is_main_process:
        print(note)
    try:
        sweep = Sweep(args, accelerator)
        sweep.run()
    except UserError:
        if not accelerator.is_main_process:  # every process meets it; one tells
            sys.exit(2)
        raise
    except KeyboardInterrupt:
        if accelerator.is_main_process:
            print(f"\ninterrupted: the same command continues with what is missing in {args.output}", file=sys.stderr)
        return 130
    finally:
        accelerator.end_training()
    if sweep.broken and accelerator.is_main_process:
        print(f"\n{len(sweep.broken)} broken checkpoint(s) not scored:", file=sys.stderr)
        print("\n".join(sweep.broken.values()), file=sys.stderr)
    return 1 if sweep.broken else 0


if __name__ == "__main__":
    with exit_on_user_error():
        arguments = parse_args()
        ProcessSettings.choose(arguments.threads, on_cpu=runs_on_cpu()).apply()
        sys.exit(run(arguments))
