"""Each plug has a name of its own: a second one of the same name is refused and leaves the first in its place."""

from collections.abc import Callable

import pytest

from evaluation.measures.measure import all_measures, measure
from evaluation.report.figures.accuracy_by_dataset import accuracy_by_dataset
from evaluation.report.figures.figure import all_figures, figure
from nim_dataset.errors import UserError
from nim_dataset.games import GAMES, register
from training.objectives.interface import OBJECTIVES, find_objective, objective


def again(kind: str, name: str) -> Callable[[], object]:
    """Registers once more what is registered under `name`."""
    return {
        "game": lambda: register(name)(GAMES[name]),
        "objective": lambda: objective(name)(find_objective(name)),
        "measure": lambda: measure(name)(type(all_measures()[name])),
        "figure": lambda: figure("Another", order=1)(accuracy_by_dataset),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("game", "nim"), ("objective", "anchor"), ("measure", "answers"), ("figure", "accuracy_by_dataset")],
)
def test_a_name_is_given_once(kind: str, name: str) -> None:
    find_objective("anchor")  # which imports them all
    before = [dict(GAMES), dict(OBJECTIVES), all_measures(), all_figures()]
    with pytest.raises(UserError, match=f"^{kind}: the name '{name}' is taken already; give each {kind} its own$"):
        again(kind, name)()
    assert before == [dict(GAMES), dict(OBJECTIVES), all_measures(), all_figures()]
