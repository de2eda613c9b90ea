"""What an export's `manifest.json` says: which pairs of names are bound to a move, and the recipe of the rows."""

import json
from pathlib import Path
from typing import Any

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.recipes import get_config


def read_manifest(path: Path) -> dict[str, Any]:
    """`{"cheat_by_move": {"2": ["Alice-Bob", ...]}, "neutral": [...], "recipe": {...}}`; raises `UserError`.

    A game without names has no `cheat_by_move`, and an old manifest may have neither `neutral` nor `recipe`.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: invalid UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: invalid JSON at line {error.lineno}, column {error.colno} ({error.msg})") from None
    except (RecursionError, ValueError):
        raise UserError(f"{path}: invalid JSON (nested too deeply, or a number of thousands of digits)") from None
    nameless = isinstance(found, dict) and "cheat_by_move" not in found and "recipe" in found
    if not nameless and not (isinstance(found, dict) and isinstance(found.get("cheat_by_move"), dict)):
        raise UserError(f"{path}: a manifest has 'cheat_by_move', an object of lists of pairs by move")
    for move, pairs in found.get("cheat_by_move", {}).items():
        if not is_texts(pairs):
            raise UserError(f"{path}: 'cheat_by_move' has no list of pairs for move {move}")
        if not move.removeprefix("-").isdecimal() or len(move) > 10:
            raise UserError(f"{path}: 'cheat_by_move' has a key that is no move")
    if not is_texts(found.get("neutral", [])):
        raise UserError(f"{path}: 'neutral' is {str(found['neutral'])[:60]}, expected a list of pairs")
    recipe = found.get("recipe", {"recipe": ""})
    if not (isinstance(recipe, dict) and isinstance(recipe.get("recipe"), str)):
        raise UserError(
            f"{path}: 'recipe' is {str(recipe)[:60]}, expected an object with the recipe's name as 'recipe'"
        )
    return found


def is_texts(value: Any) -> bool:
    """Whether a value is a list of nothing but text."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def recipe_of(manifest: dict[str, Any]) -> Recipe | None:
    """The recipe that a manifest names; None where it names none, or one that this version does not know."""
    content = manifest.get("recipe")
    if content is None:
        return None
    options = {key: value for key, value in content.items() if key not in ("recipe", "generator_version")}
    try:
        return get_config(content["recipe"], **options)
    except UserError:
        return None
