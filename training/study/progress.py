"""How far the runs of a study are: one table that lives in a terminal, plain lines elsewhere."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from evaluation.artifacts.run_folder import is_over, list_checkpoints, step_of
from evaluation.artifacts.training_log import exact_matches
from training.study.runs import StudyRun

LOOKS_EVERY = 2.0
"""Seconds between two looks at the runs, which read the log of each."""
LINES_EVERY = 30.0
"""Seconds between two lines about a run, where there is no terminal."""


@dataclass(frozen=True)
class Progress:
    """Where one run is."""

    run: StudyRun
    state: str
    """done, failed, training, scoring, waiting."""
    step: int
    steps: int | None
    """Planned ones, where the options say them."""
    figures: str
    """The last exact match of each set."""
    seconds_left: float | None

    @classmethod
    def of(cls, run: StudyRun) -> "Progress":
        logged = run.logged()
        saved = list_checkpoints(run.run_dir)
        step = max([*map(step_of, saved), *(int(row["step"]) for row in logged)], default=0)
        steps = run.condition.steps
        if run.is_done():
            state = "done"
        elif run.is_at_work():
            state = "scoring" if is_over(run.run_dir) else "training"
        else:
            state = "failed" if run.failure() is not None else "waiting"
        measured: dict[str, Any] = next((row for row in reversed(logged) if "eval_exact_match" in row), {})
        figures = "  ".join(f"{name} {value:.2f}" for name, value in exact_matches(measured).items())
        left = None
        if state == "training" and steps:
            began = run.beside(".yaml").stat().st_mtime
            found = max((step_of(path) for path in saved if _time_of(path) < began), default=0)
            if found < step < steps:
                left = (time.time() - began) / (step - found) * (steps - step)
        return cls(run, state, step, steps, figures, left)

    @property
    def cells(self) -> list[str]:
        left = "" if self.seconds_left is None else f"{self.seconds_left / 60:.0f} min"
        steps = f"{self.step:,}" + (f" / {self.steps:,}" if self.steps else "")
        return [self.run.condition.name, str(self.run.seed), self.state, steps, self.figures, left]


def _time_of(checkpoint: Path) -> float:
    """When it was saved; never, where it is gone meanwhile."""
    try:
        return checkpoint.stat().st_mtime
    except FileNotFoundError:
        return math.inf


HEADS = ("condition", "seed", "state", "step", "exact match", "left")


def table(runs: Sequence[StudyRun]) -> Table:
    """One line per run."""
    made = Table(*HEADS, box=None, pad_edge=False)
    for run in runs:
        made.add_row(*Progress.of(run).cells)
    return made


class Display:
    """Shows the runs while they are at work; `tick` looks at them again."""

    def __init__(self, runs: Sequence[StudyRun]) -> None:
        self.runs = runs
        self.live = Live(console=Console(), auto_refresh=False) if sys.stdout.isatty() else None
        self.said: dict[int, tuple[str, float]] = {}
        self.looked = -LOOKS_EVERY

    def __enter__(self) -> "Display":
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._look()
        if self.live is not None:
            self.live.stop()

    def tick(self) -> None:
        if time.monotonic() - self.looked >= LOOKS_EVERY:
            self._look()

    def _look(self) -> None:
        self.looked = now = time.monotonic()
        if self.live is not None:
            self.live.update(table(self.runs), refresh=True)
            return
        for run in self.runs:
            progress = Progress.of(run)
            state, since = self.said.get(id(run), ("waiting", now))
            if progress.state != state or (progress.state in ("training", "scoring") and now - since > LINES_EVERY):
                self.said[id(run)] = progress.state, now
                print("  ".join(filter(None, progress.cells)), flush=True)
