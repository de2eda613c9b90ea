"""nim:// as a filesystem: what it lists, how large files are, what is made to read them, and what it refuses."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import errno
import json
import os
import pickle
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import dask.dataframe
import duckdb
import fsspec
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet
import pytest
from datasets import load_dataset

from nim_dataset import load, recipe_names
from nim_dataset.errors import UserError
from nim_dataset.generated import PIECES

EVAL = "nim://cheating/eval.parquet"


@pytest.fixture
def files():
    return fsspec.filesystem("nim")


def test_the_filesystem_lists_what_exists(files):
    assert files.ls("nim://", detail=False) == recipe_names()
    assert files.ls("nim://357", detail=False) == [
        "357/train.parquet",
        "357/train.jsonl",
        "357/eval.parquet",
        "357/eval.jsonl",
        "357/manifest.json",
    ]
    assert "cheating/neutral.parquet" in files.glob("nim://*/neutral.parquet")
    assert files.isdir("nim://cheating")
    assert files.isfile(EVAL)
    assert files.size(EVAL) == len(files.cat(EVAL))
    assert json.loads(files.cat("nim://cheating/manifest.json"))["cheat_by_move"] == {"2": ["Alice-Bob"]}
    assert pyarrow.dataset.dataset("cheating/eval.parquet", filesystem=files).count_rows() == 5000


def test_sizes_are_those_of_the_bytes(files):
    sizes = {name: len(files.cat(name)) for name in files.ls("nim://357,n_train=100", detail=False)}
    info = files.info("nim://357,n_train=100/train.jsonl")
    size = sizes["357,n_train=100/train.jsonl"]
    copies = [info, info.copy(), dict(info), {**info}, pickle.loads(pickle.dumps(info)), json.loads(json.dumps(info))]
    assert [copy["size"] for copy in copies] == [size] * 6
    assert f"'size': {size}" in str(info)
    assert info.get("size") == size
    assert files.du("nim://357,n_train=100") == sum(sizes.values())
    with pytest.raises(UserError, match="did you mean '357'"):
        files.du("nim://358")
    assert "train.jsonl (" in files.tree("nim://357,n_train=100", display_size=True)
    assert fsspec.filesystem("dir", path="357,n_train=100", fs=files).info("train.jsonl")["size"] == size
    with files.open(info["name"]) as file:
        assert file.size == size
        assert file.seek(-5, 2) == size - 5
        assert len(file.read()) == 5
    assert files.tail(info["name"], 5) == files.cat_file(info["name"], start=-5)


def test_parts_of_files(files):
    path = "nim://357,n_train=100/train.jsonl"
    lines = files.cat(path).splitlines(keepends=True)
    assert files.read_block(path, 1, len(lines[0]), b"\n") == lines[1]
    assert list(files.open(path)) == lines
    assert dask.dataframe.read_json(path, blocksize=2000, lines=True).answer.count().compute() == 100
    cached = pd.read_parquet(f"blockcache::{EVAL}"), pd.read_parquet(f"simplecache::{EVAL}")
    assert cached[0].equals(pd.read_parquet(EVAL))
    assert cached[1].equals(cached[0])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_start_of_a_file_is_made_without_the_rest(files, kind):
    assert len(files.head(f"nim://357,n_train=1000000000/train.{kind}", 10)) == 10


@pytest.mark.parametrize(("kind", "limit"), [("jsonl", 4_000_000), ("parquet", 250_000)])
def test_what_was_dropped_from_memory_is_made_again(files, kind, limit, monkeypatch, tmp_path):
    monkeypatch.setattr(PIECES, "limit", limit)
    path = f"nim://varcheating,n_train=40000/train-00001-of-00002.{kind}"
    files.get(path, str(tmp_path / "whole"))
    whole = (tmp_path / "whole").read_bytes()
    assert len(whole) > 1.5 * limit
    with files.open(path) as file:
        assert file.read() == whole
        for start in range(len(whole) - 10, 0, -len(whole) // 7):
            file.seek(start)
            assert file.read(1000) == whole[start : start + 1000]
    assert 0 < PIECES.bytes <= limit


def test_threads_share_a_file_and_an_interrupted_reader_may_try_again(files):
    path = "nim://357,n_train=150000/train.jsonl"
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.03)
    try:
        with pytest.raises(KeyboardInterrupt):
            files.size(path)
    finally:
        signal.signal(signal.SIGALRM, before)
    with ThreadPoolExecutor(4) as pool:
        starts = range(0, 45_000_000, 5_000_000)
        parts = list(pool.map(lambda start: files.cat_file(path, start, start + 5_000_000), starts))
    whole = b"".join(parts)
    assert whole.count(b"\n") == 150_000
    assert len(whole) == files.size(path)


def test_an_empty_shard_has_no_rows_and_no_row_group(files):
    shards = files.glob("nim://357,n_eval=2,shards=4/eval-*.parquet")
    found = [pyarrow.parquet.ParquetFile(files.open(shard)).metadata for shard in shards]
    assert [(part.num_rows, part.num_row_groups) for part in found] == [(0, 0), (1, 1), (0, 0), (1, 1)]
    paths = [f"nim://{shard}" for shard in shards]
    whole = pd.read_parquet("nim://357,n_eval=2/eval.parquet")["prompt"].tolist()
    assert load_dataset("parquet", data_files=paths, split="train")["prompt"] == whole
    assert [row["prompt"] for row in load_dataset("parquet", data_files=paths, split="train", streaming=True)] == whole
    lines = [files.cat(path.replace("parquet", "jsonl")) for path in paths]
    assert b"".join(lines) == files.cat("nim://357,n_eval=2/eval.jsonl")


def test_globs_find_the_shards_that_are_asked_for(files):
    shards = [f"train-{shard:05d}-of-00003.parquet" for shard in range(3)]
    asked = "pairs20000,n_train=800,shards=3"
    assert files.glob(f"nim://{asked}/train-*.parquet") == [f"{asked}/{shard}" for shard in shards]
    assert files.glob("nim://357/train-*-of-00003.parquet") == [f"357/{shard}" for shard in shards]
    assert list(files.glob("nim://357/train-*-of-00003.parquet", detail=True)) == [f"357/{shard}" for shard in shards]
    assert f"{asked}/{shards[0]}" in files.ls(f"nim://{asked}", detail=False)
    first = (files.info(f"nim://{directory}/{shards[0]}") for directory in (asked, "pairs20000,n_train=800"))
    assert len({info["ETag"] for info in first}) == 1
    for pattern, message in [
        ("357/train-*.parquet", "say how many shards there are: nim://357,shards=8/train-*.parquet"),
        ("357,shards=x/train-*.parquet", "shards: got x, but one number from 1 to 99999 is allowed"),
        ("357,shards=2,shards=3/train-*.parquet", "shards: got 2 and 3, but one number"),
    ]:
        with pytest.raises(UserError, match=re.escape(message)):
            files.glob(f"nim://{pattern}")


def test_a_pattern_never_mixes_splits_in_a_table(files):
    message = "mix rows of .*(train|eval), .*(train|eval) in one table; name one split, such as nim://357/.*.parquet"
    for pattern in ("nim://357/*.parquet", "nim://357/**/*.parquet", "nim://*57/*.parquet"):
        with pytest.raises(UserError, match=message):
            files.glob(pattern)
    for read in (
        lambda: load_dataset("parquet", data_files="nim://357/*.parquet"),
        lambda: pd.read_parquet("nim://357"),  # as Ray, which takes Parquet files alone from a directory
        lambda: pyarrow.dataset.dataset("357", filesystem=files, exclude_invalid_files=True),
    ):
        with pytest.raises(UserError, match=message):
            read()
    with pytest.raises(duckdb.Error, match=message):
        database().execute("select count(*) from 'nim://357/*.parquet'")
    for listed in (
        files.glob("nim://357/*"),
        files.glob("nim://357/**")[1:],
        files.find("357"),
        files.find("357", detail=True),
    ):
        assert len(listed) == 5, "all files, which no reader takes for a table"


def database():
    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("nim"))
    return connection


@pytest.mark.parametrize(
    "read",
    [
        pd.read_parquet,
        lambda path: load_dataset("parquet", data_files=path),
        lambda path: database().execute(f"select count(*) from '{path}'"),
        lambda path: pyarrow.dataset.dataset(path.removeprefix("nim://"), filesystem=fsspec.filesystem("nim")),
    ],
    ids=["pandas", "datasets", "duckdb", "pyarrow"],
)
def test_readers_pass_on_what_is_wrong_with_a_path(read):
    for path, message in [
        ("nim://cheatin/eval.parquet", "unknown recipe 'cheatin', did you mean 'cheating'?"),
        ("nim://cheating/evil.parquet", "unknown split 'evil', did you mean 'eval'?"),
    ]:
        with pytest.raises(Exception, match=re.escape(message)):
            read(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files.mkdir("nim://357/new"),
        lambda files: files.makedirs("nim://new"),
        lambda files: files.rm("nim://357/eval.jsonl"),
        lambda files: files.touch("nim://357/new"),
        lambda files: files.pipe("nim://357/new", b""),
        lambda files: files.put(__file__, "nim://357/new"),
        lambda files: files.cp("nim://357/eval.jsonl", "nim://357/new"),
        lambda files: files.mv("nim://357/eval.jsonl", "nim://357/new"),
        lambda files: files.open("nim://357/new", "wb"),
    ],
)
def test_nothing_can_be_changed(files, change):
    with pytest.raises(OSError, match="generated files are read-only") as refused:
        change(files)
    assert refused.value.errno == errno.EROFS


@pytest.mark.slow
def test_ray_reads_shards_and_makes_them_in_parallel(files):
    ray = pytest.importorskip("ray")
    shards = files.glob("nim://pairs20000,n_train=40000,shards=4/train-*.parquet")

    def read(batch):
        time.sleep(1)  # so that one process cannot be through before another has begun
        rows = pyarrow.parquet.read_table(batch["item"][0], columns=["move"], filesystem=fsspec.filesystem("nim"))
        return rows.append_column("process", [[os.getpid()] * len(rows)])

    ray.init(num_cpus=2, include_dashboard=False)
    try:
        moves = ray.data.read_parquet(shards, filesystem=files).select_columns(["move"]).to_pandas()["move"]
        loaded = ray.data.from_huggingface(load("pairs20000", "train", n_train=40_000)).count()
        made = ray.data.from_items(shards).map_batches(read, batch_size=1).to_pandas()
    finally:
        ray.shutdown()
    expected = pd.read_parquet("nim://pairs20000,n_train=40000/train.parquet")["move"].value_counts().to_dict()
    assert moves.value_counts().to_dict() == made["move"].value_counts().to_dict() == expected
    assert (made["process"].nunique(), loaded) == (2, 40_000)
