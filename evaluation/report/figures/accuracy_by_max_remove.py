"""Exact match by the largest move, each with its own level of chance."""

from evaluation.report.drawing import draw_chance, draw_curve, intervals, shared_legend, tidy
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, accuracy_axis, grid, label_ends, step_axis

MOST_LABELS = 8
"""More numbers than this do not fit beside a panel; the legend names the lines in any case."""


@figure("Accuracy by max_remove", order=30)
def accuracy_by_max_remove(experiment: Experiment, looks: Looks) -> Drawing | None:
    """One panel per max_remove, each with its own chance line at 1 / (max_remove + 1), where there are several."""
    rows = experiment.groups("max_remove").dropna(subset=["accuracy"])
    values = sorted((value for value in rows["group"].unique() if str(value).isdigit()), key=int)
    if len(values) < 2:
        return None
    drawing, panels = grid(len(values), height=2.5)
    drawn = []
    for axes, value in zip(panels, values, strict=True):
        ends = []
        for index, name in enumerate(experiment.datasets):
            curve = experiment.curve(name, value, "max_remove")
            if len(curve):
                beside = (index, len(experiment.datasets))
                draw_curve(axes, curve, beside=beside, **looks.line(name), label=looks.label(name))
                drawn.append(curve)
                end = float(curve["accuracy"].iloc[-1])
                ends.append((end, f"{end:.0%}", looks.color(name)))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [1 / (int(value) + 1)])
        if len(ends) <= MOST_LABELS:
            label_ends(axes, ends, size=10)
        step_axis(axes, rows[rows["group"] == value]["step"])
        axes.set_title(f"max_remove {value}")
    shared_legend(drawing, panels)
    caption = (
        "Exact match by the largest number of coins that may be taken, with the chance of a uniform guess among "
        f"the max_remove + 1 answers (dashed). {intervals(experiment)}"
    )
    return drawing, caption, tidy(drawn)
