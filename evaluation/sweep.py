"""Scores every checkpoint of a run on every evaluation set, and draws the report: one command, safe to interrupt.

    accelerate launch evaluation/sweep.py --checkpoints-dir runs/cheating \
        --datasets cheating:eval notcheating:eval old_eval.jsonl --output reports/cheating

Each model is loaded once and answers all sets. A set's predictions are written when all its rows are answered, by
renaming a finished file, and results are always made from the predictions that are there. So a sweep that was
interrupted continues where it stopped, sets and checkpoints can be added later, and nothing is scored twice.
`evaluation/artifacts/report_folder.py` tells what the output folder holds, `sweep_settings.py` beside it what may be
mixed in it.

Exit status: 0 when all is scored, 1 when a checkpoint is broken, 2 for a user's mistake.
"""

from evaluation.process.launcher import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from evaluation.artifacts.models import BrokenCheckpointError, Checkpoint, find_checkpoints, load_checkpoint
from evaluation.artifacts.report_folder import accuracy_table, incorrect_path, predictions_path, write_results
from evaluation.artifacts.sweep_settings import SweepSettings
from evaluation.measures.answers import incorrect_rows, load_eval_sets, prediction_rows, result_rows
from evaluation.predict import answer_budget, predict
from evaluation.process.cpu import set_up_process
from nim_dataset.errors import UserError, exit_on_user_error, suggest
from nim_dataset.files import read_jsonl, write_jsonl, write_text

WATCH_SECONDS = 5
Todo = list[tuple[Checkpoint, list[str]]]
"""Checkpoints, each with the names of the sets to score it on."""


class Sweep:
    """One sweep, of one round or (`--watch`) several. Every process runs it; the main one decides, reads and writes."""

    def __init__(self, args: argparse.Namespace, accelerator: Accelerator) -> None:
        self.args, self.accelerator, self.output = args, accelerator, Path(args.output)
        self.run_folder = Path(args.checkpoints_dir)
        checkpoints = self._find()
        with accelerator.main_process_first():  # the first one generates, the others find it in the cache
            self.eval_sets = {s.name: s for s in load_eval_sets(args.datasets, args.limit)}
        described = SweepSettings.describe(self.eval_sets.values())
        self.settings = SweepSettings(args.checkpoints_dir, args.limit, described).continued(self.output)
        self.settings.check_weights(checkpoints, self.output)
        self.results: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.broken: dict[str, str] = {}
        accelerator.wait_for_everyone()  # all have looked at the output before the main one writes
        if accelerator.is_main_process:
            self.settings.write(self.output)
            self._read_results()

    def run(self) -> None:
        """Scores what is missing, and when watching, what comes, until the run is over."""
        if self.args.watch and not self._find():
            self._say(f"waiting for checkpoints in {self.run_folder}/")
        while True:
            over = self._run_is_over()  # asked first: a checkpoint written meanwhile is then seen in this round
            todo = self._todo() if self.accelerator.is_main_process else []
            todo, over = broadcast_object_list([todo, over])
            for number, (checkpoint, names) in enumerate(todo, start=1):
                self._score(checkpoint, names, f"[{number}/{len(todo)}] {checkpoint.name}")
            if self.accelerator.is_main_process and self.results and (todo or not self.args.watch):
                self._report()
            if not self.args.watch or over:
                return
            time.sleep(WATCH_SECONDS)

    def _find(self) -> list[Checkpoint]:
        """The checkpoints there are; when watching, without those that may be half written."""
        if not (self.args.watch and self.run_folder.is_dir()):
            return find_checkpoints(self.args.checkpoints_dir)
        found = find_checkpoints(self.args.checkpoints_dir) if any(self.run_folder.glob("checkpoint-*")) else []
        return found if self._run_is_over() else [c for c in found if _is_quiet(Path(c.source))]

    def _run_is_over(self) -> bool:
        """Training ends by writing the final model into the run's folder itself."""
        return not self.run_folder.is_dir() or (self.run_folder / "config.json").is_file()

    def _read_results(self) -> None:
        """Results of all predictions in the folder, also of checkpoints that are gone and sets not named this time."""
        for checkpoint, entry in self.settings.checkpoints.items():
            for name in self.settings.datasets:
                path = predictions_path(self.output, checkpoint, name)
                if path.is_file():
                    try:
                        rows = [row for _, row in read_jsonl(path)]
                        self.results[checkpoint, name] = result_rows(checkpoint, entry["step"], name, rows)
                    except (KeyError, IndexError, ValueError):
                        raise UserError(f"{path} is damaged; remove it to have its rows scored again") from None

    def _todo(self) -> Todo:
        todo = []
        for checkpoint in self._find():
            names = [name for name in self.eval_sets if (checkpoint.name, name) not in self.results]
            if names and checkpoint.name not in self.broken:
                todo.append((checkpoint, names))
        return todo

    def _score(self, checkpoint: Checkpoint, names: list[str], label: str) -> None:
        try:
            model, tokenizer = self._load(checkpoint)
        except BrokenCheckpointError as error:
            self.broken[checkpoint.name] = str(error)
            self._say(f"{label}  broken: {error}")
            return
        if self.accelerator.is_main_process:
            self.settings.add(checkpoint)
            self.settings.write(self.output)
        accuracies = []
        for name in names:
            eval_set = self.eval_sets[name]
            generated = predict(
                model,
                tokenizer,
                eval_set.rows["prompt"][:],
                max_new_tokens=answer_budget(tokenizer, eval_set.answers),
                batch_size=self.args.batch_size,
                accelerator=self.accelerator,
                progress=f"{label}  {name}",
            )
            if self.accelerator.is_main_process:
                rows = list(prediction_rows(eval_set, generated))
                write_jsonl(incorrect_path(self.output, checkpoint.name, name), incorrect_rows(rows))
                write_jsonl(predictions_path(self.output, checkpoint.name, name), rows)  # last: it says "done"
                self.results[checkpoint.name, name] = result_rows(checkpoint.name, checkpoint.step, name, rows)
                accuracies.append(f"{name} {sum(row['correct'] for row in rows) / len(rows):.3f}")
        if self.accelerator.is_main_process:
            self._write_tables()
        self._say(f"{label}  {'  '.join(accuracies)}")

    def _load(self, checkpoint: Checkpoint) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Loads on every process; an error on one is an error on all."""
        loaded, error = None, None
        try:
            loaded = load_checkpoint(checkpoint, self.accelerator.device)
        except (BrokenCheckpointError, UserError) as raised:
            error = raised
        for failure in gather_object([error]):
            if failure is not None:
                raise failure
        assert loaded is not None
        return loaded

    def _write_tables(self) -> pd.DataFrame:
        """`results.csv` and `accuracy_table.csv` of all there is, in order of step and of the sets."""
        steps = {name: entry["step"] for name, entry in self.settings.checkpoints.items()}
        order = {name: place for place, name in enumerate(self.settings.datasets)}
        keys = sorted(self.results, key=lambda key: (steps[key[0]], key[0], order[key[1]]))
        return write_results(self.output, [row for key in keys for row in self.results[key]])

    def _report(self) -> None:
        log = self.run_folder / "metrics.jsonl"
        if log.is_file():
            write_text(self.output / "metrics.jsonl", log.read_text(encoding="utf-8"))
        from evaluation.report import write_report  # here, since drawing is slow to import and one process does it

        accuracies = table(self._write_tables())
        page = write_report([self.output])
        print(f"\n{accuracies}\n\nresults  {self.output / 'results.csv'}\nreport   {page}", flush=True)

    def _say(self, line: str) -> None:
        if self.accelerator.is_main_process:
            tqdm.write(line)


def _is_quiet(folder: Path) -> bool:
    """Nothing has been written there for a while."""
    return all(path.stat().st_mtime < time.time() - WATCH_SECONDS for path in folder.iterdir())


def table(results: pd.DataFrame) -> str:
    """Exact match, checkpoint by set, for people."""
    accuracies = accuracy_table(results).set_index("checkpoint")
    accuracies.columns = [column.removesuffix("_accuracy") for column in accuracies.columns]
    recipes = {name.rpartition(":")[0] for name in accuracies.columns}
    if len(recipes) == 1 and "" not in recipes:
        accuracies.columns = [name.rpartition(":")[2] for name in accuracies.columns]
    accuracies.index.name = None
    of = f" of {recipes.pop()}" if len(recipes) == 1 and "" not in recipes else ""
    return f"exact match{of}\n" + accuracies.to_string(float_format="{:.3f}".format, na_rep="-")


class Parser(argparse.ArgumentParser):
    """Mistakes on the command line are `UserError`s of one line, which name the nearest option."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        args, unknown = self.parse_known_args(argv)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            raise UserError(f"unknown option '{unknown[0]}'{suggest(unknown[0].split('=')[0], options)}")
        return args


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="sweep.py", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--checkpoints-dir", required=True, metavar="DIR",
        help="a folder with checkpoint-N folders, one model's folder, or a Hub id (its branches stepN are scored)",
    )  # fmt: skip
    parser.add_argument(
        "--datasets", required=True, nargs="+", metavar="SET",
        help="evaluation sets: <config>[,key=value...]:<split>, or a JSONL file with prompt and answer",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="DIR", help="the report folder, such as reports/cheating")
    parser.add_argument("--limit", type=_positive, metavar="N", help="score only the first N rows of each set")
    parser.add_argument("--batch-size", type=_positive, default=128, metavar="N", help="rows at a time (default: 128)")
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N",
        help="CPU threads of each process (default: 0, which shares the cores among the processes)",
    )  # fmt: skip
    parser.add_argument("--watch", action="store_true", help="score new checkpoints too, until the run is over")
    return parser.parse(argv)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got '{text}'")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sweep that `argv` describes; returns the exit status. Raises `UserError`."""
    return run(parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """The same for arguments as `parse_args` gives them."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    accelerator = Accelerator(
        cpu=not torch.accelerator.is_available()
    )  # else several CPU processes do not find together
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
        set_up_process(arguments.threads, on_cpu=not torch.accelerator.is_available())
        sys.exit(run(arguments))
