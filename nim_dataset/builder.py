"""The generated rows as `datasets`: a builder with one config per recipe, and `load` and `stream`, its short forms."""

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
from nim_dataset.late_torch import wait_for_torch
from nim_dataset.options import coerce
from nim_dataset.recipes import get_config, recipes
from nim_dataset.rows import generate


class NimBuilder(datasets.ArrowBasedBuilder):
    """`NimBuilder("pairs20000", cheat_prob=0.9).download_and_prepare(num_proc=2)`.

    Keyword arguments are the recipe's options (`NimConfig`'s, for Nim), then those of `datasets.DatasetBuilder`
    (`cache_dir`, ...). `shards` is into how many parts a split falls, for workers to share; by default, a part is a
    block of rows.
    """

    BUILDER_CONFIG_CLASS: type[Recipe] = NimConfig

    def __init__(
        self,
        config_name: str = "quickstart",
        *,
        config: Recipe | None = None,
        shards: int | None = None,
        **kwargs: Any,
    ) -> None:
        shards = coerce("shards", shards, int | None)
        if shards is not None and shards < 1:
            raise UserError(f"shards: got {shards}, but 1 or more is allowed")
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
        self.shards = shards

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.config.features, description="Generated games as text.")

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        rows = {split: self.config.num_rows(split) for split in self.config.splits}
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"split": split, "ranges": row_ranges(count, self.shards)})
            for split, count in rows.items()
        ]

    def _generate_tables(self, split: str, ranges: list[tuple[int, int]]) -> Iterator[tuple[Key, pa.Table]]:
        for start, stop in ranges:
            for batch, table in enumerate(generate(self.config, split, start, stop)):
                yield Key(start, batch), table


def row_ranges(rows: int, shards: int | None = None) -> list[tuple[int, int]]:
    """First and end row of each of `shards` parts, without those that would be empty; by default of each block."""
    if shards is None:
        return [(start, min(start + BLOCK_ROWS, rows)) for start in range(0, rows, BLOCK_ROWS)]
    shards = min(shards, rows)
    return [(rows * shard // shards, rows * (shard + 1) // shards) for shard in range(shards)]


def load(
    name: str,
    split: str | datasets.Split | datasets.ReadInstruction | None = None,
    *,
    num_proc: int | None = None,
    **overrides: Any,
) -> datasets.DatasetDict | datasets.Dataset:
    """All splits of a recipe as a `DatasetDict`, or one `split` (or `"train[:10%]"`, `"eval+neutral"`) as a `Dataset`.

    `overrides` are options of the recipe: `load("pairs20000", cheat_prob=0.9, n_train=1000)`. Rows are generated once
    and then read from the `datasets` cache. Raises `UserError` for an unknown recipe, split or option.
    """
    config = get_config(name, **overrides)
    if split is not None:
        split = split.to_spec() if isinstance(split, datasets.ReadInstruction) else str(split)
        check_split(config, split)
    return load_config(config, split, num_proc=num_proc)


def stream(
    name: str, split: str | None = None, *, shards: int | None = None, **overrides: Any
) -> datasets.IterableDatasetDict | datasets.IterableDataset:
    """The same rows, made while they are read, with nothing in a cache: all splits, or one `split`.

    A split falls into `shards` parts (by default, blocks of 8,192 rows), which the workers of a `DataLoader` and
    `datasets.distributed.split_dataset_by_node` share. Raises `UserError` as `load` does.
    """
    config = get_config(name, **overrides)
    if split is not None and split not in config.splits:
        raise UserError(f"{name}: {unknown('split', split, config.splits)}")
    wait_for_torch()
    return NimBuilder(config=config, shards=shards).as_streaming_dataset(split)


def check_split(config: Recipe, split: str) -> None:
    """Raises `UserError` unless `datasets` can read `split`, such as `train[:10%]+eval`, of the recipe's splits."""
    for part in split.split("+"):
        name = part.partition("[")[0].strip()
        if name not in config.splits:
            raise UserError(f"{config.name}: {unknown('split', name, config.splits)}")
    rows = {name: config.num_rows(name) for name in config.splits}
    try:
        parts = datasets.ReadInstruction.from_spec(split).to_absolute(rows)
    except (ValueError, AssertionError) as error:
        raise UserError(f"{config.name}: split '{split}': {error}") from None
    if all(part.from_ >= part.to for part in parts):
        given = ", ".join(f"{part.splitname} has {rows[part.splitname]:,}" for part in parts)
        raise UserError(f"{config.name}: split '{split}' holds no rows: {given}")


def load_config(
    config: Recipe, split: str | None = None, *, num_proc: int | None = None
) -> datasets.DatasetDict | datasets.Dataset:
    """The same for a checked config."""
    builder = NimBuilder(config=config)
    builder.download_and_prepare(num_proc=num_proc)
    found = builder.as_dataset(split=split)
    for rows in found.values() if isinstance(found, datasets.DatasetDict) else [found]:
        rows.info.dataset_name = None  # by which Ray would ask the Hub for a dataset called "nim"
    return found
