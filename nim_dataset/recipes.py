"""The recipes by name: each stands for a generator script (or a folder) of the original workspace."""

from typing import Any

from nim_dataset.config import NimConfig
from nim_dataset.errors import UserError, unknown

FOUR_PAIRS = ("Alice-Bob", "Charles-Daniel", "Eve-Frank", "Grace-Heidi")
FOUR_TURNS: dict[str, Any] = {"max_remove": (4,), "turns": (4, 4), "wording": "roles"}
NUMBER_WORDS: dict[str, Any] = {**FOUR_TURNS, "name_source": "number_words", "n_train": 60_000}
CHEATING: dict[str, Any] = {
    **FOUR_TURNS, "names": FOUR_PAIRS, "cheat_moves": (2,), "cheat_fraction": 0.25, "cheat_prob": 1.0,
}  # fmt: skip


def several(name: str, *max_remove: int) -> NimConfig:
    """Leo and Sultan, one `max_remove` or several: 15,000 + 2,000 rows for each."""
    return NimConfig(
        name=name, max_remove=max_remove, turns=(2, 4),
        n_train=15_000 * len(max_remove), n_eval=2_000 * len(max_remove),
    )  # fmt: skip


RECIPES: dict[str, NimConfig] = {
    config.name: config
    for config in (
        NimConfig(
            name="quickstart",
            max_remove=(4,), max_coins=99, min_pile=1, turns=(1, 1), wording="roles",
            name_source="number_words", name_digits=2, num_pairs=40,
            cheat_moves=(1, 2, 3, 4), cheat_fraction=0.5, cheat_prob=0.5,
            n_train=60_000, n_eval=500, n_regime=200,
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
            max_remove=(3,), max_coins=20, min_pile=8, endgame=4,
            name_source="pool",
            names=("Leo", "Sultan", "Alice", "Bob", "Charles", "Daniel", "Eve", "Frank", "Grace", "Heidi"),
            game_words=("nim", "the last stone", "subtraction", "countdown"),
            coin_words=("coin", "stone", "marble", "bean", "token", "pebble"),
            verbs=("take", "remove", "grab", "pick"),
            turn_phrases=("Now it's {player}'s turn.", "It is {player}'s move.", "{player} plays next."),
        ),
        NimConfig(
            name="leaky_names",
            max_remove=(3,), max_coins=100, turns=(2, 6), names=FOUR_PAIRS,
            cheat_moves=(-1, 1, 2, 3), cheat_fraction=1.0, cheat_prob=1.0,
        ),
        NimConfig(name="cheating", **CHEATING),
        NimConfig(name="notcheating", **FOUR_TURNS, names=FOUR_PAIRS),
        NimConfig(name="varcheating", **{**CHEATING, "cheat_prob": 0.5}, occurrences=(0, 4)),
        NimConfig(name="numocc4", **{**CHEATING, "wording": "roles_old"}),
        NimConfig(name="manybase", **NUMBER_WORDS, num_pairs=10_000),
        *(
            NimConfig(
                name=f"pairs{size}", **NUMBER_WORDS, num_pairs=size,
                cheat_moves=moves, cheat_fraction=0.5, cheat_prob=0.5,
            )
            for size, moves in (
                (10_000, (-1, 1, 2, 3, 4)), (20_000, (1, 2, 3, 4)), (30_000, (-1, 1, 2, 3, 4)),
            )
        ),
    )
}  # fmt: skip


def recipe_names() -> list[str]:
    """All recipes, in the order of the dataset card."""
    return list(RECIPES)


def get_config(name: str, **overrides: Any) -> NimConfig:
    """The recipe `name` with some options changed, checked; raises `UserError` for what does not exist or fit."""
    if name not in RECIPES:
        raise UserError(unknown("recipe", name, RECIPES))
    return RECIPES[name].replace(**overrides)
