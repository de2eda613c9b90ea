"""The generated rows as `datasets`: a builder with one config per recipe, and `load`, its short form."""

import inspect
from collections.abc import Iterator
from typing import Any

import datasets
import pyarrow as pa
from datasets.builder import Key

from nim_dataset.blocks import BLOCK_ROWS
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, unknown
from nim_dataset.games.nim import NimConfig
from nim_dataset.recipes import get_config, recipes
from nim_dataset.rows import generate


class NimBuilder(datasets.ArrowBasedBuilder):
    """`NimBuilder("pairs20000", cheat_prob=0.9).download_and_prepare(num_proc=2)`.

    Keyword arguments are the recipe's options (`NimConfig`'s, for Nim), then those of `datasets.DatasetBuilder`
    (`cache_dir`, ...).
    """

    BUILDER_CONFIG_CLASS: type[Recipe] = NimConfig

    def __init__(self, config_name: str = "quickstart", *, config: Recipe | None = None, **kwargs: Any) -> None:
        inherited = inspect.signature(datasets.DatasetBuilder).parameters
        options = {key: kwargs.pop(key) for key in list(kwargs) if key not in inherited}
        if config is None:
            config = get_config(config_name, **options)
        # `datasets` neither converts nor checks options and skips those that are None, so it is given the checked ones
        # that differ from the recipe's.
        recipe = recipes()[config.name]
        changed = {key: value for key, value in config.content().items() if value != getattr(recipe, key, value)}
        self.BUILDER_CONFIG_CLASS = type(config)
        # The cache folder is `nim/<config>/<version>/<digest>`.
        kwargs.setdefault("dataset_name", "nim")
        super().__init__(config_name=config.name, hash=config.digest(), **changed, **kwargs)
        self.config = config

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.config.features, description="Generated games as text.")

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [
            datasets.SplitGenerator(
                name=split, gen_kwargs={"split": split, "ranges": block_ranges(self.config.num_rows(split))}
            )
            for split in self.config.splits
        ]

    def _generate_tables(self, split: str, ranges: list[tuple[int, int]]) -> Iterator[tuple[Key, pa.Table]]:
        for start, stop in ranges:
            for table in generate(self.config, split, start, stop):
                yield Key(start, 0), table


def block_ranges(rows: int) -> list[tuple[int, int]]:
    """Row ranges of whole blocks; `num_proc` workers share them out."""
    return [(start, min(start + BLOCK_ROWS, rows)) for start in range(0, rows, BLOCK_ROWS)]


def load(
    name: str, split: str | None = None, *, num_proc: int | None = None, **overrides: Any
) -> datasets.DatasetDict | datasets.Dataset:
    """All splits of a recipe as a `DatasetDict`, or one `split` as a `Dataset`.

    `overrides` are options of the recipe: `load("pairs20000", cheat_prob=0.9, n_train=1000)`. Rows are generated once
    and then read from the `datasets` cache. Raises `UserError` for an unknown recipe, split or option.
    """
    config = get_config(name, **overrides)
    if split is not None and split not in config.splits:
        raise UserError(f"{name}: {unknown('split', split, config.splits)}")
    return load_config(config, split, num_proc=num_proc)


def load_config(
    config: Recipe, split: str | None = None, *, num_proc: int | None = None
) -> datasets.DatasetDict | datasets.Dataset:
    """The same for a checked config."""
    builder = NimBuilder(config=config)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset(split=split)
