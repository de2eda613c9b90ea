"""The answer as one small table to copy: each set with the shortcut, at the switch to the rule, and at the end."""

import math
from collections.abc import Callable

from evaluation.report.experiment import Experiment
from evaluation.report.scored_run import ScoredRun
from evaluation.report.style import Looks
from evaluation.report.summary import say_steps
from evaluation.report.tables import Cell, Table, number

Place = list[tuple[ScoredRun, int]]
"""A step of each run that has it."""


def answer_table(experiment: Experiment) -> Table:
    """A line per dataset; a column per milestone that some run reached, and the last checkpoint."""
    stories, looks = experiment.stories, Looks(experiment.datasets)
    places: dict[str, Place] = {
        "shortcut": [(story.run, story.shortcut_step) for story in stories if story.shortcut_step is not None],
        "switch to the rule": [(story.run, story.rule_step) for story in stories if story.rule_step is not None],
        "end": [(story.run, story.last_step) for story in stories],
    }
    places = {name: place for name, place in places.items() if place}
    chances = {name: number(experiment.chance(name)) for name in experiment.datasets}
    levels = {cell.text for cell in chances.values()}
    column = ["chance"] if len(levels) > 1 else []  # one level for all is said once
    rows = [
        [
            Cell(looks.name(name)),
            *([chances[name]] if column else []),
            *(_accuracy(place, name) for place in places.values()),
        ]
        for name in experiment.datasets
    ]
    heads = [f"{name}, {say_steps([step for _, step in place])}" for name, place in places.items()]
    caption = "Exact match"
    if len(stories) > 1:
        caption += f"; means of {len(stories)} runs, each at its own step (lowest to highest)"
    if not column and levels != {number(None).text}:
        caption += f"; chance is {levels.pop()}"
    return Table("In numbers", f"{caption}.", ["set", *column, *heads], rows)


def _accuracy(place: Place, dataset: str) -> Cell:
    found = [run.overall(dataset)["accuracy"].get(step) for run, step in place]
    values = [float(value) for value in found if value is not None and not math.isnan(value)]
    if not values:
        return number(None)
    mean = number(sum(values) / len(values))
    return mean if len(place) == 1 else Cell(f"{mean.text} ({min(values):.3f} to {max(values):.3f})", mean.sort)


def markdown(table: Table) -> str:
    """The table as GitHub and pandoc read it."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    ruler = ["---", *["---:"] * (len(table.heads) - 1)]
    return "\n".join([line(_escaped(table.heads, _markdown)), line(ruler), *map(line, _texts(table, _markdown))])


def latex(table: Table) -> str:
    """The table as a `tabular`, with the rules of booktabs."""

    def line(cells: list[str]) -> str:
        return rf"{' & '.join(cells)} \\"

    body = map(line, _texts(table, _latex))
    columns = "l" + "r" * (len(table.heads) - 1)
    head = line(_escaped(table.heads, _latex))
    parts = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(parts)


def _texts(table: Table, escape: Callable[[str], str]) -> list[list[str]]:
    return [_escaped([cell.text for cell in row], escape) for row in table.rows]


def _escaped(texts: list[str], escape: Callable[[str], str]) -> list[str]:
    return [escape(text) for text in texts]


def _markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\|_*`$<" else letter for letter in text)


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in text)
