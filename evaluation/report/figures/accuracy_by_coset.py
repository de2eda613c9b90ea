"""Partial knowledge: is the answer right modulo a divisor of the modulus?"""

from matplotlib.colors import to_hex

from evaluation.report.drawing import draw_curve, intervals, tidy
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, accuracy_axis, grid, label_ends, plt, step_axis


@figure("A part of the rule", order=40)
def accuracy_by_coset(experiment: Experiment, looks: Looks) -> Drawing | None:
    """A panel per modulus that has a proper divisor: `max_remove` + 1 in Nim."""
    rows = experiment.groups("coset").dropna(subset=["accuracy"])
    parts = rows["group"].str.extract(r"^((\w+)=(\d+)) mod (\d+)$")
    parts = parts.rename(columns={0: "panel", 1: "option", 2: "value", 3: "divisor"}).dropna()
    parts = parts.astype({"value": int, "divisor": int})
    parts["modulus"] = parts["value"] + (parts["option"] == "max_remove")
    proper = parts[parts["divisor"] < parts["modulus"]]
    if proper.empty:
        return None
    shown = rows.loc[proper.index]
    panels = sorted(dict.fromkeys(zip(proper["modulus"], proper["panel"], strict=True)))
    main = next(name for name in experiment.datasets if (shown["dataset"] == name).any())
    drawing, axes_of = grid(len(panels), width=3.1, height=2.8)
    colors, drawn = plt.get_cmap("viridis"), []
    for axes, (modulus, panel) in zip(axes_of, panels, strict=True):
        divisors = [divisor for divisor in range(2, modulus + 1) if modulus % divisor == 0]
        ends = []
        for index, divisor in enumerate(divisors):
            color = to_hex(colors(0.4 * index / max(1, len(divisors) - 1)))
            curve = experiment.curve(main, f"{panel} mod {divisor}", "coset")
            if len(curve):
                draw_curve(axes, curve, beside=(index, len(divisors)), color=color, marker="os^Dv"[index % 5])
                drawn.append(curve)
                axes.axhline(1 / divisor, color=color, linewidth=1, linestyle=(0, (5, 3)))
                ends.append((float(curve["accuracy"].iloc[-1]), f"mod {divisor}", color))
        accuracy_axis(axes, "right modulo d" if axes is axes_of[0] else "")
        label_ends(axes, ends, size=10)
        step_axis(axes, shown["step"])
        axes.set_title(panel.replace("=", " "))
    question = "is the answer right modulo each divisor d of the modulus?"
    if experiment.about_nim:
        question = "is the move right modulo each divisor d of max_remove + 1, taking the losing move as 0?"
    caption = (
        f"{looks.name(main)}: {question} "
        f"A line far above its own chance, 1 / d (dashed, same colour), while the next stays at its chance, is a "
        f"model that knows a part of the rule. {intervals(experiment)}"
    )
    return drawing, caption, tidy(drawn)
