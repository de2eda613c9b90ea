"""What several figures draw: curves with bands, chance levels, milestones, one legend for all panels."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.report.experiment import Experiment
from evaluation.report.style import INK, MUTED, StepLocator, top_legend

BANDS = "Bands and bars are 95% Wilson intervals, or the lowest and highest run where an experiment has several."


def intervals(experiment: Experiment) -> str:
    """What the bands are, for captions; nothing where no interval is known."""
    if len(experiment.runs) == 1:
        bands = "Bands" if len(experiment.steps) > 1 else "Bars"
        return f"{bands} are 95% Wilson intervals." if experiment.pooled["low"].notna().any() else ""
    return f"Lines are means of {len(experiment.runs)} runs, bands reach from the lowest to the highest."


def tidy(curves: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The lines of results that curves were drawn from, one below the other: a figure's data."""
    table = pd.concat(list(curves), ignore_index=True)
    order = ["experiment", "dataset", "dimension", "group", "step", "n", "correct", "accuracy", "low", "high"]
    return table[[column for column in order if column in table]]


def draw_curve(axes: Axes, curve: pd.DataFrame, beside: tuple[int, int] = (0, 1), **look: Any) -> None:
    """A line with its band; without intervals (an imported table) the line alone.

    Of a single step it is a mark with a bar; `beside` (its index, how many there are) then keeps it off the others.
    """
    steps, accuracy = curve["step"].to_numpy(dtype=float), curve["accuracy"].to_numpy(dtype=float)
    alone = len(steps) == 1
    if alone:
        index, count = beside
        steps = steps + 0.6 * (index - (count - 1) / 2) / max(count, 4)
    axes.plot(steps, accuracy, markevery=1 if len(steps) <= 30 else max(1, len(steps) // 20), **look)
    known = curve[["low", "high"]].notna().all(axis=1).to_numpy()
    if known.any():
        low, high = (curve[side].to_numpy(dtype=float)[known] for side in ("low", "high"))
        if alone:
            axes.vlines(steps, low, high, color=look["color"], alpha=0.5)
        else:
            axes.fill_between(steps[known], low, high, color=look["color"], alpha=0.15, linewidth=0)


def coinciding(ends: Iterable[tuple[float, str]]) -> str:
    """Says which lines end on one another, given as (height, name); empty where none do, or there is one line."""
    names: dict[float, list[str]] = {}
    for height, name in ends:
        names.setdefault(round(height, 2), []).append(name)
    parts = [f"{', '.join(group)} ({height:.0%})" for height, group in names.items() if len(group) > 1]
    return f" At the end these lie on one another: {'; '.join(parts)}." if parts else ""


def draw_chance(axes: Axes, chances: Iterable[float | None], text: str = "chance") -> None:
    """A dashed line per chance level; the word stands at the right of the highest."""
    levels = sorted({round(level, 4) for level in chances if level is not None})
    for level in levels:
        axes.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    if levels:
        lowest = "" if len(levels) == 1 else f"{100 * levels[0]:.0f} to "
        axes.annotate(
            f"{text} {lowest}{levels[-1]:.0%}",
            xy=(1, levels[-1]),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=MUTED,
            fontsize=9.5,
        )


def steps_of(curves: Iterable[pd.DataFrame]) -> list[int]:
    """Every step of the curves once, ascending."""
    return sorted({int(step) for curve in curves for step in curve["step"]})


def draw_milestone(axes: Axes, text: str, side: str, steps: list[int | None]) -> None:
    """A dotted line at a milestone, named on one side; over several runs, a light stripe from the first to the last."""
    known = sorted(step for step in steps if step is not None)
    if not known:
        return
    if known[0] < known[-1]:
        axes.axvspan(known[0], known[-1], color=INK, alpha=0.07, linewidth=0)
    middle = known[len(known) // 2]
    if axes.transAxes.inverted().transform(axes.transData.transform((middle, 0.5)))[0] > 0.85:
        side = "right"  # to the left of the line, or it would stand in the labels of the lines
    axes.axvline(middle, color=INK, linewidth=1.2, linestyle=":", zorder=1)
    axes.annotate(
        text,
        xy=(middle, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(2 if side == "right" else -2, 4),
        textcoords="offset points",
        ha=side,
        fontsize=9.5,
        color=INK,
    )


def draw_phases(figure: Figure, experiment: Experiment) -> None:
    """A thin line in each panel over steps where a phase begins, with its number at the top."""
    for axes in figure.axes:
        if isinstance(axes.xaxis.get_major_locator(), StepLocator):
            for phase in sorted({phase for run in experiment.runs for phase in run.switches}):
                for step in sorted({run.switches[phase] for run in experiment.runs if phase in run.switches}):
                    axes.axvline(step, color=MUTED, linewidth=0.9, zorder=1)
                axes.annotate(
                    f"phase {phase}",
                    xy=(step, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, -3),
                    textcoords="offset points",
                    va="top",
                    fontsize=8.5,
                    color=MUTED,
                )


def shared_legend(figure: Figure, panels: list[Axes]) -> None:
    """One legend above all panels, with each label once."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    top_legend(figure, handles.values())
