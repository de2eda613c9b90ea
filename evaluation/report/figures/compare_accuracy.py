"""Exact match over training, one panel per experiment."""

from evaluation.report.drawing import BANDS, draw_chance, draw_curve, shared_legend, tidy
from evaluation.report.experiment import Experiment, names_of
from evaluation.report.figures.figure import Drawing, comparison
from evaluation.report.labels import fold
from evaluation.report.style import INK, Looks, accuracy_axis, grid, step_axis


@comparison("Accuracy over training, side by side", order=10)
def compare_accuracy(experiments: list[Experiment]) -> Drawing | None:
    """One panel per experiment with the lines of its datasets; colours and axes are the same in all."""
    drawn = [
        experiment for experiment in experiments if any(len(experiment.curve(name)) for name in experiment.datasets)
    ]
    if len(drawn) < 2:
        return None
    drawing, panels = grid(len(drawn), width=3.1, height=3.0)
    looks, data = Looks(*(experiment.datasets for experiment in drawn)), []
    for axes, experiment, title in zip(panels, drawn, names_of(drawn), strict=True):
        for index, name in enumerate(experiment.datasets):
            curve = experiment.curve(name)
            if len(curve):
                beside = (index, len(experiment.datasets))
                draw_curve(axes, curve, beside=beside, **looks.line(name), label=looks.label(name))
                data.append(curve.assign(experiment=title))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [experiment.chance(name) for name in experiment.datasets])
        step_axis(axes, experiment.steps)
        for step in {story.shortcut_step for story in experiment.stories} - {None}:
            axes.axvline(float(step or 0), color=INK, linewidth=1, linestyle=":", zorder=1)
        for step in {story.rule_step for story in experiment.stories} - {None}:
            axes.axvline(float(step or 0), color=INK, linewidth=1, linestyle="-.", zorder=1)
        axes.set_title(fold(title, 24))
    shared_legend(drawing, panels)
    caption = (
        f"Exact match over training, one panel per experiment. {BANDS} Dotted: the shortcut is learned; dash-dotted: "
        "the rule is. Steps are scaled to each experiment."
    )
    return drawing, caption, tidy(data)
