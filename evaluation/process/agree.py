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
    value, mistake = broadcast_object_list(found)
    if mistake is not None:
        raise mistake
    given: T = value
    return given
