"""Plugs are found by importing the modules of their package: each one registers what it defines."""

import importlib
import pkgutil


def import_modules(package: str) -> None:
    """Imports every module of a package, given by its dotted name, in order of name."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
