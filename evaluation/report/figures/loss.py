"""The training log over the steps of training."""

import pandas as pd
from matplotlib.ticker import LogLocator, NullLocator

from evaluation.report.drawing import draw_milestone
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, grid, step_axis

LOSSES = (
    ("loss", "loss on the answers", "#0072d6"),
    ("penalty", "anchor penalty", "#8f1d6e"),
    ("distance", "distance from the anchor", "#008558"),
)


@figure("Loss and distance", order=100)
def loss(experiment: Experiment, looks: Looks) -> Drawing | None:
    """The training log: data loss, penalty and distance, each where it was logged; a line per run."""
    drawn = []
    for column, title, color in LOSSES:
        logs = [
            run.training.dropna(subset=[column]) for run in experiment.runs if {"step", column} <= set(run.training)
        ]
        logs = [log[log["step"] > 0] for log in logs]
        if any((log[column] != 0).any() for log in logs):
            drawn.append((column, title, color, logs))
    if not drawn:
        return None
    drawing, panels = grid(len(drawn), width=3.1, height=2.9)
    stories = experiment.stories
    for axes, (column, title, color, logs) in zip(panels, drawn, strict=True):
        for log in logs:
            axes.plot(log["step"], log[column], color=color, linewidth=1.4, alpha=1 if len(logs) == 1 else 0.6)
        if column == "loss" and all((log[column] > 0).all() for log in logs):
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 60 else (1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.set_ylim(bottom=0)
        step_axis(axes, [*experiment.steps, *(int(log["step"].min()) for log in logs)])
        draw_milestone(axes, "shortcut", "right", [story.shortcut_step for story in stories])
        draw_milestone(axes, "rule", "left", [story.rule_step for story in stories])
        axes.set_title(title, pad=20)
    caption = (
        "The training log. The loss counts answers alone, without the penalty; distance is that of the weights from "
        "those that the anchor holds them to, by default where training began."
    )
    data = pd.concat(
        [
            pd.DataFrame({"run": run.name, "step": run.training["step"], "quantity": column, "value": value})
            for run in experiment.runs
            for column, _, _, _ in drawn
            if (value := run.training.get(column)) is not None
        ]
    )
    return drawing, caption, data.dropna(subset=["value"])
