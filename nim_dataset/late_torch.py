"""A stream of `datasets` does without torch until something else imports it.

`datasets` imports torch for every stream it makes, so that a `DataLoader` can take it, which costs more than the first
row. What it would do then is done when torch is imported, to the streams that there are.
"""

import importlib.machinery
import sys
import weakref
from collections.abc import Sequence
from typing import Any

from datasets import iterable_dataset


class TorchFinder:
    """Finds torch as Python does, and tells those who wait once it is imported."""

    def __init__(self) -> None:
        self.streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self.add_parent = iterable_dataset._maybe_add_torch_iterable_dataset_parent_class
        self.share = iterable_dataset._maybe_share_with_torch_persistent_workers

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if name == "torch" else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_tell(module: Any) -> None:
            run(module)
            self.tell()

        spec.loader.exec_module = run_and_tell  # type: ignore[method-assign]
        return spec

    def tell(self) -> None:
        """torch is there."""
        sys.meta_path.remove(self)
        for stream in list(self.streams):
            stream._epoch = self.share(stream._epoch)
            self.add_parent(type(stream))


def wait_for_torch() -> None:
    """Changes `datasets.iterable_dataset`, by which streams are made; no effect where torch is imported already.

    This is global to the process. `tests/nim_dataset/test_late_torch.py` hands a stream to a `DataLoader`, and fails
    where a release of `datasets` makes streams in another way.
    """
    if "torch" in sys.modules or any(isinstance(finder, TorchFinder) for finder in sys.meta_path):
        return
    finder = TorchFinder()
    make = iterable_dataset.IterableDataset.__init__

    def make_stream(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        finder.streams.add(self)

    def later(function: Any) -> Any:
        return lambda value: function(value) if "torch" in sys.modules else value

    iterable_dataset.IterableDataset.__init__ = make_stream
    iterable_dataset._maybe_add_torch_iterable_dataset_parent_class = later(finder.add_parent)
    iterable_dataset._maybe_share_with_torch_persistent_workers = later(finder.share)
    sys.meta_path.insert(0, finder)
