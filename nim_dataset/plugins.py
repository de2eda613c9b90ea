"""Plugs: the modules of a folder are imported, each registers what it defines, and each name is given once."""

import importlib
import pkgutil
from typing import TypeVar

from nim_dataset.errors import UserError

P = TypeVar("P")


def import_modules(package: str) -> None:
    """Imports every module of a package, given by its dotted name, in order of name."""
    for module in modules_of(package):
        importlib.import_module(module)


def modules_of(package: str) -> list[str]:
    """The dotted names of a package's modules, in order of name."""
    return [f"{package}.{module.name}" for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]


class Registry(dict[str, P]):
    """Plugs of one kind by name, in the order in which they were added."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def add(self, name: str, plug: P) -> None:
        """Raises `UserError` for a name that is taken."""
        if name in self:
            raise UserError(f"{self.kind}: the name '{name}' is taken already; give each {self.kind} its own")
        self[name] = plug
