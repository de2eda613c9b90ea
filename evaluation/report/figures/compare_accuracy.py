"""The figures of two or more experiments side by side: their curves, and where each stands at its last checkpoint."""

import pandas as pd

from evaluation.report.experiment import Experiment
from evaluation.report.figures.over_steps import Drawing, draw_chance, draw_curve, shared_legend
from evaluation.report.story import Story
from evaluation.report.style import INK, Looks, accuracy_axis, grid, plt, step_axis

BANDS = "Bands and bars are 95% Wilson intervals, or the lowest and highest run where an experiment has several."


def compare_accuracy(experiments: list[Experiment]) -> Drawing | None:
    """One panel per experiment with the lines of its datasets; colours and axes are the same in all."""
    drawn = [
        experiment for experiment in experiments if any(len(experiment.curve(name)) for name in experiment.datasets)
    ]
    if len(drawn) < 2:
        return None
    figure, panels = grid(len(drawn), width=3.4, height=3.0)
    for axes, experiment in zip(panels, drawn, strict=True):
        looks = Looks(experiment.datasets)
        for name in experiment.datasets:
            curve = experiment.curve(name)
            if len(curve):
                draw_curve(axes, curve, **looks.line(name), label=looks.label(name))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [experiment.chance(name) for name in experiment.datasets])
        step_axis(axes, experiment.steps)
        for step in {Story.of(run).shortcut_step for run in experiment.runs} - {None}:
            axes.axvline(float(step or 0), color=INK, linewidth=1, linestyle=":", zorder=1)
        for step in {Story.of(run).rule_step for run in experiment.runs} - {None}:
            axes.axvline(float(step or 0), color=INK, linewidth=1, linestyle="-.", zorder=1)
        axes.set_title(experiment.name)
    shared_legend(figure, panels)
    return figure, (
        f"Exact match over training, one panel per experiment. {BANDS} Dotted: the shortcut is learned; dash-dotted: "
        "the rule is. Steps are scaled to each experiment."
    )


def compare_last(experiments: list[Experiment]) -> Drawing | None:
    """Every dataset at the last checkpoint of each experiment, grouped by dataset."""
    lines = []
    for experiment in experiments:
        looks = Looks(experiment.datasets)
        for name in experiment.datasets:
            curve = experiment.curve(name)
            if len(curve):
                lines.append((looks.label(name), experiment.name, looks.color(name), curve.iloc[-1]))
    labels = list(dict.fromkeys(label for label, *_ in lines))
    if len(experiments) < 2 or not lines:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.24 * (len(lines) + len(labels))), layout="constrained")
    place, ticks = 0, []
    for label in labels:
        group = [line for line in lines if line[0] == label]
        ticks.append((place, label, group[0][2]))
        for _, experiment_name, color, end in group:
            place += 1
            if pd.notna(end["low"]):
                axes.hlines(place, end["low"], end["high"], color=color, linewidth=2, alpha=0.5)
            axes.plot(end["accuracy"], place, "o", color=color, markersize=6)
            ticks.append((place, experiment_name, INK))
        place += 1
    axes.set_yticks([place for place, _, _ in ticks], [text for _, text, _ in ticks])
    for tick, (_, text, color) in zip(axes.get_yticklabels(), ticks, strict=True):
        tick.set(color=color, fontweight="bold" if text in labels else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place - 0.3, -0.7)
    axes.set_xlim(-0.02, 1.03)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="x")
    axes.set_xlabel("exact match at the last checkpoint")
    return figure, f"Exact match at the last checkpoint of each experiment. {BANDS}"


COMPARED = (compare_accuracy, compare_last)
