"""Games as text, one-pile Nim first of all: a game's options -> recipes -> rows -> text -> datasets."""

import importlib
from typing import TYPE_CHECKING, Any

from nim_dataset.caches import set_writable_caches

if TYPE_CHECKING:
    from nim_dataset.builder import NimBuilder, load, stream
    from nim_dataset.games.nim import NimConfig
    from nim_dataset.games.nim_parsing import parse_prompt
    from nim_dataset.games.nim_text import Game, optimal_move, render_prompt
    from nim_dataset.recipes import get_config, recipe_names
    from nim_dataset.rewards import exact_match_reward, score_answer
    from nim_dataset.sources import load_source

set_writable_caches()

__version__ = "0.1.0"

__all__ = [
    "Game",
    "NimBuilder",
    "NimConfig",
    "exact_match_reward",
    "get_config",
    "load",
    "load_source",
    "optimal_move",
    "parse_prompt",
    "recipe_names",
    "render_prompt",
    "score_answer",
    "stream",
]

MODULES = {
    "builder": ("NimBuilder", "load", "stream"),
    "games.nim": ("NimConfig",),
    "games.nim_parsing": ("parse_prompt",),
    "games.nim_text": ("Game", "optimal_move", "render_prompt"),
    "recipes": ("get_config", "recipe_names"),
    "rewards": ("exact_match_reward", "score_answer"),
    "sources": ("load_source",),
}
"""Where each name is found when it is asked for: `datasets` takes long to import, and a report does without."""


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"nim_dataset.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
