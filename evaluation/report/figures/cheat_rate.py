"""How often a wrong bound move is played where one is offered."""

from evaluation.report.drawing import coinciding, draw_chance, draw_curve, intervals, steps_of, tidy
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import HALF, Looks, accuracy_axis, label_ends, labels_height, plt, step_axis


@figure("Following the names into a mistake", order=50)
def cheat_rate(experiment: Experiment, looks: Looks) -> Drawing | None:
    """How often a wrong bound move is played where one is offered."""
    curves = {name: experiment.curve(name, "cheat_rate") for name in experiment.datasets}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return None
    drawing, axes = plt.subplots(
        figsize=(HALF, max(3.6, 1 + labels_height(map(looks.label, curves)))), layout="constrained"
    )
    for index, (name, curve) in enumerate(curves.items()):
        draw_curve(axes, curve, beside=(index, len(curves)), **looks.line(name))
    accuracy_axis(axes, "plays the bound, wrong move")
    draw_chance(axes, [experiment.chance(name) for name in curves])
    ends = [(float(curve["accuracy"].iloc[-1]), name) for name, curve in curves.items()]
    label_ends(axes, [(end, f"{looks.label(name)} {end:.0%}", looks.color(name)) for end, name in ends], size=10)
    step_axis(axes, steps_of(curves.values()))
    caption = (
        "How often the model plays the move that the names are bound to, where that move is wrong: one is a model that "
        f"only reads the names. {intervals(experiment)}"
    )
    if len(experiment.steps) > 1:
        caption += coinciding((end, looks.name(name)) for end, name in ends)
    return drawing, caption, tidy(curves.values())
