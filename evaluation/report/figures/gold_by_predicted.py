"""Heat maps: of the rows with each right answer, where the predictions go."""

import numpy as np
from matplotlib.axes import Axes

from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.moments import Moment, MoveCounts, answers_table, moments, other_answers, telling
from evaluation.report.style import INK, Looks, grid


@figure("Right move by predicted move", order=70)
def gold_by_predicted(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Heat maps: of the games with each right answer, where the predictions go."""
    panels: list[tuple[str, Moment, MoveCounts]] = []
    for moment in moments(experiment):
        for name in telling(experiment.datasets):
            answers = moment.answers(name)
            if answers:
                panels.append((name, moment, answers))
    if not panels:
        return None
    columns = max(1, len({name for name, _, _ in panels}))
    moves = sorted({gold for _, _, answers in panels for gold, _ in answers} | set(experiment.no_winning_move))
    drawing, axes_of = grid(len(panels), columns=columns, width=2.3, height=2.75)
    for axes, (name, moment, answers) in zip(axes_of, panels, strict=True):
        _draw_heat_map(axes, answers, moves)
        axes.set_title("\n".join([looks.label(name), *moment.label.split(", ")]), fontsize=10)
        axes.set_xlabel("predicted move" if experiment.about_nim else "predicted answer")
        axes.set_ylabel("right move" if experiment.about_nim else "right answer")
    data = answers_table([name for name, _, _ in panels], moments(experiment))
    what = "games with one right move" if experiment.about_nim else "rows with one right answer"
    caption = f"Where the answers go: each line holds the {what} and sums to 100%; the diagonal is right."
    if experiment.about_nim:
        caption += " -1 means that no move wins."
    return drawing, caption + other_answers(data), data


def _draw_heat_map(axes: Axes, answers: MoveCounts, moves: list[int]) -> None:
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
                place, text = (column + 0.5, row + 0.5), f"{100 * share:.0f}"
                axes.text(*place, text, ha="center", va="center", fontsize=8.5, color=color).set_in_layout(False)
    axes.set_xticks(np.arange(len(columns)) + 0.5, ["?" if move is None else str(move) for move in columns])
    axes.set_yticks(np.arange(len(golds)) + 0.5, [str(move) for move in golds])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
