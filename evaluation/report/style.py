"""How every figure looks: one colour per regime, readable type, steps spaced as the checkpoints are, direct labels."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, NullLocator, PercentFormatter

from evaluation.report.labels import fold_all, longest_line
from evaluation.report.scored_run import recipe_of, split_of

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
DASHES: tuple[Any, ...] = ((0, (4, 2)), (0, (1, 1.5)), (0, (7, 2, 1, 2)))
"""What tells datasets apart that share colour and marker."""
CHEAT, NEUTRAL = LOOKS["cheat_consistent"][0], LOOKS["neutral"][0]

HALF, FULL = 4.6, 9.5
"""Widths of a figure in inches: of one of a page's two columns (which a phone shows whole), and of both."""

# The first of these that is installed draws what DejaVu Sans has no glyphs for; a browser finds fonts by itself.
CJK = [
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
]

INSTALLED = [name for name in CJK if name in fontManager.get_font_names()]

RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", *INSTALLED],
    "text.parse_math": False,  # names may hold dollar signs
    "font.size": 11,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it is anyway: to look for ticks above the axes takes a tenth of a drawing
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
    """Colour, marker, dash and label of each dataset of a page, or of several experiments side by side.

    The split decides; datasets without one take what is left. When one experiment has several recipes, labels name the
    recipe, and those after the first differ by their dash. No two datasets with different labels look the same.
    """

    def __init__(self, *experiments: Iterable[str]):
        groups = [list(dict.fromkeys(datasets)) for datasets in experiments]
        self.datasets = list(dict.fromkeys(name for group in groups for name in group))
        self.many_recipes = any(len(_recipes(group)) > 1 for group in groups)
        taken: dict[str, dict[str, Any]] = {}  # by name
        free = [split for split in LOOKS if split not in map(split_of, self.datasets)] or list(LOOKS)
        turns = dict.fromkeys(LOOKS, -1)  # how many datasets have this split's colour and marker already
        others = 0
        for dataset in self.datasets:
            if self.name(dataset) in taken:
                continue
            split = split_of(dataset)
            if split not in LOOKS:
                split, others = free[others % len(free)], others + 1
            turns[split] += 1
            color, marker, dash = LOOKS[split]
            look: dict[str, Any] = {"color": color, "marker": marker, "linestyle": dash}
            if turns[split]:
                again, hollow = (turns[split] - 1) % len(DASHES), (turns[split] - 1) // len(DASHES)
                look["linestyle"] = DASHES[again] if dash != DASHES[again] else "-"
                if hollow:  # the third round and on: hollow marks, of growing size
                    look |= {"markerfacecolor": "white", "markersize": 4 + 2 * hollow}
            taken[self.name(dataset)] = look
        self._looks, self._labels = taken, fold_all(map(self.name, self.datasets))

    def line(self, dataset: str) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        return self._looks[self.name(dataset)]

    def color(self, dataset: str) -> str:
        return str(self.line(dataset)["color"])

    def name(self, dataset: str) -> str:
        """The split alone while there is one recipe, or else the dataset's name: for words and tables."""
        return dataset if self.many_recipes or split_of(dataset) not in LOOKS else split_of(dataset)

    def label(self, dataset: str) -> str:
        """`name`, folded to fit into a figure."""
        return self._labels[self.name(dataset)]


def _recipes(datasets: Iterable[str]) -> set[str]:
    return {recipe_of(name) for name in datasets if split_of(name) in LOOKS}


class StepLocator(Locator):
    """Ticks at real checkpoints: the last one, then the first, and of the others as many as have room beside their
    neighbours' labels in the axes as wide as they are drawn."""

    def __init__(self, axes: Axes, steps: np.ndarray):
        self.axes, self.steps = axes, steps

    def __call__(self) -> list[float]:
        scaled = self.axes.transData.transform(np.column_stack([self.steps, np.ones_like(self.steps)]))[:, 0]
        letter = 0.62 * 10 * self.axes.figure.dpi / 72  # pixels, at a label of 10 points
        halves = [letter * (len(short_step(step)) + 1) / 2 for step in self.steps]
        ticks = [len(self.steps) - 1]
        for index in range(len(self.steps) - 2, -1, -1):
            room_for_first = index == 0 or scaled[index] - scaled[0] >= halves[index] + halves[0]
            if room_for_first and scaled[ticks[-1]] - scaled[index] >= halves[ticks[-1]] + halves[index]:
                ticks.append(index)
        return [float(self.steps[index]) for index in sorted(ticks)]

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return self()


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
    margin = 0.03 if len(ordered) > 1 else 0.5
    limits = np.array([place[0] - margin * span, place[-1] + margin * span])
    axes.set_xlim(*axes.transScale.inverted().transform(np.column_stack([limits, [1, 1]]))[:, 0])
    axes.xaxis.set_major_locator(StepLocator(axes, ordered))
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


def label_ends(axes: Axes, ends: list[tuple[float, str, str]], size: float = 11) -> None:
    """Names lines at their right end instead of in a legend; `ends` holds (height at the end, text, colour).

    Labels that would overlap are pushed apart, and a thin line leads each back to its own end.
    """
    low, high = axes.get_ylim()
    ordered = sorted(ends, key=lambda end: end[0])
    line = LINE * size / 72 / (axes.get_window_extent().height / axes.figure.dpi)  # a share of the height of the axes
    heights = [(value - low) / (high - low) for value, _, _ in ordered]
    placed = _spread(heights, [line * (text.count("\n") + 1) for _, text, _ in ordered], top=1 - line / 4)
    for (_, text, color), height, place in zip(ordered, heights, placed, strict=True):
        axes.annotate(
            text,
            xy=(1, height),
            xycoords="axes fraction",
            xytext=(1.045, place),
            textcoords="axes fraction",
            color=color,
            fontsize=size,
            linespacing=1.0,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.8, "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5)},
        )


LINE = 1.35
"""Height of a line of text, in font sizes."""


def labels_height(labels: Iterable[str], size: float = 11) -> float:
    """Inches that `label_ends` needs for these labels one above the other."""
    return sum(label.count("\n") + 1 for label in labels) * LINE * size / 72


def _spread(heights: list[float], room: list[float], top: float) -> list[float]:
    """The nearest places to `heights` (ascending), each with so much room, that end at `top` at most."""
    apart = [(one + other) / 2 for one, other in pairwise(room)]
    placed: list[float] = []
    for index, height in enumerate(heights):
        placed.append(max(height, placed[-1] + apart[index - 1]) if placed else height)
    limit = top - room[-1] / 2 if room else top
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - (apart[index - 1] if index else 0)
    return placed


def grid(panels: int, columns: int = 3, width: float = 3.0, height: float = 2.6, **options: Any) -> tuple[Figure, list]:
    """A figure of `panels` axes in rows of at most `columns`, as wide as a column of the page or as both; `width` is
    the least that a panel needs, `height` that of a row, in inches."""
    columns = 2 if panels == 4 and columns > 1 else min(panels, columns)
    columns = min(columns, max(1, int(FULL / width)))
    rows = -(-panels // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(HALF if width * columns <= HALF else FULL, height * rows + 0.7),
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
    widest = longest_line(str(handle.get_label()) for handle in handles) * 0.085 + 0.65  # inches
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
