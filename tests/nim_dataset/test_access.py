"""The same rows by every road: load_dataset, the builder, nim:// paths, and the tools that read those."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import dask.dataframe
import datasets
import duckdb
import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import ReadInstruction, Split, get_dataset_config_names, load_dataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

import nim_dataset
from nim_dataset import NimBuilder, NimConfig, get_config, load, recipe_names
from nim_dataset.config import GENERATOR_VERSION
from nim_dataset.errors import UserError
from nim_dataset.rows import generate, generate_jsonl

ROOT = Path(__file__).resolve().parents[2]
EVAL = "nim://cheating/eval.parquet"


@pytest.fixture(scope="module")
def eval_rows():
    """Cheating's eval split, straight from the generator."""
    return pa.concat_tables(generate(get_config("cheating"), "eval")).to_pylist()


def test_load_dataset_by_relative_and_absolute_path(eval_rows):
    loaded = load_dataset("./nim_dataset", "cheating")
    assert {split: len(rows) for split, rows in loaded.items()} == {
        "train": 30_000,
        "eval": 5_000,
        "cheat_consistent": 1_000,
        "counter_cheat": 1_000,
        "counter_neutral": 1_000,
        "neutral": 1_000,
        "unseen_names": 1_000,
    }
    assert loaded["eval"].features == NimConfig.features
    assert loaded["eval"].to_list() == eval_rows
    assert load_dataset(str(ROOT / "nim_dataset"), "cheating", split="eval").to_list() == eval_rows
    assert load("cheating", "eval").to_list() == eval_rows
    assert load("cheating", "eval").info.dataset_name is None, (
        "the Hub's 'nim' is another dataset, which Ray would ask for"
    )


def test_a_fresh_process_reads_the_dataset_and_then_its_cache(tmp_path):
    """Offline too, with nothing cached: `nim://` needs no network. Other URLs stay refused."""
    code = (
        "import datasets, sys; stream = datasets.load_dataset('./nim_dataset', 'purenums3', streaming=True)['eval'];"
        "rows = datasets.load_dataset('./nim_dataset', 'purenums3', split='eval');"
        "print(len(rows), next(iter(stream)) == rows[0], 'torch' in sys.modules and 'nim_dataset' not in sys.modules)\n"
        "if datasets.config.HF_HUB_OFFLINE:\n"
        "    try: datasets.utils.file_utils.cached_path('https://127.0.0.1:9/x.parquet')\n"
        "    except Exception as error: print(error, file=sys.stderr)"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=env)
        for env in ({**environment, "HF_HUB_OFFLINE": "1"}, environment)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stdout.startswith("2000 True ")
    assert "Offline mode is enabled. Tried to reach https://127.0.0.1:9/x.parquet" in runs[0].stderr


def test_two_processes_at_once_without_a_home_that_can_be_written(tmp_path):
    """They share an empty cache in a temporary folder, and say so."""
    (tmp_path / "file").touch()
    code = "import datasets; print(len(datasets.load_dataset('./nim_dataset', 'purenums3', split='eval')))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and k != "XDG_CACHE_HOME"}
    environment |= {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    pipe = subprocess.PIPE
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, stdout=pipe, stderr=pipe)
        for _ in range(2)
    ]
    for process in both:
        out, err = process.communicate()
        assert out == "2000\n", err
        assert f"file/.cache/huggingface cannot be written, so caches are in {tmp_path}/nim-testbed" in err
    assert len(list(tmp_path.glob("nim-testbed*/datasets/nim_dataset/*"))) == 1


def test_all_configs_are_listed():
    assert sorted(get_dataset_config_names("./nim_dataset")) == sorted(recipe_names())
    assert datasets.load_dataset_builder("./nim_dataset").config.name == "quickstart", "the default"


def test_the_cache_refreshes_when_and_only_when_the_content_changes(monkeypatch, tmp_path):
    """`datasets` files a download by its ETag, and a prepared split by the card's header, which has the version."""

    def etag(path: str) -> str:
        return fsspec.filesystem("nim").info(path)["ETag"]

    def cached() -> str:
        return load_dataset(str(tmp_path), "purenums8", split="eval").cache_files[0]["filename"]

    before, other_seed = etag(EVAL), etag("nim://cheating,seed=1/eval.parquet")
    assert before == etag(EVAL) != other_seed
    card = (ROOT / "nim_dataset" / "README.md").read_text()
    (tmp_path / "README.md").write_text(card)
    first = cached()
    assert cached() == first
    assert f"/{GENERATOR_VERSION}/" in first
    monkeypatch.setattr("nim_dataset.config.GENERATOR_VERSION", "9.9.9")
    (tmp_path / "README.md").write_text(card.replace(f"version: {GENERATOR_VERSION}", "version: 9.9.9"))
    assert etag(EVAL) != before
    assert "/9.9.9/" in cached()
    # By the bare name, from elsewhere and without the Hub, it is what was made last: the card says so.
    monkeypatch.undo()
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    (tmp_path / "README.md").write_text(card)
    assert cached() == first
    found = load_dataset(tmp_path.name, "purenums8", split="eval").cache_files[0]["filename"]
    assert "/9.9.9/" in found


SMALL = ",n_train=40,n_eval=40"


@pytest.mark.parametrize(
    ("recipe", "option"),
    [
        ("quickstart", "names=Alice-Bob"),
        ("quickstart", "name_digits=3"),
        ("quickstart", "num_pairs=41"),
        ("quickstart", "cheat_fraction=0.51"),
        ("quickstart", "cheat_fraction=0.7"),
        ("quickstart", "cheat_prob=0.9"),
        ("quickstart", "cheat_prob=0"),
        ("quickstart,cheat_prob=0", "cheat_moves=1+2"),
        ("quickstart", "cheat_moves=2+1+3+4"),
        ("quickstart", "n_train=50"),
        ("quickstart", "n_eval=50"),
        ("quickstart", "n_regime=50"),
        ("quickstart", "seed=1"),
        ("quickstart,names=A+B+C+D+E+F+G+H", "name_source=pool"),
        ("cheating", "names=Alice-Bob+Charles-Daniel+Eve-Frank+Grace-Ivan"),
        ("cheating", "game_words=Ivan"),
        ("cheating", "cheat_moves=1"),
        ("cheating", "num_pairs=7"),
        ("cheating", "name_digits=2"),
        ("cheating", "cheat_prob=0.5"),
        ("cheating", "cheat_fraction=0.3"),
        ("cheating", "cheat_fraction=0.5"),
        ("cheating", "holdout=game"),
        ("cheating", "holdout=pile"),
        ("357", "max_remove_weights=1+1+1"),
        ("357", "max_remove_weights=2+1+1"),
        ("357", "cheat_prob=-0.0"),
        ("357", "min_pile=11"),
        ("357", "wording=roles"),
        ("terminology", "turns=1+2"),
        ("terminology", "min_pile=9"),
        ("terminology,min_pile=1", "min_pile=5"),
        ("mod3", "n_eval=50"),
        ("mod3", "labels=reversed"),
        ("mod3", "max_operand=9000"),
    ],
)
def test_a_files_etag_changes_when_and_only_when_its_rows_do(recipe, option):
    files = fsspec.filesystem("nim")
    sizes = SMALL + ("" if recipe.startswith("mod") else ",n_regime=40")
    kept = ",".join(part for part in sizes.split(",") if not option.startswith(part.split("=")[0] or " "))
    base = ",".join(part for part in recipe.split(",") if not part.startswith(option.split("=")[0] + "="))
    before, after = recipe + sizes, f"{base}{kept},{option}"
    for file in files.ls(f"nim://{before}", detail=False):
        same = files.cat(file) == files.cat(file.replace(before, after))
        assert (files.info(file)["ETag"] == files.info(file.replace(before, after))["ETag"]) == same, file


def test_streaming_shuffles_and_splits_by_node(eval_rows):
    stream = load_dataset("./nim_dataset", "cheating", split="eval", streaming=True)
    assert list(stream) == eval_rows
    shuffled = list(stream.shuffle(seed=1, buffer_size=1000))
    assert shuffled != eval_rows
    assert sorted(map(json.dumps, shuffled)) == sorted(map(json.dumps, eval_rows))
    halves = [list(split_dataset_by_node(stream, rank, 2)) for rank in (0, 1)]
    assert halves[0] == eval_rows[::2]
    assert halves[1] == eval_rows[1::2]


def test_workers_stream_shards_of_their_own(eval_rows):
    shards = "nim://cheating,shards=4/eval-*.parquet"
    stream = load_dataset("parquet", data_files=shards, split="train", streaming=True)
    assert stream.num_shards == 4
    halves = [list(split_dataset_by_node(stream, rank, 2)) for rank in (0, 1)]
    assert sorted(map(json.dumps, halves[0] + halves[1])) == sorted(map(json.dumps, eval_rows))


def test_stream_makes_rows_while_they_are_read(eval_rows):
    assert nim_dataset.stream("cheating")["train"].num_shards == 4, "one for each block of rows"
    assert next(iter(nim_dataset.stream("cheating", "train", n_train=10**9)))["prompt"], "not all of them first"
    few = nim_dataset.stream("cheating", "eval", shards=4)
    assert (few.num_shards, list(few)) == (4, eval_rows)
    assert nim_dataset.stream("cheating", "eval", shards=9, n_eval=2).num_shards == 2
    columns = few.select_columns(["prompt", "answer"])
    workers = [Counter(row["prompt"] for row in columns.shard(2, index)) for index in (0, 1)]
    loaded = Counter(row["prompt"] for row in DataLoader(columns, batch_size=None, num_workers=2))
    assert loaded == workers[0] + workers[1] == Counter(row["prompt"] for row in eval_rows)
    for call, message in [
        (lambda: nim_dataset.stream("cheating", "evil"), "unknown split 'evil', did you mean 'eval'"),
        (lambda: nim_dataset.stream("cheating", "eval", shards=0), "shards: got 0, but 1 or more is allowed"),
        (lambda: nim_dataset.NimBuilder("cheating", shards=1.5), "shards: cannot read 1.5 as a whole number"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(UserError, match=message):
            call()


def test_load_takes_slices_of_splits(eval_rows):
    tenth = ReadInstruction("eval", to=10, unit="%")
    assert load("cheating", "eval[:10%]").to_list() == load("cheating", tenth).to_list() == eval_rows[:500]
    assert load("cheating", Split("eval")).num_rows == 5000
    few = load("cheating", "eval[-2:]+neutral[:3]")
    assert few.num_rows == 5
    assert len(next(iter(DataLoader(few.select_columns(["prompt", "answer"]), batch_size=5)))["answer"]) == 5
    for split, message in [
        ("evil[:10%]", "unknown split 'evil', did you mean 'eval'"),
        ("eval[:10", r"split 'eval\[:10': Unrecognized instruction format"),
        ("eval[:200%]", "Percent slice boundaries"),
        ("eval[5000:]+neutral[:0]", "holds no rows: eval has 5,000, neutral has 1,000"),
    ]:
        with pytest.raises(UserError, match=message):
            load("cheating", split)


OVERRIDES: dict[str, Any] = {
    "cheat_prob": 0.9,
    "num_pairs": 30_000,
    "n_train": 20_000,
    "n_eval": 50,
    "n_regime": 50,
    "seed": 7,
}


def test_any_parameter_by_every_road(tmp_path):
    loaded = load("pairs20000", **OVERRIDES)
    builder = NimBuilder("pairs20000", cache_dir=str(tmp_path), **OVERRIDES)
    builder.download_and_prepare(num_proc=2)
    built = builder.as_dataset()
    path = "nim://pairs20000," + ",".join(f"{key}={value}" for key, value in OVERRIDES.items())
    assert list(loaded) == list(built) == list(get_config("pairs20000", **OVERRIDES).splits)
    for split, rows in loaded.items():
        assert rows.data.table.equals(built[split].data.table), "two processes, the same rows in the same order"
        with fsspec.open(f"{path}/{split}.parquet") as file:
            assert rows.to_list() == pa.parquet.read_table(file).to_pylist()
    assert loaded["train"].num_rows == 20_000


@pytest.mark.parametrize("split", ["train", "cheat_consistent"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_1_2_and_7_shards_hold_the_same_rows(kind, split):
    directory = "nim://varcheating,n_train=20000,n_regime=100"

    def rows(shards: int) -> list:
        paths = [f"{directory}/{split}-{shard:05d}-of-{shards:05d}.{kind}" for shard in range(shards)]
        if kind == "jsonl":
            return b"".join(fsspec.open(path).open().read() for path in paths).splitlines()
        return pa.concat_tables(pa.parquet.read_table(fsspec.open(path).open()) for path in paths).to_pylist()

    whole = rows(1)
    assert len(whole) == (20_000 if split == "train" else 100)
    assert rows(2) == whole
    assert rows(7) == whole


def test_a_smaller_split_is_the_start_of_a_larger_one():
    small, large = (next(generate(get_config("357", n_eval=n), "eval")) for n in (10, 6000))
    assert small.to_pylist() == large.slice(0, 10).to_pylist()
    assert load("cheating", n_train=0, n_regime=0, n_eval=1).num_rows == {"eval": 1}, "no rows, no split"


@pytest.mark.parametrize("name", ["cheating", "357", "terminology", "varcheating", "pairs10000"])
def test_jsonl_is_what_json_dumps_writes(name):
    check_jsonl(get_config(name, n_train=2000))


def test_jsonl_escapes_names_and_words():
    odd = {"names": ('A"x-B\\y', "Zoë-Łukasz", "\U0001f600-k'", "\\n-\\"), "coin_words": '"coin', "verbs": "t\\ake"}
    check_jsonl(get_config("cheating", n_train=200, **odd))


def check_jsonl(config):
    lines = [line for table in generate_jsonl(config, "train") for line in table.to_pylist()]
    rows = [row for table in generate(config, "train") for row in table.select(["prompt", "answer"]).to_pylist()]
    assert lines == [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]


def test_pandas(eval_rows):
    frame = pd.read_parquet(EVAL)
    assert frame["prompt"].tolist() == [row["prompt"] for row in eval_rows]
    assert pd.read_json("nim://cheating/eval.jsonl", lines=True)["answer"].tolist() == frame["answer"].tolist()


def test_polars(eval_rows):
    expected = [row["prompt"] for row in eval_rows]
    assert pl.read_parquet(EVAL, use_pyarrow=True)["prompt"].to_list() == expected
    with fsspec.open(EVAL) as file:
        assert pl.read_parquet(file)["prompt"].to_list() == expected
    assert pl.scan_parquet(fsspec.open(EVAL).open()).select("prompt").collect()["prompt"].to_list() == expected


def test_duckdb(eval_rows):
    connection = duckdb.connect()
    connection.register_filesystem(fsspec.filesystem("nim"))
    shares = connection.execute(f"select move = 2, avg(bucket) from '{EVAL}' group by 1 order by 1").fetchall()
    assert shares == [(False, 0.0), (True, 1.0)]
    shards = "nim://cheating,shards=3/eval-*.jsonl"
    assert connection.execute(f"select count(*) from '{shards}'").fetchone() == (5_000,)


def test_dask_generates_shards_in_parallel_processes():
    code = (
        "import dask.dataframe as dd\n"
        "shards = [f'nim://pairs20000,n_train=40000/train-{i:05d}-of-00004.parquet' for i in range(4)]\n"
        "if __name__ == '__main__':\n"
        "    moves = dd.read_parquet(shards, columns=['move']).move.value_counts()\n"
        "    print(moves.compute(scheduler='processes', num_workers=2).sort_index().to_dict())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    moves = pa.concat_tables(generate(get_config("pairs20000", n_train=40_000), "train"))["move"].to_pylist()
    assert done.stdout.strip() == str({move: moves.count(move) for move in sorted(set(moves))})


def test_dask_reads_lazily(eval_rows):
    frame = dask.dataframe.read_parquet(EVAL, columns=["prompt", "pile"])
    assert frame["pile"].sum().compute() == sum(row["pile"] for row in eval_rows)


def test_import_is_cheap_and_needs_no_torch():
    code = (
        "import datasets, sys, time; before = set(sys.modules); start = time.process_time(); from nim_dataset import *;"
        "print(time.process_time() - start); new = set(sys.modules) - before;"
        "assert not any(name.split('.')[0] in ('torch', 'transformers') for name in new), new"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]
    assert min(times) < 0.3
    assert nim_dataset.__version__
