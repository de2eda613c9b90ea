"""Heat maps: what linear probes read from the hidden states, by layer and position, with chance taken off."""

import pandas as pd

from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.heat import draw_heat, regime, turning_points
from evaluation.report.style import FULL, HALF, Looks, plt

LABELS = {"bound move": "counter_cheat", "cheat bucket": "eval", "right move": "counter_cheat"}
"""The labels shown, and the split on which each is best told apart from the others: where the names lie, the bound move
is never the right one."""


@figure("What can be read inside", order=110)
def probing(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Accuracy of the probes above chance: a row of panels for each label, a column for each checkpoint."""
    table = experiment.table("probe", ["label", "layer", "position"], value="accuracy")
    rows = [(label, mine) for label, split in LABELS.items() if len(mine := _of(experiment, table, label, split))]
    if not rows:
        return None
    shown = turning_points(experiment, sorted({int(step) for _, mine in rows for step in mine["step"]}))
    positions = list(table["position"].unique())
    height = 0.9 + 0.26 * min(table["layer"].nunique(), 25)
    size = (FULL if len(shown) > 1 else HALF, len(rows) * height + 1.6)
    drawing, axes_of = plt.subplots(len(rows), len(shown), figsize=size, layout="constrained", squeeze=False)
    for row, (label, mine) in enumerate(rows):
        for column, (moment, step) in enumerate(shown):
            axes, cells = axes_of[row][column], mine[mine["step"] == step]
            cells = cells.assign(above=(cells["accuracy"] - cells["chance"]).clip(lower=0))
            draw_heat(axes, cells, "above", positions, row == len(rows) - 1, column == 0)
            chance = f" (chance {cells['chance'].mean():.0%})" if len(cells) else ""
            axes.set_title(f"{moment}, step {step:,}\n{label}{chance}", fontsize=10)
    right = _seen(*rows[-1], shown[-1][1]) if len(rows) > 1 else ""
    sets = dict.fromkeys(f"{label} on {looks.label(mine['dataset'].iloc[0])}" for label, mine in rows)
    caption = (
        f"{_seen(*rows[0], shown[0][1])}{right}How much better than chance linear probes on the residual stream are, "
        f"in percentage points ({', '.join(sets)}). Labels of the names are tested on pairs, those of the game on "
        "piles, that the probe has not seen. Layer 0 holds the embeddings, the highest what goes into the final norm."
    )
    return drawing, caption, pd.concat(mine for _, mine in rows)


def _of(experiment: Experiment, table: pd.DataFrame, label: str, split: str) -> pd.DataFrame:
    """The lines of a label on the dataset of a split, or on the first one that has it."""
    mine = table[table["label"] == label]
    name = regime(experiment, split)
    name = name if (mine["dataset"] == name).any() else next(iter(mine["dataset"]), None)
    return mine[mine["dataset"] == name]


def _seen(label: str, mine: pd.DataFrame, step: int) -> str:
    """Where a label is read best at one step, from the names and anywhere, from when on, and at the end."""
    cells = mine[(mine["step"] == step) & (mine["layer"] > 0)]
    best = cells.iloc[int(cells["accuracy"].to_numpy().argmax())]
    if best["low"] <= best["chance"]:
        return f"At step {step:,} the {label} cannot be read at any layer and position. "
    there = mine[(mine["layer"] == best["layer"]) & (mine["position"] == best["position"])]
    first, last = int(there[there["low"] > there["chance"]]["step"].iloc[0]), there.iloc[-1]
    said = f"At step {step:,} the {label} is read best at '{best['position']}', layer {int(best['layer'])}: "
    said += f"{best['accuracy']:.2f} where chance is {best['chance']:.2f}"
    names = cells[cells["position"].str.startswith("player_")]
    if label != "right move" and len(names) and not best["position"].startswith("player_"):
        name = names.iloc[int(names["accuracy"].to_numpy().argmax())]
        said += f" (of the names, at '{name['position']}', layer {int(name['layer'])}: {name['accuracy']:.2f})"
    if int(last["step"]) == step:
        return said + ". "
    said += f"; there it is above chance from step {first:,} on"
    return said + f", and at {last['accuracy']:.2f} at step {int(last['step']):,}. "
