"""The tables of a page: milestones, accuracy by checkpoint, the last checkpoint, every group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from evaluation.artifacts.training_log import phase_of
from evaluation.report.experiment import Experiment, names_of
from evaluation.report.style import Looks
from evaluation.report.summary import scar_twins


@dataclass(frozen=True)
class Cell:
    text: str
    sort: float | None = None
    """A number sorts by this and stands at the right; text sorts by itself."""


@dataclass(frozen=True)
class Table:
    title: str
    caption: str
    heads: list[str]
    rows: list[list[Cell]]
    folded: bool = False
    """Shown only when a reader opens it."""

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


def number(value: Any, digits: int = 3) -> Cell:
    """A number with so many digits after the point; a dash for None and NaN, which sorts before all others."""
    if value is None or pd.isna(value):
        return Cell("-", -1.0)
    return Cell(f"{value:,.{digits}f}", float(value))


def milestones(experiments: Sequence[Experiment]) -> Table | None:
    """One line per run: the steps at which shortcut and rule were learned, and the scar, of what some run tells; None
    where none tells anything."""
    names, rows = names_of(experiments), []
    for experiment, name in zip(experiments, names, strict=True):
        for story in experiment.stories:
            held_out, counter = story.run.accuracy("eval"), story.run.accuracy("counter_cheat")
            cells = {
                "run": Cell(name if len(experiment.runs) == 1 else story.run.name),
                "shortcut by step": number(story.shortcut_step, 0),
                "rule by step": number(story.rule_step, 0),
                "scar": number(story.scar),
                "eval at the end": number(held_out.iloc[-1] if len(held_out) else None),
                "counter_cheat at the end": number(counter.iloc[-1] if len(counter) else None),
                "last step": number(story.last_step, 0),
            }
            rows.append(cells)
    told = [head for head in rows[0] if any(cells[head] != number(None) for cells in rows)]
    if told == ["run", "last step"]:
        return None
    caption = "When each run learned the shortcut and the rule, and the scar at the end."
    if not {"shortcut by step", "scar", "counter_cheat at the end"} & set(told):
        caption = "When each run learned the rule."
    if twins := scar_twins(experiments):
        caption += f" The scar is {twins} minus counter_cheat."
    return Table("Milestones", caption, told, [[cells[head] for head in told] for cells in rows])


def by_checkpoint(experiment: Experiment) -> Table:
    """One line per step: exact match on each dataset."""
    rows = []
    curves = {name: experiment.curve(name).set_index("step")["accuracy"] for name in experiment.datasets}
    phases = [run.switches for run in experiment.runs]
    phased = bool(phases[0]) and all(switches == phases[0] for switches in phases)
    for step in experiment.steps:
        phase = [number(phase_of(step, phases[0]), 0)] if phased else []
        rows.append([number(step, 0), *phase, *(number(curve.get(step)) for curve in curves.values())])
    mean = "" if len(experiment.runs) == 1 else f", mean of {len(experiment.runs)} runs"
    heads = ["step", *(["phase"] if phased else []), *(Looks(experiment.datasets).name(name) for name in curves)]
    return Table("By checkpoint", f"Exact match at each checkpoint{mean}.", heads, rows)


def at_the_end(experiment: Experiment) -> Table:
    """One line per dataset at its last checkpoint: n, interval, and the other shares."""
    others = {"move accuracy": "move_accuracy", "valid moves": "valid_move_rate", "cheat rate": "cheat_rate"}
    band = "95% Wilson interval" if len(experiment.runs) == 1 else "lowest and highest run"
    if not experiment.about_nim:
        others = {"number right": "move_accuracy", "valid answers": "valid_move_rate"}
    curves = {
        head: {name: experiment.curve(name, group) for name in experiment.datasets} for head, group in others.items()
    }
    curves = {head: found for head, found in curves.items() if any(map(len, found.values()))}
    caption = f"Low and high: {band}."
    if "cheat rate" in curves:
        caption += " Cheat rate: wrong bound moves played."
    rows, looks = [], Looks(experiment.datasets)
    for name in experiment.datasets:
        curve = experiment.curve(name)
        if curve.empty:
            continue
        end = curve.iloc[-1]
        late = end["step"] == max(experiment.steps)
        rows.append(
            [
                Cell(looks.name(name) if late else f"{looks.name(name)}, step {end['step']:,}"),
                number(end["n"], 0),
                *(number(end[column]) for column in ("accuracy", "low", "high")),
                *(number(found[name]["accuracy"].iloc[-1] if len(found[name]) else None) for found in curves.values()),
            ]
        )
    heads = ["dataset", "n", "exact match", "low", "high", *curves]
    return Table("At the last checkpoint", caption, heads, rows)


def every_group(experiment: Experiment) -> Table | None:
    """Every group of every dataset at the last checkpoint; None where there are none."""
    last = experiment.pooled[experiment.pooled["step"] == experiment.pooled["step"].max()]
    looks = Looks(experiment.datasets)
    rows = [
        [
            *(Cell(str(text)) for text in (looks.name(row["dataset"]), row["dimension"], row["group"])),
            number(row["n"], 0),
            *(number(row[column]) for column in ("accuracy", "low", "high")),
        ]
        for _, row in last[last["dimension"] != "overall"].iterrows()
    ]
    if not rows:
        return None
    heads = ["dataset", "dimension", "group", "n", "accuracy", "low", "high"]
    return Table("By group", "Every group at the last checkpoint.", heads, rows, folded=True)
