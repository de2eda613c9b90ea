"""The figures of a study: each quantity over the steps by condition, and how the runs ended."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from evaluation.report.style import INK, accuracy_axis, grid, plt, short_step, step_axis, top_legend
from training.study.outcomes import OUTCOMES, RULE, Outcome

# Apart for the three kinds of colour blindness, and dark enough on white; more conditions than these are a scale.
COLORS = ("#1a1a1a", "#c05000", "#0072d6", "#8f1d6e", "#008558", "#5800e8", "#7a6a00")
ENDINGS = dict(zip(OUTCOMES, ("#008558", "#c05000", "#0072d6", "#b8b8b8", "#5f5f5f"), strict=True))
PANELS = 6
"""Quantities that are drawn; results.csv has all."""


def colors_of(conditions: Sequence[str]) -> dict[str, str]:
    """Condition -> colour."""
    if len(conditions) <= len(COLORS):
        return dict(zip(conditions, COLORS, strict=False))
    places = np.linspace(0, 0.9, len(conditions))
    return {name: to_hex(plt.get_cmap("viridis")(place)) for name, place in zip(conditions, places, strict=True)}


def over_steps(curves: pd.DataFrame, outcomes: Sequence[Outcome]) -> tuple[Figure, str]:
    """A panel per quantity: each seed thin, the median thick, quartiles shaded. `curves` are tidy (`outcomes.tidy`)."""
    quantities = list(dict.fromkeys(curves["quantity"]))[:PANELS]
    conditions = list(dict.fromkeys(curves["condition"]))
    colors = colors_of(conditions)
    figure, panels = grid(len(quantities), columns=2, width=4.6, height=3.1, sharex=True)
    switches = sorted({step for outcome in outcomes for step in switches_of(outcome)})
    for axes, quantity in zip(panels, quantities, strict=True):
        shown = curves[(curves["quantity"] == quantity) & curves["value"].notna()]
        for name in conditions:
            draw_condition(axes, shown[shown["condition"] == name], colors[name], name)
        accuracy_axis(axes, "")
        if len(shown):
            step_axis(axes, shown["step"])
        for step in switches:
            axes.axvline(step, color=INK, linewidth=1, linestyle=":", zorder=1)
        axes.set_title(quantity)
    top_legend(figure, [line for line in panels[0].get_lines() if not str(line.get_label()).startswith("_")])
    marks = f" Dotted: the phases change (step {', '.join(map(short_step, switches))})." if switches else ""
    return figure, (
        "Each thin line is a seed; thick lines are medians over the seeds, shaded from the first to the third"
        f" quartile.{marks}"
    )


def draw_condition(axes: Axes, shown: pd.DataFrame, color: str, name: str) -> None:
    """The seeds of one condition on one quantity."""
    by_seed = shown.pivot_table(index="step", columns="seed", values="value", aggfunc="last")
    for seed in by_seed:
        known = by_seed[seed].dropna()
        axes.plot(known.index, known, color=color, linewidth=0.8, alpha=0.55)
    together = by_seed.dropna()
    axes.plot(together.index, together.median(axis=1), color=color, linewidth=2.4, label=name)
    if by_seed.shape[1] > 1:
        low, high = together.quantile(0.25, axis=1), together.quantile(0.75, axis=1)
        axes.fill_between(together.index, low, high, color=color, alpha=0.15, linewidth=0)


def switches_of(outcome: Outcome) -> list[int]:
    """The planned steps at which the phases of a run change."""
    phases = outcome.run.condition.options.get("phases") or []
    steps = [int(phase["steps"]) for phase in phases]
    return [sum(steps[:place]) for place in range(1, len(steps))]


def endings(outcomes: Sequence[Outcome]) -> tuple[Figure, str]:
    """How many runs of each condition ended in which way."""
    conditions = list(dict.fromkeys(outcome.run.condition.name for outcome in outcomes))
    counts = {
        ending: [sum(o.outcome == ending and o.run.condition.name == name for o in outcomes) for name in conditions]
        for ending in OUTCOMES
    }
    figure, axes = plt.subplots(figsize=(7.2, 0.9 + 0.34 * len(conditions)), layout="constrained")
    left = np.zeros(len(conditions))
    for ending, numbers in counts.items():
        if any(numbers):
            bars = axes.barh(conditions, numbers, left=left, color=ENDINGS[ending], label=ending, height=0.7)
            axes.bar_label(bars, [str(n) if n else "" for n in numbers], label_type="center", color="white")
            left += numbers
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    top_legend(figure, axes.containers)  # type: ignore[arg-type]
    return figure, f"How the runs ended, in numbers of seeds. Rule: {RULE:.0%} right at the end; all thresholds below."
