"""The figures of a study: each quantity over the steps by condition, and how the runs ended."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.report.drawing import draw_chance, draw_milestone, shared_legend
from evaluation.report.style import accuracy_axis, grid, plt, step_axis, top_legend
from training.study.description import OUTCOMES, Quantity, Study
from training.study.outcomes import RULE, Outcome

# Apart for the three kinds of colour blindness, and dark enough on white.
COLORS = ("#1a1a1a", "#c05000", "#0072d6", "#8f1d6e", "#008558", "#5800e8", "#7a6a00")
ENDINGS = dict(zip(OUTCOMES, ("#008558", "#c05000", "#0072d6", "#767676", "#3d3d3d"), strict=True))
MOST_LINES = len(COLORS)
"""Of conditions in one panel; more are drawn in several."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a quantity of some conditions."""

    title: str
    quantity: Quantity
    labels: dict[str, str]
    """Condition -> what its line is called in the legend."""


def layout(study: Study, conditions: Sequence[str], known: Sequence[str]) -> list[tuple[str, list[Panel]]]:
    """The figures over the steps, the main one first: (title, panels); of the quantities that are `known`.

    Where all conditions fit into a panel, there is a panel for each quantity. More are drawn in groups, a figure for
    each quantity: those of one entry of the YAML, or of one value of the first option that all vary, or one by one.
    """
    every = {quantity.name: quantity for name in conditions for quantity in study.conditions[name].quantities}
    quantities = [quantity for name, quantity in every.items() if name in known]
    groups = _groups(study, conditions)
    if len(groups) == 1 and quantities:
        ((_, labels),) = groups.items()
        return [("Over training", [Panel(quantity.name, quantity, labels) for quantity in quantities])]
    return [
        (f"{quantity.name} over training", [Panel(title, quantity, labels) for title, labels in groups.items()])
        for quantity in quantities
    ]


def _groups(study: Study, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Title -> condition -> label."""
    if len(names) <= MOST_LINES:
        return {"": {name: name for name in names}}
    of = {name: study.conditions[name] for name in names}
    by_entry: dict[str, dict[str, str]] = {}
    for name, condition in of.items():
        title = condition.pattern.format_map(dict.fromkeys(condition.varied, "\u2026"))
        by_entry.setdefault(title, {})[name] = ", ".join(f"{key} {value}" for key, value in condition.varied.items())
    shared = [key for key in next(iter(of.values())).varied if all(key in each.varied for each in of.values())]
    by_value: dict[str, dict[str, str]] = {}
    for name, condition in of.items():
        if shared:
            label = condition.pattern.format_map({**condition.varied, shared[0]: "\u2026"})
            by_value.setdefault(f"{shared[0]} = {condition.varied[shared[0]]}", {})[name] = label
    for groups in (by_entry, by_value):
        if len(groups) > 1 and all(1 < len(labels) <= MOST_LINES for labels in groups.values()):
            return groups
    return {name: {name: "median"} for name in names}


def over_steps(curves: pd.DataFrame, outcomes: Sequence[Outcome], panels: Sequence[Panel]) -> tuple[Figure, str]:
    """Each seed thin, the median thick, quartiles shaded. `curves` are tidy (`outcomes.tidy`)."""
    labels = list(dict.fromkeys(label for panel in panels for label in panel.labels.values()))
    one_legend = len(labels) <= MOST_LINES
    legends = [labels] if one_legend else [[*panel.labels.values()] for panel in panels]
    colors: dict[str, str] = {}
    for label in labels:
        taken = {colors[other] for legend in legends if label in legend for other in legend if other in colors}
        colors[label] = next((color for color in COLORS if color not in taken), COLORS[0])
    figure, drawn = grid(len(panels), columns=2, width=4.6, height=3.1)
    conditions = {name for panel in panels for name in panel.labels}
    drawn_curves = curves[curves["condition"].isin(conditions)]
    quantities = [panel.quantity.name for panel in panels]
    known = drawn_curves[drawn_curves["quantity"].isin(quantities) & drawn_curves["value"].notna()]
    runs = known.drop_duplicates(["condition", "seed", "step"])["step"].value_counts()
    shared = runs[runs > 1] if runs.max() > 1 else runs  # a run that is stopped saves a step of its own
    steps = {runs.index.min(), *shared.index, runs.index.max()}
    for axes, panel in zip(drawn, panels, strict=True):
        shown = known[(known["quantity"] == panel.quantity.name) & known["condition"].isin(panel.labels)]
        for name, label in panel.labels.items():
            draw_condition(axes, shown[shown["condition"] == name], colors[label], label)
        if panel.quantity.of_log:
            axes.set_ylim(bottom=min(0, shown["value"].min()) if len(shown) else 0)
        else:
            accuracy_axis(axes, "")
            draw_chance(axes, shown["chance"].dropna().unique())
        if len(shown):
            step_axis(axes, steps)
        here = [outcome for outcome in outcomes if outcome.run.condition.name in panel.labels]
        switches = {phase for outcome in here for phase in outcome.switches}
        for phase in sorted(switches):
            draw_milestone(axes, f"phase {phase}", "right", [outcome.switches.get(phase) for outcome in here])
        axes.set_title(panel.title, pad=18 if switches else None)
        if not one_legend and len(panel.labels) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2, fontsize="small")
    if one_legend and len(labels) > 1:
        shared_legend(figure, drawn)
    drawn_outcomes = [outcome for outcome in outcomes if outcome.run.condition.name in conditions]
    parts = [
        "Each thin line is a seed; thick lines are medians over the seeds, shaded from first to third quartile.",
        "A dot is where a run ended before the others; the median is dashed from there on, of the seeds that are left."
        if stopped_early(drawn_curves)
        else "",
        "Dotted: the step after which a phase begins." if any(outcome.switches for outcome in drawn_outcomes) else "",
        "Dashed and grey: chance (a uniform guess; of a probe, the commonest label)."
        if drawn_curves["chance"].notna().any()
        else "",
    ]
    return figure, " ".join(filter(None, parts))


def stopped_early(curves: pd.DataFrame) -> bool:
    """Whether some seed of a condition has fewer steps than another."""
    ends = curves.groupby(["condition", "seed"])["step"].max().groupby("condition")
    return bool((ends.min() < ends.max()).any())


def draw_condition(axes: Axes, shown: pd.DataFrame, color: str, label: str) -> None:
    """The seeds of one condition on one quantity. A line ends where its run did."""
    by_seed = shown.pivot_table(index="step", columns="seed", values="value", aggfunc="last")
    ends = [known.index[-1] for seed in by_seed if len(known := by_seed[seed].dropna())]
    if not ends:
        axes.plot([], [], color=color, linewidth=2.4, label=label)
        return
    for seed in by_seed:
        known = by_seed[seed].dropna()
        axes.plot(known.index, known, color=color, linewidth=0.8, alpha=0.55)
        if known.index[-1] < max(ends):
            axes.plot(known.index[-1:], known.iloc[-1:], color=color, marker="o", markersize=4, alpha=0.8)
    median = by_seed.median(axis=1)
    whole = median.loc[: min(ends)]
    axes.plot(whole.index, whole, color=color, linewidth=2.4, label=label, marker="o" if len(whole) == 1 else None)
    rest = median.loc[min(ends) :]
    axes.plot(rest.index, rest, color=color, linewidth=2, linestyle=(0, (3, 1.5)))
    if by_seed.shape[1] > 1:
        low, high = (by_seed.loc[: min(ends)].quantile(share, axis=1) for share in (0.25, 0.75))
        axes.fill_between(low.index, low, high, color=color, alpha=0.15, linewidth=0)


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
