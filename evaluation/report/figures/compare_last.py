"""Where each experiment stands at its last checkpoint, grouped by evaluation set."""

import pandas as pd

from evaluation.report.drawing import BANDS, tidy
from evaluation.report.experiment import Experiment, names_of
from evaluation.report.figures.figure import Drawing, comparison
from evaluation.report.labels import fold_all
from evaluation.report.style import HALF, INK, Looks, plt


@comparison("Accuracy at the end, side by side", order=20)
def compare_last(experiments: list[Experiment]) -> Drawing | None:
    """Every dataset at the last checkpoint of each experiment, grouped by dataset."""
    lines, data = [], []
    looks, names = Looks(*(experiment.datasets for experiment in experiments)), names_of(experiments)
    short = fold_all([*names, *map(looks.name, looks.datasets)], width=28, lines=1)
    for experiment, full_name in zip(experiments, names, strict=True):
        for name in experiment.datasets:
            curve = experiment.curve(name)
            if len(curve):
                end = curve.iloc[-1]
                late = end["step"] == max(experiment.steps)
                who = short[full_name] if late else f"{short[full_name]}, step {end['step']:,}"
                data.append(curve.iloc[[-1]].assign(experiment=full_name))
                lines.append((short[looks.name(name)], who, looks.color(name), end))
    labels = list(dict.fromkeys(label for label, *_ in lines))
    if len(experiments) < 2 or not lines:
        return None
    height = 0.9 + 0.24 * (len(lines) + len(labels))
    drawing, axes = plt.subplots(figsize=(HALF, height), layout="constrained")
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
    return drawing, f"Exact match at the last checkpoint of each experiment. {BANDS}", tidy(data)
