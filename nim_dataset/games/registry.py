"""The games by name, and what is asked of rows or prompts whose game is not known."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from nim_dataset.config import Position, Recipe
from nim_dataset.plugins import Registry

GAMES: Registry[type[Recipe]] = Registry("game")

R = TypeVar("R", bound=type[Recipe])


def register(name: str) -> Callable[[R], R]:
    """Makes a game known by `name`: its recipes, its prompts in JSONL files, and its chance level.

    Raises `UserError` where the name is taken.
    """

    def add(game: R) -> R:
        GAMES.add(name, game)
        return game

    return add


def parse_prompts(texts: Sequence[str]) -> tuple[list[Position | None], list[str]]:
    """The games that prompts tell, None where none does, and the names of those that some prompt tells."""
    positions: list[Position | None] = [None] * len(texts)
    left: Sequence[int] = range(len(texts))
    found = []
    for name, game in GAMES.items():
        parsed = game.parse([texts[i] for i in left])
        if all(position is None for position in parsed):
            continue
        found.append(name)
        for i, position in zip(left, parsed, strict=True):
            positions[i] = position
        left = [i for i in left if positions[i] is None]
    return positions, found


def features_of(games: Collection[str]) -> datasets.Features:
    """The columns that rows of some games have together; Nim's, where there are none."""
    features: dict = {}
    for name, game in GAMES.items():
        if name in games or (not games and name == "nim"):
            features |= game.features
    return datasets.Features(features)


def chance(rows: datasets.Dataset) -> float | None:
    """The mean probability that a uniform guess among the possible answers is right, over the rows whose game is known.

    Columns that are exactly those of one game tell that all rows are of it. Else a row is of the first game whose
    columns are there and whose text the prompt is. None where no row is known.
    """
    table = rows.with_format("arrow")[:]
    games = [game for game in GAMES.values() if set(game.features) <= set(table.column_names)]
    exact = [game for game in games if len(game.features) == table.num_columns]
    if len(exact) == 1:
        return _mean(exact[0].chance(table).drop_null().to_pylist())
    known: list[float] = []
    for game in games:
        told = pa.array([position is not None for position in game.parse(table["prompt"].to_pylist())], pa.bool_())
        known += game.chance(table.filter(told)).drop_null().to_pylist()
        table = table.filter(pc.invert(told))
    return _mean(known)


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
