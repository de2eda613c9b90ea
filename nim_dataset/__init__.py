"""Games as text, one-pile Nim first of all: a game's options -> recipes -> rows -> text -> datasets."""

import importlib
from typing import TYPE_CHECKING

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
    "Game": "games.nim_text",
    "NimBuilder": "builder",
    "NimConfig": "games.nim",
    "exact_match_reward": "rewards",
    "get_config": "recipes",
    "load": "builder",
    "load_source": "sources",
    "optimal_move": "games.nim_text",
    "parse_prompt": "games.nim_parsing",
    "recipe_names": "recipes",
    "render_prompt": "games.nim_text",
    "score_answer": "rewards",
    "stream": "builder",
}
"""Where each name is found when it is asked for: `datasets` takes long to import, and a report does without."""

if not TYPE_CHECKING:  # or every name would be one

    def __getattr__(name):
        if name not in MODULES:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        return getattr(importlib.import_module(f"nim_dataset.{MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
