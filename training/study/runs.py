"""The runs of a study: where each lies, the two commands that make it, and how far it has come.

runs/studies/STUDY/CONDITION-HASH/seed-S.yaml     what --config reads
runs/studies/STUDY/CONDITION-HASH/seed-S/         the run's folder
runs/studies/STUDY/CONDITION-HASH/seed-S.log      what both commands printed
reports/studies/STUDY/runs/CONDITION-HASH/seed-S/ its report, and `done.json`, which is written last

HASH is of the options, the donor's included, and of the generator of rows: a condition that is changed has other
folders, and what was made with the old options is left alone and mixed with nothing.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from evaluation.artifacts.run_folder import METRICS, is_over
from nim_dataset.config import GENERATOR_VERSION
from nim_dataset.files import read_jsonl, write_text
from training.study.description import Condition, Study

ROOT = Path(__file__).parents[2]
RUNS, REPORTS = Path("runs/studies"), Path("reports/studies")
FIGURES = ("accuracy_by_dataset",)
"""Of a run's own report: the others take seconds a run, and are drawn when somebody asks for them."""
LAST_LINES = 12
"""Of a failed run's log that are shown."""


class RunFailed(Exception):
    """A command of a run ended with another status than 0; the log says why."""


@dataclass(frozen=True)
class StudyRun:
    """One seed of one condition."""

    study: str
    """The name of the study's folders."""
    condition: Condition
    seed: int
    measures: tuple[str, ...]
    donor: "StudyRun | None" = None

    @property
    def name(self) -> str:
        return f"{self.condition.name}, seed {self.seed}"

    @cached_property
    def folder(self) -> str:
        """Of the condition: readable, and another one for other options."""
        options = dict(self.condition.options)
        if self.donor is not None:
            options["donor"] = {**self.condition.options["donor"], "condition": self.donor.folder}
        said = json.dumps([options, GENERATOR_VERSION], sort_keys=True, default=str)
        slug = re.sub(r"[^A-Za-z0-9._=+-]+", "_", self.condition.name).strip("_") or "condition"
        return f"{slug}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"

    @property
    def run_dir(self) -> Path:
        return RUNS / self.study / self.folder / f"seed-{self.seed}"

    @property
    def report_dir(self) -> Path:
        return REPORTS / self.study / "runs" / self.folder / f"seed-{self.seed}"

    def beside(self, ending: str) -> Path:
        """A file beside the run's folder: `.yaml`, `.log`, `.lock`, `.failed`."""
        return self.run_dir.with_name(self.run_dir.name + ending)

    @property
    def config(self) -> dict[str, Any]:
        """The options of train.py."""
        options = {**self.condition.options, "seed": self.seed, "output_dir": str(self.run_dir)}
        if self.donor is not None:
            donor = {key: value for key, value in options["donor"].items() if key != "condition"}
            options["donor"] = {"run": str(self.donor.run_dir), **donor}
        return options

    def commands(self, threads: int) -> list[list[str]]:
        """The training and the sweep, as they could be pasted.

        `threads` 0 takes all that the job was given, by `accelerate launch`; a number of them is one process's.
        """
        launch, shared = ["accelerate", "launch", "--quiet"], []
        if threads:  # a second less to start, of each command
            launch, shared = ["python"], ["--threads", str(threads)]
        train, sweep = (os.path.relpath(ROOT / script) for script in ("training/train.py", "evaluation/sweep.py"))
        sets = list(dict.fromkeys(self.condition.evaluate.values()))
        return [
            [*launch, train, "--config", str(self.beside(".yaml")), "--resume_from_checkpoint", "auto", *shared],
            [
                *(*launch, sweep, "--checkpoints-dir", str(self.run_dir), "--datasets", *sets),
                *("--measures", *self.measures, "--figures", *FIGURES, "--output", str(self.report_dir), *shared),
            ],
        ]

    # ---- How far it is ----

    @property
    def _done_mark(self) -> Path:
        return self.report_dir / "done.json"

    @property
    def _wanted(self) -> dict[str, Any]:
        return {"evaluate": sorted(self.condition.evaluate.values()), "measures": sorted(self.measures)}

    def is_done(self) -> bool:
        """Whether the run is trained, and everything is scored that the study asks for now."""
        try:
            done = json.loads(self._done_mark.read_text(encoding="utf-8"))
            return is_over(self.run_dir) and all(set(self._wanted[key]) <= set(done[key]) for key in self._wanted)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def is_at_work(self) -> bool:
        """Whether some process has this run in hand."""
        if not self.beside(".lock").exists():
            return False
        try:
            with FileLock(self.beside(".lock"), blocking=False):
                return False
        except Timeout:
            return True

    def failure(self) -> str | None:
        """The last lines of the log of a run that failed; None for any other."""
        path = self.beside(".failed")
        return path.read_text(encoding="utf-8") if path.exists() else None

    def logged(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; none before training began."""
        path = self.run_dir / METRICS
        return [row for _, row in read_jsonl(path)] if path.is_file() else []

    # ---- The work ----

    def write_config(self) -> None:
        """Writes the YAML file of the training."""
        self.run_dir.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.beside(".yaml"), yaml.safe_dump(self.config, sort_keys=False))

    def work(self, threads: int) -> None:
        """Trains and scores what is missing; raises `RunFailed`. A second process waits for the first one to end."""
        self.write_config()
        with FileLock(self.beside(".lock")):
            if self.is_done():
                return
            self.beside(".failed").unlink(missing_ok=True)
            for command in self.commands(threads):
                self._call(command)
            write_text(self._done_mark, json.dumps(self._wanted, indent=2) + "\n")

    def _call(self, command: list[str]) -> None:
        with open(self.beside(".log"), "a", encoding="utf-8") as log:
            print(f"$ {' '.join(command)}", file=log, flush=True)
            module = ["-m", "accelerate.commands.accelerate_cli"] if command[0] == "accelerate" else []
            started = [sys.executable, *module, *command[1:]]
            status = subprocess.run(started, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
        if status == 0:
            return
        lines = self.beside(".log").read_text(encoding="utf-8", errors="replace").splitlines()
        tail = [line.rpartition("\r")[2] for line in lines[-LAST_LINES:]]
        write_text(self.beside(".failed"), "\n".join([*tail, f"(status {status}; {self.beside('.log')})"]) + "\n")
        raise RunFailed(f"{self.name}: status {status}, see {self.beside('.log')}")


def runs_of(study: Study) -> list[StudyRun]:
    """All runs of a study, a donor before the runs that start from it."""
    made: dict[tuple[str, int], StudyRun] = {}

    def make(name: str, seed: int) -> StudyRun:
        if (name, seed) not in made:
            condition = study.conditions[name]
            donor = make(condition.donor, seed) if condition.donor is not None else None
            made[name, seed] = StudyRun(study.folder, condition, seed, study.measures, donor)
        return made[name, seed]

    for seed in study.seeds:
        for name in study.conditions:
            make(name, seed)
    return list(made.values())


def stale_folders(study: Study, all_runs: list[StudyRun]) -> Iterator[Path]:
    """Folders of conditions with options that the study does not have (any more)."""
    known = {run.folder for run in all_runs}
    for root in (RUNS / study.folder, REPORTS / study.folder / "runs"):
        if root.is_dir():
            yield from (path for path in sorted(root.iterdir()) if path.is_dir() and path.name not in known | {"jobs"})
