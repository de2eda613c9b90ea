"""Shards of a split with fewer rows than shards."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import fsspec
import pyarrow.parquet as pq
from datasets import load_dataset

from nim_dataset import load


def test_shards_without_rows_are_read_too(tmp_path):
    """Three rows in ten shards: the others are files without a row, and without a row group."""
    shards = [f"nim://cheating,n_eval=3/eval-{shard:05d}-of-00010.parquet" for shard in range(10)]
    assert [pq.ParquetFile(fsspec.open(path).open()).num_row_groups for path in shards].count(1) == 3
    for streaming in (False, True):
        rows = load_dataset("parquet", data_files=shards, split="train", streaming=streaming, cache_dir=tmp_path)
        assert list(rows) == load("cheating", "eval", n_eval=3).to_list()
