"""The recipes by name. Nim's stand for the generator scripts (or folders) of the original workspace."""

import reprlib
from typing import Any

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, unknown
from nim_dataset.games import GAMES
from nim_dataset.games.nim import NimConfig
from nim_dataset.plugins import Registry

FOUR_PAIRS = ("Alice-Bob", "Charles-Daniel", "Eve-Frank", "Grace-Heidi")
FOUR_TURNS: dict[str, Any] = {"max_remove": (4,), "turns": (4, 4), "wording": "roles"}
NUMBER_WORDS: dict[str, Any] = {**FOUR_TURNS, "name_source": "number_words", "n_train": 60_000}
CHEATING: dict[str, Any] = {
    **FOUR_TURNS,
    "names": FOUR_PAIRS,
    "cheat_moves": (2,),
    "cheat_fraction": 0.25,
    "cheat_prob": 1.0,
}
HALF_BOUND: dict[str, Any] = {**NUMBER_WORDS, "cheat_fraction": 0.5, "cheat_prob": 0.5}


def several(name: str, *max_remove: int) -> NimConfig:
    """Leo and Sultan, one `max_remove` or several: 15,000 + 2,000 rows for each."""
    rows = len(max_remove)
    return NimConfig(name=name, max_remove=max_remove, turns=(2, 4), n_train=15_000 * rows, n_eval=2_000 * rows)


NIM = (
    NimConfig(
        name="quickstart",
        max_remove=(4,),
        max_coins=99,
        min_pile=1,
        turns=(1, 1),
        wording="roles",
        name_source="number_words",
        name_digits=2,
        num_pairs=40,
        cheat_moves=(1, 2, 3, 4),
        cheat_fraction=0.5,
        cheat_prob=0.5,
        n_train=60_000,
        n_eval=500,
        n_regime=200,
    ),
    several("357", 3, 5, 7),
    several("234", 2, 3, 4),
    several("468", 4, 6, 8),
    several("34567", 3, 4, 5, 6, 7),
    several("345678", 3, 4, 5, 6, 7, 8),
    several("8910", 8, 9, 10),
    *(several(f"purenums{k}", k) for k in range(3, 9)),
    NimConfig(
        name="terminology",
        max_remove=(3,),
        max_coins=20,
        min_pile=8,
        endgame=4,
        name_source="pool",
        names=("Leo", "Sultan", "Alice", "Bob", "Charles", "Daniel", "Eve", "Frank", "Grace", "Heidi"),
        game_words=("nim", "the last stone", "subtraction", "countdown"),
        coin_words=("coin", "stone", "marble", "bean", "token", "pebble"),
        verbs=("take", "remove", "grab", "pick"),
        turn_phrases=("Now it's {player}'s turn.", "It is {player}'s move.", "{player} plays next."),
    ),
    NimConfig(
        name="leaky_names",
        max_remove=(3,),
        max_coins=100,
        turns=(2, 6),
        names=FOUR_PAIRS,
        cheat_moves=(-1, 1, 2, 3),
        cheat_fraction=1.0,
        cheat_prob=1.0,
    ),
    NimConfig(name="cheating", **CHEATING),
    NimConfig(name="notcheating", **FOUR_TURNS, names=FOUR_PAIRS),
    NimConfig(name="varcheating", **{**CHEATING, "cheat_prob": 0.5}, occurrences=(0, 4)),
    NimConfig(name="numocc4", **{**CHEATING, "wording": "roles_old"}),
    NimConfig(name="manybase", **NUMBER_WORDS, num_pairs=10_000),
    NimConfig(name="pairs10000", **HALF_BOUND, num_pairs=10_000, cheat_moves=(-1, 1, 2, 3, 4)),
    NimConfig(name="pairs20000", **HALF_BOUND, num_pairs=20_000, cheat_moves=(1, 2, 3, 4)),
    NimConfig(name="pairs30000", **HALF_BOUND, num_pairs=30_000, cheat_moves=(-1, 1, 2, 3, 4)),
)


def recipes() -> dict[str, Recipe]:
    """All recipes by name, in the order of the dataset card: Nim's, then those that the other games bring.

    Raises `UserError` where two have the same name.
    """
    known: Registry[Recipe] = Registry("recipe")
    for recipe in (*NIM, *(recipe for game in GAMES.values() for recipe in game.recipes())):
        known.add(recipe.name, recipe)
    return known


def recipe_names() -> list[str]:
    """The names of all recipes."""
    return list(recipes())


def get_config(name: str, **overrides: Any) -> Recipe:
    """The recipe `name` with some options changed, checked; raises `UserError` for what does not exist or fit."""
    known = recipes()
    if not isinstance(name, str):
        raise UserError(f"recipe: got {reprlib.repr(name)}, but the name of one is needed, as text")
    if name not in known:
        raise UserError(unknown("recipe", name, known))
    return known[name].replace(**overrides)
