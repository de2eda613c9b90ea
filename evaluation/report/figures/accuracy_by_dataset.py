"""Exact match over training, a line per evaluation set, with the milestones: the figure of the project."""

import textwrap

from matplotlib.axes import Axes

from evaluation.report.drawing import coinciding, draw_chance, draw_curve, draw_milestone, intervals, steps_of, tidy
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import HALF, INK, Looks, accuracy_axis, label_ends, labels_height, plt, step_axis
from evaluation.report.summary import headline


@figure("Accuracy over training", order=10)
def accuracy_by_dataset(experiment: Experiment, looks: Looks) -> Drawing | None:
    """The figure of the project: first the names, then the rule, then what the names leave behind."""
    curves = {name: experiment.curve(name) for name in experiment.datasets}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return None
    height = max(4.2, 1.4 + labels_height(map(looks.label, curves)))
    drawing, axes = plt.subplots(figsize=(HALF, height), layout="constrained")
    for index, (name, curve) in enumerate(curves.items()):
        draw_curve(axes, curve, beside=(index, len(curves)), **looks.line(name))
    accuracy_axis(axes, "exact match")
    axes.margins(x=0.02)
    draw_chance(axes, [experiment.chance(name) for name in curves])
    ends = [(float(curve["accuracy"].iloc[-1]), name) for name, curve in curves.items()]
    label_ends(axes, [(end, f"{looks.label(name)} {end:.0%}", looks.color(name)) for end, name in ends], size=10)
    step_axis(axes, steps_of(curves.values()))
    stories = experiment.stories
    if len(experiment.steps) > 1:
        draw_milestone(axes, "shortcut learned", "right", [story.shortcut_step for story in stories])
        draw_milestone(axes, "rule learned", "left", [story.rule_step for story in stories])
        _mark_scar(axes, experiment)
    clauses = headline(stories).rstrip(".").split("; ")
    axes.set_title("\n".join(textwrap.fill(clause, 44) for clause in clauses), pad=22, fontsize=10.5)
    caption = f"Exact match over training, by evaluation set. {intervals(experiment)}"
    if any(experiment.chance(name) is not None for name in curves):
        answers = "max_remove + 1" if experiment.about_nim else "possible"
        caption += f" The dashed line is the chance of a uniform guess among the {answers} answers."
    if len(experiment.steps) > 1:
        caption += coinciding((end, looks.name(name)) for end, name in ends)
        if any(story.shortcut_step is not None or story.rule_step is not None for story in stories):
            caption += " Dotted lines stand where the shortcut and the rule count as learned."
    return drawing, caption, tidy(curves.values())


def _mark_scar(axes: Axes, experiment: Experiment) -> None:
    """An arrow between the ends of counter_cheat and its twin, if every run has a scar and they are clearly apart."""
    stories = experiment.stories
    scars = [story.scar for story in stories if story.scar is not None and story.has_scar]
    twins = {story.scar_twin for story in stories}
    if len(scars) < len(stories) or min(scars) < 0.03 or len(twins) > 1:
        return
    splits = (twins.pop() or "", "counter_cheat")
    curves = [experiment.curve(experiment.runs[0].regime(split) or "") for split in splits]
    if curves[0].empty or curves[1].empty or curves[0]["step"].iloc[-1] != curves[1]["step"].iloc[-1]:
        return
    top, bottom = (float(curve["accuracy"].iloc[-1]) for curve in curves)
    x = ("axes fraction", "data")
    arrow = {"arrowstyle": "<->", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(0.99, top), xytext=(0.99, bottom), xycoords=x, textcoords=x, arrowprops=arrow)
    axes.annotate(
        f"scar {sum(scars) / len(scars):.2f}",
        xy=(0.99, bottom),
        xycoords=x,
        xytext=(0, -16),
        textcoords="offset points",
        ha="right",
        fontsize=9.5,
        color=INK,
    )
