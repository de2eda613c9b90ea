"""Rows of a split as tables or as lines of JSON, whole columns at a time. Legend of the shapes in names: N = rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from nim_dataset.blocks import draw_rows
from nim_dataset.config import Games, Recipe
from nim_dataset.names import NamedRecipe, make_pairs


def generate(config: Recipe, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
    """Rows `start` to `stop` (default: all) of a split, one table per block, in order."""
    schema = config.schema()
    for games, pair_N in draw_rows(config, split, start, stop):
        yield to_table(config, schema, games, pair_N)


def generate_jsonl(config: Recipe, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.StringArray]:
    """Prompts and answers of the same rows as lines of JSON, one array of lines per block."""
    for games, pair_N in draw_rows(config, split, start, stop):
        yield to_jsonl(config, games, pair_N)


def to_table(config: Recipe, schema: pa.Schema, games: Games, pair_N: np.ndarray) -> pa.Table:
    """The rows as an Arrow table with the columns of `config.features`."""
    texts, answer_N = config.answers(games)
    columns: dict[str, Any] = {
        "answer": pa.array([config.answer_prefix + text for text in texts]).take(pa.array(answer_N)),
        "move": games.move_N,
        **config.columns(games),
    }
    players_N: tuple[pa.Array, ...] = ()
    if isinstance(config, NamedRecipe):
        pairs = make_pairs(config)
        players_N = tuple(side.take(pa.array(pair_N)) for side in (pairs.first, pairs.second))
        columns |= pairs.columns(pair_N, *players_N)
    columns["prompt"] = config.lay_out(games, *players_N).join()
    return pa.table([pa.array(columns[name]) for name in schema.names], schema=schema)


def to_jsonl(config: Recipe, games: Games, pair_N: np.ndarray) -> pa.StringArray:
    """`{"prompt": ..., "answer": ...}` lines, byte for byte as `json.dumps(row, ensure_ascii=False)` writes them."""
    names = make_pairs(config).in_json if isinstance(config, NamedRecipe) else ()
    text = config.lay_out(games, *(side.take(pa.array(pair_N)) for side in names))
    texts, answer_N = config.answers(games)
    answer_N = text.phrase([config.answer_prefix + answer for answer in texts], answer_N)
    text.escape()
    text.wrap(text.phrase(['{"prompt": "']), text.phrase(['", "answer": "']), answer_N, text.phrase(['"}\n']))
    return text.join()
