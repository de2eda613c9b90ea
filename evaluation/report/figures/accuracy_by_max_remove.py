"""Exact match by the largest move, each with its own level of chance."""

from evaluation.report.drawing import draw_chance, draw_curve, intervals, shared_legend
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, accuracy_axis, grid, label_ends, step_axis


@figure("Accuracy by max_remove", order=30)
def accuracy_by_max_remove(experiment: Experiment, looks: Looks) -> Drawing | None:
    """One panel per max_remove, each with its own chance line at 1 / (max_remove + 1)."""
    rows = experiment.groups("max_remove").dropna(subset=["accuracy"])
    values = sorted((value for value in rows["group"].unique() if str(value).isdigit()), key=int)
    if not values:
        return None
    single = len(values) == 1
    drawing, panels = grid(len(values), width=5.4 if single else 3.0, height=3.6 if single else 2.5)
    for axes, value in zip(panels, values, strict=True):
        ends = []
        for name in experiment.datasets:
            curve = experiment.curve(name, value, "max_remove")
            if len(curve):
                draw_curve(axes, curve, **looks.line(name), label=looks.label(name))
                end = float(curve["accuracy"].iloc[-1])
                ends.append((end, f"{looks.label(name)} {end:.0%}" if single else f"{end:.0%}", looks.color(name)))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [1 / (int(value) + 1)])
        label_ends(axes, ends, size=10, gap=0.075 if single else 0.1)
        step_axis(axes, rows[rows["group"] == value]["step"])
        axes.set_title(f"max_remove {value}")
    if not single:
        shared_legend(drawing, panels)
    return drawing, (
        "Exact match by the largest number of coins that may be taken, with the chance of a uniform guess among "
        f"the max_remove + 1 answers (dashed). {intervals(experiment)}"
    )
