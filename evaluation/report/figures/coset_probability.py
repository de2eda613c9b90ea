"""Partial knowledge in probabilities: how much goes to answers that are right modulo a divisor of the modulus?"""

import pandas as pd
from matplotlib.colors import to_hex

from evaluation.report.drawing import draw_curve
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, accuracy_axis, grid, label_ends, plt, step_axis


@figure("A part of the rule, in probabilities", order=41)
def coset_probability(experiment: Experiment, looks: Looks) -> Drawing | None:
    """A panel per modulus that has a proper divisor, a line per divisor."""
    table = experiment.table("candidates", ["quantity", "group"]).rename(columns={"value": "accuracy"})
    table = table[table["quantity"] == "agreement"]
    parts = table["group"].str.extract(r"^((\w+)=(\d+)) mod (\d+)$")
    table = table.assign(panel=parts[0], divisor=parts[3].astype(float))
    composite = table.groupby("panel")["divisor"].nunique()
    panels = sorted(composite[composite > 1].index, key=lambda panel: int(panel.partition("=")[2]))
    if not panels:
        return None
    table = table[table["panel"].isin(panels)]
    main = next(name for name in experiment.datasets if (table["dataset"] == name).any())
    table = table[table["dataset"] == main]
    panels = [panel for panel in panels if (table["panel"] == panel).any()]
    drawing, axes_of = grid(len(panels), width=3.1, height=2.8)
    colors = plt.get_cmap("viridis")
    for axes, panel in zip(axes_of, panels, strict=True):
        curves = [curve for _, curve in table[table["panel"] == panel].groupby("divisor")]
        ends = []
        for index, curve in enumerate(curves):
            divisor = int(curve["divisor"].iloc[0])
            color = to_hex(colors(0.4 * index / max(1, len(curves) - 1)))
            draw_curve(axes, curve, color=color, marker="os^Dv"[index % 5])
            axes.axhline(1 / divisor, color=color, linewidth=1, linestyle=(0, (5, 3)))
            ends.append((float(curve["accuracy"].iloc[-1]), f"mod {divisor}", color))
        accuracy_axis(axes, "probability" if axes is axes_of[0] else "")
        label_ends(axes, ends, size=10)
        step_axis(axes, table["step"])
        axes.set_title(panel.replace("=", " "))
    caption = (
        f"{seen(table)} {looks.label(main)}: the probability of the answers that are right modulo each divisor d of "
        "the number of answers. A line far above its own chance, 1 / d (dashed, same colour), while the next stays at "
        "its chance, is a model that knows a part of the rule; probabilities show it before exact match does."
    )
    columns = ["dataset", "group", "step", "n", "accuracy", "low", "high"]
    return drawing, caption, table[columns].rename(columns={"accuracy": "value"})


def seen(table: pd.DataFrame) -> str:
    """Where a proper divisor's line is furthest ahead of the whole modulus, each above its own chance."""
    table = table.assign(above=table["accuracy"] - 1 / table["divisor"])
    whole = table.groupby("panel")["divisor"].transform("max")
    at = ["panel", "step"]
    parts = table[table["divisor"] < whole].merge(table[table["divisor"] == whole], on=at, suffixes=("", "_whole"))
    ahead = (parts["above"] - parts["above_whole"]).where(parts["low"] > 1 / parts["divisor"])
    if not (ahead > 0).any():
        return "At no step does a part of the rule stand out from the whole."
    most = parts.to_dict("records")[int(ahead.argmax())]
    divisor, modulus = int(most["divisor"]), int(most["divisor_whole"])
    return (
        f"The part stands out most at step {int(most['step'])}: right modulo {divisor} with {most['accuracy']:.2f} "
        f"(chance {1 / divisor:.2f}), modulo {modulus} with {most['accuracy_whole']:.2f} (chance {1 / modulus:.2f})."
    )
