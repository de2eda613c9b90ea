"""Heat maps by layer and position, and the checkpoints that they show."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from evaluation.report.experiment import Experiment
from evaluation.report.scored_run import split_of
from evaluation.report.style import INK

SWITCHED = 0.5
"""The switch from names to rule is the first checkpoint after the shortcut with `counter_cheat` this often right."""


def regime(experiment: Experiment, split: str) -> str | None:
    """The dataset that stands for a split."""
    return next((name for name in experiment.datasets if split_of(name) == split), None)


def turning_points(experiment: Experiment, steps: list[int]) -> list[tuple[str, int]]:
    """Label and step of the checkpoints to show, of those at which there is something: where the names decide most,
    the switch to the rule, and the last one; without the regimes that tell, the first, the middle and the last one."""
    steps = sorted(steps)
    consistent, counter = (
        experiment.curve(regime(experiment, split) or "").set_index("step")["accuracy"]
        for split in ("cheat_consistent", "counter_cheat")
    )
    gap = (consistent - counter).dropna()
    gap = gap[gap.index.isin(steps)]
    if gap.empty:
        chosen = [("first", steps[0]), ("half-way", steps[len(steps) // 2]), ("last", steps[-1])]
    else:
        purest = int(gap.index[int(gap.to_numpy().argmax())])
        later = [step for step in steps if step > purest and counter.get(step, 0) >= SWITCHED]
        chosen = [("shortcut", purest), *(("switch", step) for step in later[:1]), ("last", steps[-1])]
    return list({step: (label, step) for label, step in reversed(chosen)}.values())[::-1]


def draw_heat(axes: Axes, cells: pd.DataFrame, value: str, positions: list[str], label_x: bool, label_y: bool) -> None:
    """Layers upwards, positions in the order of the text; each cell with its value in percent. Values lie in 0 to 1."""
    layers = sorted(int(layer) for layer in cells["layer"].unique())
    table = cells.pivot_table(index="layer", columns="position", values=value).reindex(index=layers, columns=positions)
    values_LP = table.to_numpy(dtype=float)
    axes.pcolormesh(np.ma.masked_invalid(values_LP), cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    if len(layers) <= 8:
        for (layer, place), share in np.ndenumerate(values_LP):
            if not np.isnan(share):
                color = "white" if share > 0.55 else INK
                text = f"{100 * share:.0f}"
                cell = axes.text(place + 0.5, layer + 0.5, text, ha="center", va="center", fontsize=7.5, color=color)
                cell.set_in_layout(False)
    shown = layers if len(layers) <= 8 else layers[:: -(-len(layers) // 8)]
    axes.set_yticks([layers.index(layer) + 0.5 for layer in shown], [str(layer) for layer in shown])
    axes.set_xticks(np.arange(len(positions)) + 0.5, positions if label_x else [], rotation=90, fontsize=8.5)
    axes.set_ylabel("layer" if label_y else "")
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
