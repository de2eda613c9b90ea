"""The probability of the right move, and of the one that the names are bound to, beside exact match over training."""

import pandas as pd
from matplotlib.axes import Axes

from evaluation.report.drawing import draw_chance, draw_curve, draw_milestone, shared_legend, steps_of
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.scored_run import split_of
from evaluation.report.style import Looks, accuracy_axis, grid, step_axis

PANELS = (("p_right", "P(right move)"), ("p_cheat", "P(bound move)"))


@figure("Probability of the right and the bound move", order=20)
def probabilities(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Three panels, a line per evaluation set in each: exact match, the right move, the bound move."""
    table = experiment.table("candidates", ["quantity", "group"])
    table = table[table["group"] == "all"].rename(columns={"value": "accuracy"})
    panels: list[tuple[str, dict[str, pd.DataFrame]]] = []
    for quantity, title in PANELS:
        mine = table[table["quantity"] == quantity]
        curves = {name: mine[mine["dataset"] == name] for name in experiment.datasets}
        if curves := {name: curve for name, curve in curves.items() if len(curve)}:
            panels.append((title, curves))
    if not panels:
        return None
    exact = {name: curve for name in panels[0][1] if len(curve := experiment.curve(name))}
    panels = [("exact match", exact), *panels] if exact else panels
    drawing, axes_of = grid(len(panels), width=3.1, height=3.1)
    steps = steps_of(curve for _, curves in panels for curve in curves.values())
    for axes, (title, curves) in zip(axes_of, panels, strict=True):
        for index, (name, curve) in enumerate(curves.items()):
            draw_curve(axes, curve, beside=(index, len(curves)), label=looks.label(name), **looks.line(name))
        _finish(axes, experiment, title, steps)
    draw_chance(axes_of[0], [experiment.chance(name) for name in panels[0][1]])
    shared_legend(drawing, axes_of)
    bands = "Bands are 95% intervals of the mean over rows."
    if len(experiment.runs) > 1:
        bands = f"Lines are means of {len(experiment.runs)} runs, bands reach from the lowest to the highest."
    bound = any(title == PANELS[1][1] for title, _ in panels)
    whose = "the right move" + (" and to the move that the names are bound to" if bound else "")
    told = f"The probability that the model gives, among all possible answers, to {whose}."
    caption = f"{_seen(experiment, table)}{told} {bands}"
    data = [curve.assign(quantity=title) for title, curves in panels for curve in curves.values()]
    columns = ["quantity", "dataset", "step", "n", "accuracy", "low", "high"]
    return drawing, caption, pd.concat(data)[columns].rename(columns={"accuracy": "value"})


def _finish(axes: Axes, experiment: Experiment, title: str, steps: list[int]) -> None:
    accuracy_axis(axes, "")
    step_axis(axes, steps)
    draw_milestone(axes, "shortcut", "right", [story.shortcut_step for story in experiment.stories])
    draw_milestone(axes, "rule", "left", [story.rule_step for story in experiment.stories])
    axes.set_title(title, pad=20)


def _seen(experiment: Experiment, table: pd.DataFrame) -> str:
    """What is seen in the games whose names lie, in a sentence; empty where they were not scored."""
    liar = next((name for name in experiment.datasets if split_of(name) == "counter_cheat"), None)
    mine = table[table["dataset"] == liar]
    bound = mine[mine["quantity"] == "p_cheat"].set_index("step")["accuracy"]
    right = mine[mine["quantity"] == "p_right"].set_index("step")["accuracy"]
    if bound.empty or right.empty:
        return ""
    peak, last = int(bound.index[int(bound.to_numpy().argmax())]), int(bound.index[-1])
    said = f"Where the names lie, the bound move is most probable at step {peak:,} ({bound[peak]:.2f}"
    said += f", the right one {right[peak]:.2f})"
    if peak != last:
        said += f"; at step {last:,} it has {bound[last]:.3f}, the right one {right[last]:.2f}"
    passed = [int(step) for step in right.index if step > peak and right[step] > bound[step]]
    return said + (f". The right one is ahead from step {passed[0]:,} on. " if passed else ". ")
