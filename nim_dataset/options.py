"""Option values as text or Python values, turned into the types of a recipe's fields."""

import reprlib
from typing import Any, get_args

from nim_dataset.errors import UserError


def coerce(name: str, value: Any, hint: Any) -> Any:
    """`value` as the type `hint` of the option `name`: text is parsed, a single item becomes a tuple.

    Several items in one text are joined by `+`; "none" stands for None where the type allows it. Raises `UserError`.
    """
    if hasattr(value, "tolist"):  # a number or an array of NumPy
        value = value.tolist()
    alternatives = [hint, *get_args(hint)] if type(None) in get_args(hint) else [hint]
    if value is None or (value == "none" and len(alternatives) > 1):
        if len(alternatives) == 1:
            raise UserError(f"{name}: a value is needed, got {value!r}")
        return None
    target = alternatives[1] if len(alternatives) > 1 else hint
    try:
        item_types = get_args(target)
        if not item_types:
            return convert(value, target)
        several = value.split("+") if isinstance(value, str) else value
        items = several if isinstance(several, (list, tuple, range)) else [several]
        return tuple(convert(item, item_types[0]) for item in items if item != "")
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name}: cannot read {reprlib.repr(value)} as {describe(target)}") from None


def convert(value: Any, kind: type) -> Any:
    """`value` as a `kind`; raises `TypeError`, `ValueError` or `OverflowError` where that would change it."""
    if kind is str and not isinstance(value, str):
        raise TypeError
    if kind is int and (isinstance(value, bool) or (isinstance(value, float) and value != int(value))):
        raise TypeError
    return kind(value) + 0.0 if kind is float else kind(value)  # -0.0 becomes 0.0, which is the same number


def describe(kind: Any) -> str:
    """The type in words, for messages."""
    singular = {int: "a whole number", float: "a number", str: "text"}
    plural = {int: "whole numbers", float: "numbers", str: "words"}
    items = get_args(kind)
    return f"{plural[items[0]]} (several are joined by '+')" if items else singular[kind]
