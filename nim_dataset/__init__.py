"""One-pile Nim as text: rules -> recipes -> rows -> text -> datasets."""

from nim_dataset.builder import NimBuilder, load
from nim_dataset.config import NimConfig
from nim_dataset.parsing import parse_prompt
from nim_dataset.recipes import get_config, recipe_names
from nim_dataset.rules import optimal_move
from nim_dataset.sources import load_source
from nim_dataset.text import Game, render_prompt

__version__ = "0.1.0"

__all__ = [
    "Game",
    "NimBuilder",
    "NimConfig",
    "get_config",
    "load",
    "load_source",
    "optimal_move",
    "parse_prompt",
    "recipe_names",
    "render_prompt",
]
