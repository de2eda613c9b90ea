"""What a figure is: a function from an experiment to a drawing with its caption and its data, and a decorator.

    @figure("Accuracy over training", order=10)
    def accuracy_by_dataset(experiment: Experiment, looks: Looks) -> Drawing | None: ...

in a module of this package is all that adds one to every page. It returns the drawing, `HALF` or `FULL` inches wide
(`evaluation/report/style.py`), its caption and its numbers. The function's name is that of its files. None means
that the results hold nothing to draw: there are no empty panels, and the files of an earlier drawing are removed.
A function that fails, or a module that cannot be imported, costs its own figure alone.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.experiment import Experiment
from evaluation.report.style import Looks
from nim_dataset.errors import UserError, unknown
from nim_dataset.plugins import Registry, modules_of

Drawing = tuple[Figure, str] | tuple[Figure, str, pd.DataFrame]
"""A figure, its caption, and the numbers that it shows: one observation a line, for the CSV beside it."""
DrawOne = Callable[[Experiment, Looks], Drawing | None]
DrawSeveral = Callable[[list[Experiment]], Drawing | None]
Draw = TypeVar("Draw", DrawOne, DrawSeveral)


@dataclass(frozen=True)
class Plot(Generic[Draw]):
    """A function that draws, and where its drawing stands."""

    name: str
    """Of the files `figures/<name>.png`, `.svg` and `.csv`, and of the figure's anchor on the page."""
    title: str
    """The heading on the page."""
    order: int
    """Figures stand on the page by this, the lowest first."""
    draw: Draw


_figures: Registry[Plot[DrawOne]] = Registry("figure")
_comparisons: Registry[Plot[DrawSeveral]] = Registry("comparison")


def figure(title: str, order: int) -> Callable[[DrawOne], DrawOne]:
    """Registers a figure of one experiment."""

    def register(draw: DrawOne) -> DrawOne:
        _figures.add(draw.__name__, Plot(draw.__name__, title, order, draw))
        return draw

    return register


def comparison(title: str, order: int) -> Callable[[DrawSeveral], DrawSeveral]:
    """Registers a figure of two or more experiments side by side."""

    def register(draw: DrawSeveral) -> DrawSeveral:
        _comparisons.add(draw.__name__, Plot(draw.__name__, title, order, draw))
        return draw

    return register


def import_figures() -> dict[str, Exception]:
    """Imports the modules of this package; returns those that fail, with why."""
    broken: dict[str, Exception] = {}
    for module in modules_of("evaluation.report.figures"):
        try:
            importlib.import_module(module)
        except Exception as error:
            broken[module] = error
    return broken


def all_figures() -> list[Plot[DrawOne]]:
    """Every figure of one experiment, in order."""
    import_figures()
    return sorted(_figures.values(), key=lambda plot: plot.order)


def find_figures(names: Sequence[str]) -> list[Plot[DrawOne]]:
    """The figures of these names, of no names all, in order; raises `UserError` for a name that there is not."""
    plots = all_figures()
    for name in names:
        if name not in _figures:
            raise UserError(f"--figures: {unknown('figure', name, _figures)}")
    return [plot for plot in plots if plot.name in names or not names]


def all_comparisons() -> list[Plot[DrawSeveral]]:
    """Every figure of several experiments, in order."""
    import_figures()
    return sorted(_comparisons.values(), key=lambda plot: plot.order)
