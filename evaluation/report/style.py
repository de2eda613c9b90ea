"""How every figure looks: one colour per regime, readable type, steps spaced as the checkpoints are, direct labels."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from evaluation.report.scored_run import recipe_of, split_of
from nim_dataset.files import written_whole

INK, MUTED, GRID = "#1a1a1a", "#595959", "#dedede"

# Chosen so that every pair stays apart for the three kinds of colour blindness (a test simulates them), and so that
# each is dark enough on white to be read as text. Dashes and markers say the same once more.
LOOKS: dict[str, tuple[str, str, str]] = {
    "eval": ("#1a1a1a", "o", "-"),
    "cheat_consistent": ("#c05000", "^", "-"),
    "counter_cheat": ("#8f1d6e", "v", "-"),
    "neutral": ("#0072d6", "s", "-"),
    "unseen_names": ("#008558", "D", "-"),
    "train": ("#6a5d8f", "X", (0, (4, 2))),  # type: ignore[dict-item]
    "counter_neutral": ("#5800e8", "P", "-"),
}
CHEAT, NEUTRAL = LOOKS["cheat_consistent"][0], LOOKS["neutral"][0]

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.dpi": 160,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and weighs little
}


class Looks:
    """Colour, marker and dash for each dataset of a page: the split decides; datasets without one take what is left.

    When several recipes are on the page, those after the first keep the split's colour and are dotted.
    """

    def __init__(self, datasets: Iterable[str]):
        self.datasets = list(dict.fromkeys(datasets))
        recipes = dict.fromkeys(recipe_of(name) for name in self.datasets if split_of(name) in LOOKS)
        self.first_recipe = next(iter(recipes), "")
        self.many_recipes = len(recipes) > 1
        used = {split_of(name) for name in self.datasets}
        spare = [look for split, look in LOOKS.items() if split not in used] or list(LOOKS.values())
        others = [name for name in self.datasets if split_of(name) not in LOOKS]
        self.other = {name: spare[index % len(spare)] for index, name in enumerate(others)}

    def line(self, dataset: str) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        color, marker, dash = self.other.get(dataset) or LOOKS[split_of(dataset)]
        if dataset not in self.other and recipe_of(dataset) != self.first_recipe:
            dash = (0, (1, 1.5))  # type: ignore[assignment]
        return {"color": color, "marker": marker, "linestyle": dash}

    def color(self, dataset: str) -> str:
        return str(self.line(dataset)["color"])

    def label(self, dataset: str) -> str:
        """The split alone while there is one recipe."""
        return dataset if dataset in self.other or self.many_recipes else split_of(dataset)


def step_axis(axes: Axes, steps: Iterable[int], label: bool = True) -> None:
    """Scales the x axis as the checkpoints are spaced (logarithmic when that grows), with ticks at real checkpoints.

    On a logarithmic axis step 0 stands before the first step by as much as checkpoints are apart, behind a break.
    """
    ordered = np.unique(np.asarray(list(steps), dtype=float))
    positive = ordered[ordered > 0]
    gaps = np.diff(ordered)
    logarithmic = len(positive) >= 4 and positive[-1] / positive[0] >= 8 and gaps.max() >= 2.5 * gaps.min()
    if logarithmic and ordered[0] > 0:
        axes.set_xscale("log")
    elif logarithmic:
        decades = np.median(np.diff(np.log10(positive)))
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.9 * decades)  # 1 would be 1/0.9 decades
        draw_break(axes, positive[0] / 2)
    scale = axes.transScale.transform
    place = scale(np.column_stack([ordered, np.ones_like(ordered)]))[:, 0]
    span = place[-1] - place[0] if len(ordered) > 1 else 1.0
    limits = np.array([place[0] - 0.03 * span, place[-1] + 0.03 * span])
    axes.set_xlim(*axes.transScale.inverted().transform(np.column_stack([limits, [1, 1]]))[:, 0])
    width = axes.get_window_extent().width / axes.figure.dpi  # inches, before labels take their part
    room = span * 0.48 / max(width, 0.5)
    ticks = [len(ordered) - 1]  # the last step is always named, then the first; the others as far as there is room
    for index in range(len(ordered) - 2, -1, -1):
        if place[ticks[-1]] - place[index] >= room and (index == 0 or place[index] - place[0] >= room):
            ticks.append(index)
    axes.xaxis.set_major_locator(FixedLocator(sorted(float(ordered[index]) for index in ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_step(value)))
    if label:
        axes.set_xlabel("training step" + (" (log scale)" if logarithmic else ""))


def draw_break(axes: Axes, step: float) -> None:
    """Two strokes across the x axis: what is left and right of them is not on one scale."""
    axes.annotate(
        "//",
        xy=(step, 0),
        xycoords=axes.get_xaxis_transform(),
        ha="center",
        va="center",
        color=MUTED,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
        annotation_clip=False,
    )


def short_step(step: float) -> str:
    """`950`, `15k`, `2.5k`, `1.2M`."""
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if step >= size:
            size = 1e3 if unit == "k" else size
            return f"{step / size:.3g}{unit}"
    return f"{step:g}"


def accuracy_axis(axes: Axes, label: str = "accuracy") -> None:
    axes.set_ylim(-0.02, 1.03)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    if label:
        axes.set_ylabel(label)


def label_ends(axes: Axes, ends: list[tuple[float, str, str]], size: float = 11, gap: float = 0.062) -> None:
    """Names lines at their right end instead of in a legend; `ends` holds (height at the end, text, colour).

    Labels that would overlap are pushed apart, and a thin line leads each back to its own end. `gap` is the least
    distance between two labels as a share of the height of the axes.
    """
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end[0])
    heights = [(value - low) / (high - low) for value, _, _ in ordered]
    placed = _spread(heights, gap, top=0.98)
    for (_, text, color), height, place in zip(ordered, heights, placed, strict=True):
        axes.annotate(
            text,
            xy=(1, height),
            xycoords="axes fraction",
            xytext=(1.045, place),
            textcoords="axes fraction",
            color=color,
            fontsize=size,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.8, "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5)},
        )


def _spread(heights: list[float], gap: float, top: float) -> list[float]:
    """The nearest places to `heights` (ascending) that are `gap` apart and end at `top` at most."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    limit = top
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def grid(panels: int, columns: int = 3, width: float = 3.0, height: float = 2.6, **options: Any) -> tuple[Figure, list]:
    """A figure of `panels` axes in rows of at most `columns`; width and height of one panel in inches."""
    columns = 2 if panels == 4 else min(panels, columns)
    rows = -(-panels // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(width * columns + 0.4, 4.2), height * rows + 0.7),
        layout="constrained",
        squeeze=False,
        **options,
    )
    for extra in axes.flat[panels:]:
        extra.remove()
    return figure, list(axes.flat[:panels])


def top_legend(figure: Figure, handles: Iterable[Artist]) -> None:
    """One legend above all panels, in as many columns as fit."""
    handles = list(handles)
    widest = max(len(str(handle.get_label())) for handle in handles) * 0.085 + 0.65  # inches
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Writes `name.png` and `name.svg`; returns the SVG as it goes into a page."""
    # Two drawings in all: `savefig` would repeat the layout, most of the work, for each file and once more before.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    with written_whole(folder / f"{name}.png") as file:
        imsave(file, np.asarray(canvas.buffer_rgba()), format="png", dpi=figure.dpi)
    figure.set_layout_engine("none")
    with written_whole(folder / f"{name}.svg") as file, matplotlib.rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    plt.close(figure)
    return inline_svg((folder / f"{name}.svg").read_text(encoding="utf-8"))


def inline_svg(text: str) -> str:
    """The `<svg>` element alone, without namespaces, metadata and the ids that would clash with other figures'."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(<g) id="[^"]*"', r"\1", text)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    return re.sub(r"\s*\n\s*", "\n", text)
