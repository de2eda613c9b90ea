"""Games as text, one-pile Nim first of all: a game's options -> recipes -> rows -> text -> datasets."""

from nim_dataset.builder import NimBuilder, load, stream
from nim_dataset.caches import set_writable_caches
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
