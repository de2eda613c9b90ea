"""How often each move is right, and how often it is answered."""

from collections import Counter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.moments import MoveCounts, answers_table, moments, other_answers, telling
from evaluation.report.style import CHEAT, INK, Looks, grid, top_legend

GOLD = "#cfcfcf"


@figure("Distribution of answers", order=90)
def answer_distribution(experiment: Experiment, looks: Looks) -> Drawing | None:
    """How often each move is right, and how often it is answered."""
    shown = moments(experiment)
    names = [name for name in telling(experiment.datasets) if shown[-1].answers(name)]
    if not names:
        return None
    drawing, panels = grid(len(names), columns=2, width=3.0, height=2.5)
    colors = [INK] if len(shown) == 1 else [CHEAT, INK]
    for axes, name in zip(panels, names, strict=True):
        _draw_distribution(axes, [moment.answers(name) for moment in shown], colors, experiment.no_winning_move)
        axes.set_xlabel("move" if experiment.about_nim else "answer")
        axes.set_title(looks.label(name))
    panels[0].set_ylabel("share of rows")
    handles = [Patch(color=GOLD, label="right answer")]
    handles += [Patch(color=color, label=moment.label) for moment, color in zip(shown, colors, strict=True)]
    top_legend(drawing, handles)
    data = answers_table(names, shown)
    if experiment.about_nim:
        caption = "How often each move is right (grey) and how often the model answers it. -1 means that no move wins."
    else:
        caption = "How often each answer is right (grey) and how often the model gives it."
    return drawing, caption + other_answers(data), data


def _draw_distribution(axes: Axes, answers: list[MoveCounts], colors: list[str], always: tuple[int, ...]) -> None:
    """Wide grey bars for the right moves (the same at each moment), a slim bar per moment for the predicted ones."""
    gold: Counter[int | None] = Counter()
    for (right, _), count in answers[-1].items():
        gold[right] += count
    moves: list[int | None] = [*sorted({*always, *(right for right, _ in answers[-1])})]
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
