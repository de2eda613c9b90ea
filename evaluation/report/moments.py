"""The checkpoints that figures of answers show: where the shortcut was learned, and the last one."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from evaluation.report.experiment import Experiment
from evaluation.report.scored_run import MoveCounts, ScoredRun, split_of
from evaluation.report.story import Story

TELLING = ("eval", "cheat_consistent", "counter_cheat", "unseen_names")
"""The splits shown where there is room for four sets."""


@dataclass(frozen=True)
class Moment:
    """A checkpoint worth a look, which may be another step in each run."""

    label: str
    steps: list[tuple[ScoredRun, int]]

    def answers(self, dataset: str) -> MoveCounts:
        """How often each pair of right and predicted move occurs, over the runs."""
        counts: MoveCounts = Counter()
        for run, step in self.steps:
            counts.update(run.predictions(step, dataset).moves)
        return counts


def moments(experiment: Experiment) -> list[Moment]:
    """Where the shortcut was learned (or else half-way to what was reached), and the last checkpoint."""
    stories = experiment.stories
    last = _moment("last checkpoint", [(story.run, story.last_step) for story in stories])
    if any(story.shortcut_step is not None for story in stories):
        steps = [(story.run, story.shortcut_step) for story in stories if story.shortcut_step is not None]
        return [_moment("shortcut", steps), last]
    halfway = [(story.run, step) for story in stories if (step := _halfway(story)) is not None]
    return [last] if not halfway or halfway == last.steps else [_moment("half-way", halfway), last]


def _halfway(story: Story) -> int | None:
    """The step whose mean accuracy is nearest to the middle of its range, of the steps with all sets (but for
    those that were scored at fewer steps than others)."""
    overall = story.run.groups("overall")
    exact = overall[overall["group"] == "exact_match"]
    accuracy = exact.pivot_table(index="step", columns="dataset", values="accuracy", aggfunc="last")
    accuracy = accuracy.loc[:, accuracy.count() == accuracy.count().max()].dropna()
    if accuracy.empty:
        return None
    means = accuracy.mean(axis=1)
    return int((means - (means.min() + means.max()) / 2).abs().idxmin())


def _moment(label: str, steps: list[tuple[ScoredRun, int]]) -> Moment:
    numbers = [step for _, step in steps]
    low, high = min(numbers), max(numbers)
    return Moment(f"{label}, " + (f"step {low:,}" if low == high else f"steps {low:,}-{high:,}"), steps)


def telling(datasets: list[str], most: int = 4) -> list[str]:
    """At most `most` datasets, the telling splits first, in their own order."""
    ordered = sorted(datasets, key=lambda name: split_of(name) not in TELLING)[:most]
    return [name for name in datasets if name in ordered]


def answers_table(datasets: list[str], shown: list[Moment]) -> pd.DataFrame:
    """Columns dataset, moment, right, predicted (missing for an answer without a number) and rows: their number."""
    lines = [
        (name, moment.label, right, predicted, rows)
        for name in dict.fromkeys(datasets)
        for moment in shown
        for (right, predicted), rows in sorted(moment.answers(name).items(), key=str)
    ]
    table = pd.DataFrame(lines, columns=["dataset", "moment", "right", "predicted", "rows"])
    return table.astype({"predicted": "Int64"})


def other_answers(table: pd.DataFrame) -> str:
    """What a question mark stands for, where some answer is none of the right ones; for captions."""
    return "" if table["predicted"].isin(table["right"]).all() else " ? is any other answer."
