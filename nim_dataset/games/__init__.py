"""One file for each game; every module of this folder is imported, and registers its game."""

import importlib
import pkgutil

from nim_dataset.games.registry import GAMES, chance, parse_prompts, register

for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{module.name}")

__all__ = ["GAMES", "chance", "parse_prompts", "register"]
