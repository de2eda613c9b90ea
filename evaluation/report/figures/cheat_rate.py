"""How often a wrong bound move is played where one is offered."""

from evaluation.report.drawing import draw_chance, draw_curve, intervals, steps_of
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, accuracy_axis, label_ends, plt, step_axis


@figure("Following the names into a mistake", order=50)
def cheat_rate(experiment: Experiment, looks: Looks) -> Drawing | None:
    """How often a wrong bound move is played where one is offered."""
    curves = {name: experiment.curve(name, "cheat_rate") for name in experiment.datasets}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return None
    drawing, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    for name, curve in curves.items():
        draw_curve(axes, curve, **looks.line(name))
    accuracy_axis(axes, "plays the bound, wrong move")
    draw_chance(axes, [experiment.chance(name) for name in curves])
    ends = [(float(curve["accuracy"].iloc[-1]), name) for name, curve in curves.items()]
    label_ends(axes, [(end, f"{looks.label(name)} {end:.0%}", looks.color(name)) for end, name in ends])
    step_axis(axes, steps_of(curves.values()))
    return drawing, (
        "How often the model plays the move that the names are bound to, where that move is wrong: one is a model that "
        f"only reads the names. {intervals(experiment)}"
    )
