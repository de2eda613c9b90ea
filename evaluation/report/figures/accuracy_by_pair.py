"""Exact match by pair of names, at the last checkpoint and where the shortcut was learned."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.moments import Moment, moments
from evaluation.report.scored_run import split_of
from evaluation.report.style import CHEAT, HALF, INK, MUTED, NEUTRAL, Looks, grid, top_legend

MOST_PAIRS = 64
"""More name pairs than this fill a page and say nothing; runs whose names differ may have them together."""


@figure("Accuracy by name pair", order=60)
def accuracy_by_pair(experiment: Experiment, looks: Looks) -> Drawing | None:
    """One line per name pair: where it stands at the last checkpoint, and where it stood with the shortcut."""
    rows = experiment.groups("pair").dropna(subset=["accuracy"])
    scored = [name for name in experiment.datasets if (rows["dataset"] == name).any()]
    # The most telling two: everything seen in training, and the pairs that lie.
    names = [name for name in scored if split_of(name) in ("eval", "counter_cheat")][:2] or scored[:2]
    shown = moments(experiment)
    tables = [_pair_table(experiment, rows[rows["dataset"] == name], shown, name) for name in names]
    if not names or not 2 <= max(len(table) for table in tables) <= MOST_PAIRS:
        return None
    height = max(1.6, 0.2 * max(len(table) for table in tables))
    drawing, panels = grid(len(names), columns=2, width=HALF, height=height)
    for axes, name, table in zip(panels, names, tables, strict=True):
        _draw_pairs(axes, table)
        chance = experiment.chance(name)
        if chance is not None:
            axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
        axes.set_title(looks.label(name))
        axes.set_xlabel("exact match")
    handles = [
        Line2D([], [], color=CHEAT, marker="^", linestyle="-", label="bound to a move"),
        Line2D([], [], color=NEUTRAL, marker="s", linestyle="-", label="neutral"),
    ]
    if not any(table["bucket"].notna().any() for table in tables):
        handles = [Line2D([], [], color=INK, marker="o", linestyle="-", label="accuracy")]
    if any("before" in table for table in tables):
        handles.append(
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="", label=shown[0].label)
        )
    top_legend(drawing, handles)
    data = pd.concat([table.assign(dataset=name) for name, table in zip(names, tables, strict=True)])
    return drawing, _caption(experiment, shown, data), _tidy(data, shown)


def _caption(experiment: Experiment, shown: list[Moment], data: pd.DataFrame) -> str:
    """What the marks are, of those that are drawn."""
    caption = f"Exact match by pair of names at the {shown[-1].label}"
    if data["low"].notna().any():
        bands = "the lowest and the highest run" if len(experiment.runs) > 1 else "95% Wilson intervals"
        caption += f", with bars for {bands}"
    if "before" in data and data["before"].notna().any():
        caption += f"; hollow marks: the {shown[0].label}"
    caption += "."
    if data["cheat_move"].notna().any():
        caption += " The move in brackets is the one the pair is bound to."
    if any(experiment.chance(name) is not None for name in data["dataset"].unique()):
        caption += " The dashed line is chance."
    return caption


def _tidy(data: pd.DataFrame, shown: list[Moment]) -> pd.DataFrame:
    """A line per dataset, pair and moment."""
    columns = ["dataset", "name", "bucket", "cheat_move"]
    last = data.assign(moment=shown[-1].label)[[*columns, "moment", "accuracy", "low", "high"]]
    if "before" not in data:
        return last.rename(columns={"name": "pair"})
    before = data[columns].assign(moment=shown[0].label, accuracy=data["before"])
    return pd.concat([last, before.dropna(subset=["accuracy"])]).rename(columns={"name": "pair"})


def _pair_table(experiment: Experiment, rows: pd.DataFrame, shown: list[Moment], dataset: str) -> pd.DataFrame:
    """One line per pair (the index) with accuracy, low, high, before (at the earlier moment), bucket and cheat_move."""
    table = rows.drop_duplicates("group", keep="last").set_index("group")[["accuracy", "low", "high"]]
    if len(shown) > 1:
        counts: dict[str, list[float]] = {}
        for run, step in shown[0].steps:
            pairs = run.groups("pair")
            for _, row in pairs[(pairs["dataset"] == dataset) & (pairs["step"] == step)].iterrows():
                counts.setdefault(row["group"], []).append(row["accuracy"])
        table["before"] = pd.Series({group: float(np.mean(values)) for group, values in counts.items()}, dtype=float)
    known: dict[str, tuple[str | None, int | None]] = {}
    for run, step in shown[-1].steps:
        known.update(run.predictions(step, dataset).pairs)
    table["bucket"] = [known.get(pair, (None, None))[0] for pair in table.index]
    table["cheat_move"] = [known.get(pair, (None, None))[1] for pair in table.index]
    table["name"] = table.index
    return table.sort_values(["bucket", "cheat_move", "name"], ascending=False, na_position="first")


def _draw_pairs(axes: Axes, table: pd.DataFrame) -> None:
    places = np.arange(len(table))
    for bucket, color, marker in (("cheat", CHEAT, "^"), ("neutral", NEUTRAL, "s"), (None, INK, "o")):
        mine = (table["bucket"] == bucket) if bucket else table["bucket"].isna()
        part, where = table[mine], places[mine.to_numpy()]
        if part.empty:
            continue
        axes.hlines(where, part["low"].to_numpy(), part["high"].to_numpy(), color=color, linewidth=1.6, alpha=0.55)
        axes.plot(part["accuracy"], where, color=color, marker=marker, linestyle="", markersize=5, zorder=4)
        if "before" in part:
            hollow: dict[str, Any] = {
                "color": color,
                "marker": marker,
                "linestyle": "",
                "markersize": 7.5,
                "mfc": "white",
            }
            axes.plot(part["before"], where, **hollow, zorder=3)  # around a filled mark at the same place
    bound = [f" [{move:.0f}]" if pd.notna(move) else "" for move in table["cheat_move"]]
    axes.set_yticks(places, [f"{pair}{move}" for pair, move in zip(table.index, bound, strict=True)], fontsize=9)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="x")
