"""What each layer would answer, over training: the right and the bound move by the model's own unembedding."""

from matplotlib.colors import to_hex

from evaluation.report.drawing import draw_curve, draw_milestone, intervals
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.heat import regime, turning_points
from evaluation.report.style import Looks, accuracy_axis, grid, label_ends, plt, step_axis

MOST = 6
"""Lines in a panel; of more layers, some are shown, the first and the last always."""


@figure("The answer layer by layer", order=130)
def lens(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Two panels, a line for each layer: the probability of the right move and of the bound one."""
    table = experiment.table("lens", ["quantity", "layer"]).rename(columns={"value": "accuracy"})
    name = regime(experiment, "counter_cheat")
    name = name if (table["dataset"] == name).any() else next(iter(table["dataset"]), None)
    table = table[table["dataset"] == name]
    panels = [(q, title) for q, title in TITLES.items() if (table["quantity"] == q).any()]
    if name is None or not panels:
        return None
    layers = sorted(int(layer) for layer in table["layer"].unique())
    shown = sorted({layers[round(index * (len(layers) - 1) / (MOST - 1))] for index in range(MOST)})
    drawing, axes_of = grid(len(panels), width=4.5, height=3.0)
    colors = plt.get_cmap("viridis")
    for axes, (quantity, title) in zip(axes_of, panels, strict=True):
        ends = []
        for layer in shown:
            color = to_hex(colors(0.85 * (1 - layer / max(layers[-1], 1))))
            curve = table[(table["quantity"] == quantity) & (table["layer"] == layer)]
            draw_curve(axes, curve, color=color, marker="o")
            ends.append((float(curve["accuracy"].iloc[-1]), f"layer {layer}", color))
        accuracy_axis(axes, "")
        label_ends(axes, ends, size=10)
        step_axis(axes, table["step"])
        draw_milestone(axes, "shortcut", "right", [story.shortcut_step for story in experiment.stories])
        draw_milestone(axes, "rule", "left", [story.rule_step for story in experiment.stories])
        axes.set_title(title, pad=20)
    (_, step), *_ = turning_points(experiment, [int(step) for step in table["step"].unique()])
    at = table[(table["step"] == step) & (table["quantity"] == panels[-1][0]) & table["layer"].isin(shown)]
    values = zip(at["accuracy"], at["layer"], strict=True)
    said = ", ".join(f"{value:.2f} at layer {layer}" for value, layer in values)
    bands = "Bands are 95% intervals of the mean over rows." if len(experiment.runs) == 1 else intervals(experiment)
    caption = (
        f"At step {step:,}, {panels[-1][1]} is {said}. The residual stream of each layer, read by the model's own "
        f"final norm and unembedding as if it were the last one's ({looks.label(name)}). {bands}"
    )
    return drawing, caption, table.rename(columns={"accuracy": "value"})


TITLES = {"p_right": "the right move's probability", "p_cheat": "the bound move's probability"}
