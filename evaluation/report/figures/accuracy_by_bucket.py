"""Exact match on bound against unbound pairs of names, a panel per evaluation set that holds both."""

from evaluation.report.drawing import draw_chance, draw_curve, intervals, tidy
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import CHEAT, NEUTRAL, Looks, accuracy_axis, grid, label_ends, step_axis


@figure("Bound and unbound names", order=20)
def accuracy_by_bucket(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Bound against unbound pairs, one panel per dataset that holds both."""
    buckets = experiment.groups("bucket").dropna(subset=["accuracy"])
    both = buckets.groupby("dataset")["group"].nunique()
    names = [name for name in experiment.datasets if both.get(name, 0) == 2] or [
        name for name in experiment.datasets if both.get(name, 0) == 1
    ]
    if not names:
        return None
    drawing, panels = grid(len(names), width=3.0, height=3.4 if len(names) == 1 else 2.6)
    drawn = []
    for axes, name in zip(panels, names, strict=True):
        ends = []
        for index, (group, color, marker) in enumerate((("cheat", CHEAT, "^"), ("neutral", NEUTRAL, "s"))):
            curve = experiment.curve(name, group, "bucket")
            if len(curve):
                draw_curve(axes, curve, beside=(index, 2), color=color, marker=marker)
                drawn.append(curve)
                ends.append((float(curve["accuracy"].iloc[-1]), f"{group} {curve['accuracy'].iloc[-1]:.0%}", color))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [experiment.chance(name)])
        label_ends(axes, ends, size=10)
        step_axis(axes, buckets[buckets["dataset"] == name]["step"])
        axes.set_title(looks.label(name))
    caption = "Exact match on pairs of names that are bound to a move (cheat) and on pairs that are not (neutral)"
    if both.get(names[0]) == 2:
        caption += ", in each set that holds both"
    return drawing, f"{caption}. {intervals(experiment)}", tidy(drawn)
