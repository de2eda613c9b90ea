"""One file for each game; every module of this folder is imported, and registers its game."""

from nim_dataset.games.registry import GAMES, chance, features_of, parse_prompts, register
from nim_dataset.plugins import import_modules

import_modules(__name__)

__all__ = ["GAMES", "chance", "features_of", "parse_prompts", "register"]
