"""The figures over training steps: accuracy by dataset, bucket, max_remove and coset, the cheat rate, and the loss.

Each function draws one figure and returns it with its caption, or None when the results hold nothing to draw: there
are no empty panels. Figures of single checkpoints are in `figures_answers.py`, of several experiments in
`figures_compare.py`.
"""

import textwrap
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from evaluation.report.experiment import Experiment
from evaluation.report.story import Story, headline
from evaluation.report.style import (
    CHEAT,
    INK,
    MUTED,
    NEUTRAL,
    Looks,
    accuracy_axis,
    grid,
    label_ends,
    plt,
    step_axis,
    top_legend,
)

Drawing = tuple[Figure, str]


def intervals(experiment: Experiment) -> str:
    """What the bands are, for captions; nothing where no interval is known."""
    if len(experiment.runs) == 1:
        return "Bands are 95% Wilson intervals." if experiment.pooled["low"].notna().any() else ""
    return f"Lines are means of {len(experiment.runs)} runs, bands reach from the lowest to the highest."


def draw_curve(axes: Axes, curve: pd.DataFrame, **look: Any) -> None:
    """A line with its band; without intervals (an imported table) the line alone."""
    steps, accuracy = curve["step"].to_numpy(), curve["accuracy"].to_numpy(dtype=float)
    axes.plot(steps, accuracy, markevery=1 if len(steps) <= 30 else max(1, len(steps) // 20), **look)
    band = curve.dropna(subset=["low", "high"])
    if len(band):
        low, high = band["low"].to_numpy(dtype=float), band["high"].to_numpy(dtype=float)
        axes.fill_between(band["step"].to_numpy(), low, high, color=look["color"], alpha=0.15, linewidth=0)


def draw_chance(axes: Axes, chances: Iterable[float | None], text: str = "chance") -> None:
    """A dashed line per chance level; the word stands at the right of the highest."""
    levels = sorted({round(level, 4) for level in chances if level is not None})
    for level in levels:
        axes.axhline(level, color=MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    if levels:
        axes.annotate(
            f"{text} {levels[-1]:.0%}",
            xy=(1, levels[-1]),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=MUTED,
            fontsize=9.5,
        )


def steps_of(curves: Iterable[pd.DataFrame]) -> list[int]:
    return sorted({int(step) for curve in curves for step in curve["step"]})


def accuracy_by_dataset(experiment: Experiment, looks: Looks) -> Drawing | None:
    """The figure of the project: first the names, then the rule, then what the names leave behind."""
    curves = {name: experiment.curve(name) for name in experiment.datasets}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return None
    longest = max(len(looks.label(name)) for name in curves)
    figure, axes = plt.subplots(figsize=(6.4 + 0.09 * max(0, longest - 15), 4.4), layout="constrained")
    for name, curve in curves.items():
        draw_curve(axes, curve, **looks.line(name))
    accuracy_axis(axes, "exact match")
    axes.margins(x=0.02)
    draw_chance(axes, [experiment.chance(name) for name in curves])
    ends = [(float(curve["accuracy"].iloc[-1]), name) for name, curve in curves.items()]
    label_ends(axes, [(end, f"{looks.label(name)} {end:.0%}", looks.color(name)) for end, name in ends])
    step_axis(axes, steps_of(curves.values()))
    stories = [Story.of(run) for run in experiment.runs]
    _mark(axes, "shortcut learned", "right", [story.shortcut_step for story in stories])
    _mark(axes, "rule learned", "left", [story.rule_step for story in stories])
    _mark_scar(axes, experiment, stories)
    axes.set_title(textwrap.fill(headline(stories).rstrip("."), 68), pad=22, fontsize=10.5)
    caption = f"Exact match over training, by evaluation set. {intervals(experiment)}"
    if any(experiment.chance(name) is not None for name in curves):
        caption += " The dashed line is the chance of a uniform guess among the max_remove + 1 answers."
    if any(story.shortcut_step is not None or story.rule_step is not None for story in stories):
        caption += " Dotted lines stand where the shortcut and the rule count as learned."
    return figure, caption


def _mark(axes: Axes, text: str, side: str, steps: list[int | None]) -> None:
    """A dotted line at a milestone, named on one side; over several runs, a light stripe from the first to the last."""
    known = sorted(step for step in steps if step is not None)
    if not known:
        return
    if known[0] < known[-1]:
        axes.axvspan(known[0], known[-1], color=INK, alpha=0.07, linewidth=0)
    middle = known[len(known) // 2]
    if axes.transAxes.inverted().transform(axes.transData.transform((middle, 0.5)))[0] > 0.85:
        side = "right"  # to the left of the line, or it would stand in the labels of the lines
    axes.axvline(middle, color=INK, linewidth=1.2, linestyle=":", zorder=1)
    axes.annotate(
        text,
        xy=(middle, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(2 if side == "right" else -2, 4),
        textcoords="offset points",
        ha=side,
        fontsize=9.5,
        color=INK,
    )


def _mark_scar(axes: Axes, experiment: Experiment, stories: list[Story]) -> None:
    """An arrow between the ends of neutral and counter_cheat, once the rule is there and if they are clearly apart."""
    scars = [story.scar for story in stories if story.scar is not None and story.rule_step is not None]
    if len(scars) < len(stories) or min(scars) < 0.03:
        return
    run = experiment.runs[0]
    top, bottom = (
        float(experiment.curve(run.regime(split) or "")["accuracy"].iloc[-1]) for split in ("neutral", "counter_cheat")
    )
    x = ("axes fraction", "data")
    arrow = {"arrowstyle": "<->", "color": INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=(0.99, top), xytext=(0.99, bottom), xycoords=x, textcoords=x, arrowprops=arrow)
    axes.annotate(
        f"scar {sum(scars) / len(scars):.2f}",
        xy=(0.99, bottom),
        xycoords=x,
        xytext=(0, -16),
        textcoords="offset points",
        ha="right",
        fontsize=9.5,
        color=INK,
    )


def accuracy_by_bucket(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Bound against unbound pairs, one panel per dataset that holds both."""
    buckets = experiment.groups("bucket").dropna(subset=["accuracy"])
    both = buckets.groupby("dataset")["group"].nunique()
    names = [name for name in experiment.datasets if both.get(name, 0) == 2] or [
        name for name in experiment.datasets if both.get(name, 0) == 1
    ]
    if not names:
        return None
    figure, panels = grid(len(names), width=5.0 if len(names) == 1 else 3.2, height=3.4 if len(names) == 1 else 2.6)
    for axes, name in zip(panels, names, strict=True):
        ends = []
        for group, color, marker in (("cheat", CHEAT, "^"), ("neutral", NEUTRAL, "s")):
            curve = experiment.curve(name, group, "bucket")
            if len(curve):
                draw_curve(axes, curve, color=color, marker=marker)
                ends.append((float(curve["accuracy"].iloc[-1]), f"{group} {curve['accuracy'].iloc[-1]:.0%}", color))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [experiment.chance(name)])
        label_ends(axes, ends, size=10, gap=0.09)
        step_axis(axes, buckets[buckets["dataset"] == name]["step"])
        axes.set_title(looks.label(name))
    return figure, (
        "Exact match on pairs of names that are bound to a move (cheat) and on pairs that are not (neutral), in each "
        f"set that holds both. {intervals(experiment)}"
    )


def accuracy_by_max_remove(experiment: Experiment, looks: Looks) -> Drawing | None:
    """One panel per max_remove, each with its own chance line at 1 / (max_remove + 1)."""
    rows = experiment.groups("max_remove").dropna(subset=["accuracy"])
    values = sorted((value for value in rows["group"].unique() if str(value).isdigit()), key=int)
    if not values:
        return None
    single = len(values) == 1
    figure, panels = grid(len(values), width=5.4 if single else 3.0, height=3.6 if single else 2.5)
    for axes, value in zip(panels, values, strict=True):
        ends = []
        for name in experiment.datasets:
            curve = experiment.curve(name, value, "max_remove")
            if len(curve):
                draw_curve(axes, curve, **looks.line(name), label=looks.label(name))
                end = float(curve["accuracy"].iloc[-1])
                ends.append((end, f"{looks.label(name)} {end:.0%}" if single else f"{end:.0%}", looks.color(name)))
        accuracy_axis(axes, "exact match" if axes is panels[0] else "")
        draw_chance(axes, [1 / (int(value) + 1)])
        label_ends(axes, ends, size=10, gap=0.075 if single else 0.1)
        step_axis(axes, rows[rows["group"] == value]["step"])
        axes.set_title(f"max_remove {value}")
    if not single:
        shared_legend(figure, panels)
    return figure, (
        "Exact match by the largest number of coins that may be taken, with the chance of a uniform guess among "
        f"the max_remove + 1 answers (dashed). {intervals(experiment)}"
    )


def shared_legend(figure: Figure, panels: list[Axes]) -> None:
    """One legend above all panels, with each label once."""
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    top_legend(figure, handles.values())


def accuracy_by_coset(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Partial knowledge: the answer modulo a divisor of max_remove + 1, drawn where there is a proper divisor."""
    rows = experiment.groups("coset").dropna(subset=["accuracy"])
    parts = rows["group"].str.extract(r"max_remove=(\d+) mod (\d+)").astype(float)
    proper = rows[parts[1] <= parts[0]]
    if proper.empty:
        return None
    values = sorted(parts.loc[proper.index, 0].astype(int).unique())
    main = next(name for name in experiment.datasets if (proper["dataset"] == name).any())
    figure, panels = grid(len(values), width=3.4, height=2.8)
    colors = plt.get_cmap("viridis")
    for axes, value in zip(panels, values, strict=True):
        divisors = [divisor for divisor in range(2, value + 2) if (value + 1) % divisor == 0]
        ends = []
        for index, divisor in enumerate(divisors):
            color = matplotlib_hex(colors(0.4 * index / max(1, len(divisors) - 1)))
            curve = experiment.curve(main, f"max_remove={value} mod {divisor}", "coset")
            if len(curve):
                draw_curve(axes, curve, color=color, marker="os^Dv"[index % 5])
                axes.axhline(1 / divisor, color=color, linewidth=1, linestyle=(0, (5, 3)))
                ends.append((float(curve["accuracy"].iloc[-1]), f"mod {divisor}", color))
        accuracy_axis(axes, "right modulo d" if axes is panels[0] else "")
        label_ends(axes, ends, size=10, gap=0.09)
        step_axis(axes, proper["step"])
        axes.set_title(f"max_remove {value}")
    return figure, (
        f"{looks.label(main)}: is the move right modulo each divisor d of max_remove + 1, taking the losing move as 0? "
        f"A line far above its own chance, 1 / d (dashed, same colour), while the next stays at its chance, is a "
        f"model that knows a part of the rule. {intervals(experiment)}"
    )


def matplotlib_hex(color: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color[:3])


def cheat_rate(experiment: Experiment, looks: Looks) -> Drawing | None:
    """How often a wrong bound move is played where one is offered."""
    curves = {name: experiment.curve(name, "cheat_rate") for name in experiment.datasets}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return None
    figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    for name, curve in curves.items():
        draw_curve(axes, curve, **looks.line(name))
    accuracy_axis(axes, "plays the bound, wrong move")
    draw_chance(axes, [experiment.chance(name) for name in curves])
    ends = [(float(curve["accuracy"].iloc[-1]), name) for name, curve in curves.items()]
    label_ends(axes, [(end, f"{looks.label(name)} {end:.0%}", looks.color(name)) for end, name in ends])
    step_axis(axes, steps_of(curves.values()))
    return figure, (
        "How often the model plays the move that the names are bound to, where that move is wrong: one is a model that "
        f"only reads the names. {intervals(experiment)}"
    )


LOSSES = (
    ("loss", "loss on the answers", "#0072d6"),
    ("penalty", "anchor penalty", "#8f1d6e"),
    ("distance", "distance from the start", "#008558"),
)


def loss(experiment: Experiment, looks: Looks) -> Drawing | None:
    """The training log: data loss, penalty and distance, each where it was logged; a line per run."""
    drawn = []
    for column, title, color in LOSSES:
        logs = [run.training.dropna(subset=[column]) for run in experiment.runs if column in run.training]
        logs = [log[log["step"] > 0] for log in logs]
        if any((log[column] != 0).any() for log in logs):
            drawn.append((column, title, color, logs))
    if not drawn:
        return None
    figure, panels = grid(len(drawn), width=5.6 if len(drawn) == 1 else 3.3, height=2.9)
    stories = [Story.of(run) for run in experiment.runs]
    for axes, (column, title, color, logs) in zip(panels, drawn, strict=True):
        for log in logs:
            axes.plot(log["step"], log[column], color=color, linewidth=1.4, alpha=1 if len(logs) == 1 else 0.6)
        if column == "loss" and all((log[column] > 0).all() for log in logs):
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 60 else (1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            axes.set_ylim(bottom=0)
        step_axis(axes, [*experiment.steps, *(int(log["step"].min()) for log in logs)])
        _mark(axes, "shortcut", "right", [story.shortcut_step for story in stories])
        _mark(axes, "rule", "left", [story.rule_step for story in stories])
        axes.set_title(title, pad=20)
    return figure, (
        "The training log. The loss counts answers alone, without the penalty; distance is that of the weights from "
        "where training began."
    )


OVER_STEPS = (accuracy_by_dataset, accuracy_by_bucket, accuracy_by_max_remove, accuracy_by_coset, cheat_rate, loss)
