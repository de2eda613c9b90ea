"""The figures of what was answered: by name pair, gold by predicted move, kinds of mistakes, distribution of answers.

They show two checkpoints side by side where they can: the one at which the shortcut was learned, and the last.
"""

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from evaluation.report.experiment import Experiment, split_of
from evaluation.report.figures.over_steps import Drawing, draw_curve, intervals, shared_legend
from evaluation.report.story import Moment, moments
from evaluation.report.style import CHEAT, INK, MUTED, NEUTRAL, Looks, accuracy_axis, grid, step_axis, top_legend

TELLING = ("eval", "cheat_consistent", "counter_cheat", "unseen_names")
"""The splits shown where there is room for four sets."""

MOST_PAIRS = 64
"""More name pairs than this fill a page and say nothing; runs whose names differ may have them together."""


def _telling(datasets: list[str], most: int = 4) -> list[str]:
    """At most `most` datasets, the telling splits first, in their own order."""
    ordered = sorted(datasets, key=lambda name: split_of(name) not in TELLING)[:most]
    return [name for name in datasets if name in ordered]


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
    height = max(1.6, 0.19 * max(len(table) for table in tables))
    figure, panels = grid(len(names), columns=2, width=5.2, height=height)
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
    top_legend(figure, handles)
    bands = "the lowest and the highest run" if len(experiment.runs) > 1 else "95% Wilson intervals"
    return figure, (
        f"Exact match by pair of names: filled marks are the {shown[-1].label}, with bars for {bands}; hollow marks, "
        f"where drawn, the {shown[0].label}. The move in brackets is the one the pair is bound to; dashed is chance."
    )


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
    for prediction in (row for run, step in shown[-1].steps for row in run.predictions(step, dataset)):
        pair = f"{prediction.get('player_one')}-{prediction.get('player_two')}"
        known[pair] = (prediction.get("bucket"), prediction.get("cheat_move"))
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
    axes.set_yticks(places, [f"{pair}{move}" for pair, move in zip(table.index, bound, strict=True)], fontsize=8.5)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.grid(axis="x")


def gold_by_predicted(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Heat maps: of the games with each right answer, where the predictions go."""
    panels: list[tuple[str, Moment, Counter[tuple[int, int | None]]]] = []
    for moment in moments(experiment):
        for name in _telling(experiment.datasets):
            answers = moment.answers(name)
            if answers:
                panels.append((name, moment, answers))
    if not panels:
        return None
    columns = max(1, len({name for name, _, _ in panels}))
    moves = sorted({gold for _, _, answers in panels for gold, _ in answers} | {-1})
    figure, axes_of = grid(len(panels), columns=columns, width=2.75, height=2.9)
    for axes, (name, moment, answers) in zip(axes_of, panels, strict=True):
        _draw_heat_map(axes, answers, moves)
        axes.set_title(f"{looks.label(name)}\n{moment.label}", fontsize=10.5)
        axes.set_xlabel("predicted move")
        axes.set_ylabel("right move")
    return figure, (
        "Where the answers go: each row holds the games with one right move and sums to 100%; the diagonal is right. "
        "-1 means that no move wins; ? is an answer without such a move."
    )


def _draw_heat_map(axes: Axes, answers: Counter[tuple[int, int | None]], moves: list[int]) -> None:
    golds = [move for move in moves if any(gold == move for gold, _ in answers)]
    columns: list[int | None] = [*moves, None]
    counts = np.zeros((len(golds), len(columns)))
    for (gold, predicted), count in answers.items():
        column = columns.index(predicted) if predicted in moves else len(moves)
        counts[golds.index(gold), column] += count
    if not counts[:, -1].any():
        counts, columns = counts[:, :-1], columns[:-1]
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    if len(moves) <= 8:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                color = "white" if share > 0.55 else INK
                axes.text(
                    column + 0.5, row + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5, color=color
                )
    axes.set_xticks(np.arange(len(columns)) + 0.5, ["?" if move is None else str(move) for move in columns])
    axes.set_yticks(np.arange(len(golds)) + 0.5, [str(move) for move in golds])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()


ANSWER = re.compile(r"\s*([^\s\d-]*)\s*(-?\d+)?\s*([^\s.,]*)")
KINDS = (("verb", "#c05000", "^"), ("number", "#1a1a1a", "o"), ("noun", "#0072d6", "s"))


def mistake_kinds(gold: str, generated: str) -> list[str]:
    """Which of `verb`, `number` and `noun` a wrong answer gets wrong; what is missing is wrong.

    A noun that follows a wrong number is compared without its plural s: "take 1 coin" for "take 3 coins" is a mistake
    of the number alone.
    """
    verb, number, noun = _parts(generated)
    gold_verb, gold_number, gold_noun = _parts(gold)
    if number != gold_number:
        noun, gold_noun = noun.rstrip("s"), gold_noun.rstrip("s")
    wrong = {"verb": verb != gold_verb, "number": number != gold_number, "noun": noun != gold_noun}
    return [kind for kind, _, _ in KINDS if wrong[kind]]


def _parts(text: str) -> tuple[str, str, str]:
    found = ANSWER.match(text.lower())
    return (found[1], found[2] or "", found[3]) if found else ("", "", "")


def mistakes_by_kind(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Share of all rows whose answer has a wrong verb, number or noun, over training."""
    shares = _kind_shares(experiment)
    if shares.empty or not (shares["accuracy"] > 0).any():
        return None
    names = [name for name in experiment.datasets if (shares["dataset"] == name).any()][:6]
    figure, panels = grid(len(names), width=5.6 if len(names) == 1 else 3.1, height=3.2 if len(names) == 1 else 2.5)
    for axes, name in zip(panels, names, strict=True):
        mine = shares[shares["dataset"] == name]
        for kind, color, marker in KINDS:
            draw_curve(axes, mine[mine["kind"] == kind], color=color, marker=marker, label=f"wrong {kind}")
        accuracy_axis(axes, "share of all answers" if axes is panels[0] else "")
        step_axis(axes, mine["step"])
        axes.set_title(looks.label(name))
    shared_legend(figure, panels)
    bands = f" {intervals(experiment)}" if len(experiment.runs) > 1 else ""
    return figure, (
        "Mistakes by kind: the share of all answers with a wrong verb, number or noun (an answer may have several; "
        f"what is missing counts as wrong; a plural that follows a wrong number does not).{bands}"
    )


def _kind_shares(experiment: Experiment) -> pd.DataFrame:
    """Columns dataset, step, kind, accuracy (the share), low and high (over runs; missing for a single one)."""
    lines = []
    for run in experiment.runs:
        for name in run.datasets:
            for step, n in run.overall(name)["n"].dropna().items():
                wrong = run.incorrect(int(step), name) if n else None  # type: ignore[call-overload]
                if wrong is None:
                    continue
                kinds = Counter(kind for row in wrong for kind in mistake_kinds(row["gold"], row["generated"] or ""))
                lines += [(name, step, kind, kinds[kind] / n) for kind, _, _ in KINDS]
    shares = pd.DataFrame(lines, columns=["dataset", "step", "kind", "share"])
    grouped = shares.groupby(["dataset", "step", "kind"], sort=False)["share"]
    result = grouped.agg(accuracy="mean", low="min", high="max").reset_index().sort_values("step", kind="stable")
    if len(experiment.runs) == 1:
        result[["low", "high"]] = np.nan
    return result


def answer_distribution(experiment: Experiment, looks: Looks) -> Drawing | None:
    """How often each move is right, and how often it is answered."""
    shown = moments(experiment)
    names = [name for name in _telling(experiment.datasets) if shown[-1].answers(name)]
    if not names:
        return None
    figure, panels = grid(len(names), columns=2, width=5.6 if len(names) == 1 else 4.0, height=2.5)
    colors = [INK] if len(shown) == 1 else [CHEAT, INK]
    for axes, name in zip(panels, names, strict=True):
        _draw_distribution(axes, [moment.answers(name) for moment in shown], colors)
        axes.set_xlabel("move")
        axes.set_title(looks.label(name))
    panels[0].set_ylabel("share of rows")
    handles = [Patch(color=GOLD, label="right answer")]
    handles += [Patch(color=color, label=moment.label) for moment, color in zip(shown, colors, strict=True)]
    top_legend(figure, handles)
    return figure, (
        "How often each move is right (grey) and how often the model answers it. -1 means that no move wins; ? is "
        "an answer without such a move."
    )


GOLD = "#cfcfcf"


def _draw_distribution(axes: Axes, answers: list[Counter[tuple[int, int | None]]], colors: list[str]) -> None:
    """Wide grey bars for the right moves (the same at each moment), a slim bar per moment for the predicted ones."""
    gold: Counter[int | None] = Counter()
    for (right, _), count in answers[-1].items():
        gold[right] += count
    moves: list[int | None] = [*sorted({-1, *(right for right, _ in answers[-1])})]
    predicted: list[Counter[int | None]] = []
    for answer_counts in answers:
        predicted.append(Counter())
        for (_, move), count in answer_counts.items():
            predicted[-1][move if move in moves else None] += count
    if any(counts[None] for counts in predicted):
        moves.append(None)
    places = np.arange(len(moves))
    axes.bar(places, [gold[move] / gold.total() for move in moves], width=0.86, color=GOLD)
    width = 0.6 / len(answers)
    for index, (counts, color) in enumerate(zip(predicted, colors, strict=True)):
        shares = [counts[move] / max(1, counts.total()) for move in moves]
        axes.bar(places - 0.3 + width * (index + 0.5), shares, width * 0.86, color=color)
    axes.set_xticks(places, ["?" if move is None else str(move) for move in moves])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


ANSWER_FIGURES = (accuracy_by_pair, gold_by_predicted, mistakes_by_kind, answer_distribution)
