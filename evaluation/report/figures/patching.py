"""Heat maps: what hidden states exchanged between twins do to the bound move, by layer and position."""

import pandas as pd

from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.heat import draw_heat, regime, turning_points
from evaluation.report.style import FULL, HALF, Looks, plt

KINDS = {"restore": "bound names, neutral twin's states put in", "induce": "neutral names, bound twin's states put in"}
NONE = "none"


@figure("Where the shortcut travels", order=120)
def patching(experiment: Experiment, looks: Looks) -> Drawing | None:
    """The bound move's probability after a patch: a row of panels for each direction, a column for each checkpoint."""
    table = experiment.table("patch", ["kind", "quantity", "layer", "position"])
    table = table[(table["quantity"] == "p_cheat") & table["kind"].isin(KINDS)]
    name = regime(experiment, "counter_cheat")
    name = name if (table["dataset"] == name).any() else next(iter(table["dataset"]), None)
    table = table[table["dataset"] == name]
    if name is None or table.empty:
        return None
    shown = turning_points(experiment, [int(step) for step in table["step"].unique()])
    positions = [place for place in table["position"].unique() if place != NONE]
    layers = table["layer"].nunique()
    size = (FULL if len(shown) > 1 else HALF, 2 * (0.9 + 0.26 * min(layers, 24)) + 1.6)
    drawing, axes_of = plt.subplots(2, len(shown), figsize=size, layout="constrained", squeeze=False)
    for row, kind in enumerate(KINDS):
        for column, (label, step) in enumerate(shown):
            cells = table[(table["kind"] == kind) & (table["step"] == step)]
            plain = float(cells.loc[cells["position"] == NONE, "value"].iloc[0])
            axes = axes_of[row][column]
            draw_heat(axes, cells[cells["position"] != NONE], "value", positions, row == 1, column == 0)
            axes.set_title(f"{label}, step {step:,}\n{kind}: {plain:.0%} unpatched", fontsize=10)
    caption = (
        f"{_seen(table, shown[0][1])}The probability of the bound move in % ({looks.label(name)} and its neutral "
        "twins) when the hidden states of one layer and kind of position come from the twin. Restore: "
        f"{KINDS['restore']}; induce: {KINDS['induce']}. Layer 0 holds the embeddings."
    )
    return drawing, caption, table


def _seen(table: pd.DataFrame, step: int) -> str:
    """What restoring does at one step, in sentences: the names at layer 0, and the strongest position of each layer."""
    cells = table[(table["kind"] == "restore") & (table["step"] == step)].set_index(["layer", "position"])["value"]
    plain = float(cells.xs(NONE, level="position").iloc[0])
    twins = table[(table["kind"] == "induce") & (table["step"] == step) & (table["position"] == NONE)]["value"]
    neutral = float(twins.iloc[0])
    said = (
        f"At step {step:,} the bound move has a probability of {plain:.2f} under its names, {neutral:.2f} under others"
    )

    def undone(value: float) -> str:
        return (
            f"{value:.2f}, {(plain - value) / (plain - neutral):.0%} of the way" if plain > neutral else f"{value:.2f}"
        )

    if (0, "names") in cells.index:
        said += f"; the neutral twin's names at layer 0 take it to {undone(cells[0, 'names'])}"
    below = cells.drop(NONE, level="position")
    deeper = below[below.index.get_level_values("layer") > 0]
    if len(deeper):
        strongest = deeper.reset_index().iloc[int(deeper.to_numpy().argmin())]
        said += f", and of what is deeper '{strongest['position']}' at layer {strongest['layer']} does most"
        said += f" ({undone(strongest['value'])})"
    return said + ". "
