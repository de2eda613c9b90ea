"""Callbacks of the user's own, by import path: `--callbacks my_module:MyCallback`."""

import importlib
import os
import sys
from collections.abc import Sequence

from transformers import TrainerCallback

from nim_dataset.errors import UserError, suggest


def load_callbacks(paths: Sequence[str]) -> list[TrainerCallback]:
    """One object of each class; raises `UserError` for what cannot be imported or made, or is no callback.

    The working directory is searched too, after the Python path.
    """
    if paths and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return [_load(path) for path in paths]


def _load(path: str) -> TrainerCallback:
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise UserError(f"callbacks: '{path}' names no class; give MODULE:CLASS, such as my_module:MyCallback")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"callbacks: cannot import '{module_name}' of '{path}' ({reason})") from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, TrainerCallback)):
        there = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise UserError(
            f"callbacks: '{path}' is no subclass of transformers.TrainerCallback{suggest(class_name, there)}"
        )
    try:
        return found()
    except Exception as error:  # as above
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"callbacks: '{path}' cannot be made without arguments ({reason})") from error
