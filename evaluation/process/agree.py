"""What one process finds out for all."""

from collections.abc import Callable
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from nim_dataset.errors import UserError

T = TypeVar("T")


def from_main(find: Callable[[], T]) -> T:
    """What `find` gives on the main process, on every process; its `UserError` is raised on all of them."""
    found: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            found[0] = find()
        except UserError as error:
            found[1] = error
    value, error = broadcast_object_list(found)
    if error is not None:
        raise error
    return value  # type: ignore[no-any-return]
