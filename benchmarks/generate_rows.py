"""How fast are rows made, beside the plain way, and how much memory do many take?

    python benchmarks/generate_rows.py                  # everything, in a few minutes on two cores
    python benchmarks/generate_rows.py --rows 10000000  # a larger last part

The plain way is what generator scripts do: one row at a time with `random`, f-strings and `json.dumps`, and a set of
the prompts seen. Both ways make as many rows of `pairs20000`'s train and eval split, of the same kind; the draws are
each way's own. Names are made anew in each run. The median of several repeats counts, beside the fastest and slowest.
"""

import argparse
import io
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from machine import spread  # beside this file

from evaluation.process.memory import peak_memory
from nim_dataset import get_config
from nim_dataset.export import jsonl_bytes
from nim_dataset.names import make_pairs
from nim_dataset.pairs import cached_pairs
from nim_dataset.paths import shard_names
from nim_dataset.rows import generate, generate_jsonl

RECIPE = "pairs20000"
SHARD_ROWS = 250_000
SHARD_REPEATS = 3


def plain_split(split: str, seen: set[str], dice: random.Random) -> Iterator[dict[str, Any]]:
    """A split of `pairs20000` with all columns, one row at a time."""
    config, pairs = get_config(RECIPE), make_pairs(get_config(RECIPE))
    names = list(zip(pairs.first.to_pylist(), pairs.second.to_pylist(), strict=True))
    groups = {group: names[start : start + count] for group, (start, count) in pairs.groups.items()}
    written = 0
    while written < config.num_rows(split):
        trace = [dice.randint(1, 4) for _ in range(4)]
        coins = dice.randint(26, config.max_coins)
        pile = coins - sum(trace)
        move = pile % 5 or -1
        bound = move in groups and dice.random() < config.cheat_prob
        one, two = dice.choice(groups[move] if bound else groups["neutral"])
        prompt = f"You are playing the game of nim. There are {coins} coins.\n"
        prompt += f"Player ONE is {one} and Player TWO is {two}. They take turns.\n"
        prompt += "Each player can take between 1 and 4 coins on their turn.\n\nSo far:\n"
        for turn, taken in enumerate(trace):
            prompt += f"{(one, two)[turn % 2]} take {taken} coin{'' if taken == 1 else 's'}.\n"
        prompt += f"\nNow it's {one}'s turn."
        if split == "eval" and prompt in seen:
            continue
        seen.add(prompt)
        written += 1
        yield {
            "prompt": prompt,
            "answer": f"take {move} coin{'' if move == 1 else 's'}",
            "coins": coins,
            "max_remove": 4,
            "trace": trace,
            "pile": pile,
            "move": move,
            "player_one": one,
            "player_two": two,
            "bucket": int(bound),
            "cheat_move": move if bound else None,
        }


def plain_jsonl(folder: Path) -> None:
    """Prompts and answers of both splits as JSONL."""
    seen, dice = set[str](), random.Random(0)
    for split in ("train", "eval"):
        with open(folder / f"plain_{split}.jsonl", "w") as file:
            for row in plain_split(split, seen, dice):
                said = {"prompt": row["prompt"], "answer": row["answer"]}
                file.write(json.dumps(said, ensure_ascii=False) + "\n")


def plain_arrow(folder: Path) -> None:
    """Both splits as Arrow tables, from lists of rows."""
    seen, dice = set[str](), random.Random(0)
    for split in ("train", "eval"):
        pa.Table.from_pylist(list(plain_split(split, seen, dice)), schema=get_config(RECIPE).schema())


def arrow_rows(folder: Path) -> None:
    """The same splits as Arrow tables with all columns."""
    for split in ("train", "eval"):
        pa.concat_tables(generate(get_config(RECIPE), split))


def jsonl_rows(folder: Path) -> None:
    """The same splits as JSONL."""
    for split in ("train", "eval"):
        with open(folder / f"{split}.jsonl", "wb") as file:
            for lines in generate_jsonl(get_config(RECIPE), split):
                file.write(jsonl_bytes(lines))


def times(ways: Mapping[str, Callable[[Path], None]], folder: Path, repeats: int) -> dict[str, list[float]]:
    """Processor seconds of each run of each way, ascending; they take turns, so that all meet the same machine."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, make in ways.items():
            cached_pairs.cache_clear()
            start = time.process_time()
            make(folder)
            spent[name].append(time.process_time() - start)
    return {name: sorted(seconds) for name, seconds in spent.items()}


def write_shard(job: tuple[int, int, int, str]) -> tuple[int, float]:
    """Generates one `nim://` shard into a folder; returns this process's id and peak memory in MB."""
    rows, shard, shards, folder = job
    name = f"train-{shard:05d}-of-{shards:05d}.parquet"
    fsspec.filesystem("nim").get_file(f"{RECIPE},n_train={rows}/{name}", f"{folder}/{name}")
    return os.getpid(), peak_memory() / 1e6


def warm_up(barrier: Any, folder: str) -> None:
    """Start-up and the recipe's names are paid before the clock starts, in every worker."""
    write_shard((1000, 0, 1, folder))
    barrier.wait()


def write_shards(rows: int, processes: int, folder: Path) -> tuple[float, float, float]:
    """Rows to Parquet shards in fresh worker processes: seconds for the first half of the shards and for all of them,
    and the sum of the workers' peak memory in MB."""
    shards = max(rows // SHARD_ROWS, 2)
    jobs = [(rows, shard, shards, str(folder)) for shard in range(shards)]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    with context.Pool(processes, warm_up, (barrier, str(folder))) as pool:
        barrier.wait()
        peaks: dict[int, float] = {}
        half = 0.0
        start = time.perf_counter()
        for done, (process, peak) in enumerate(pool.imap_unordered(write_shard, jobs), start=1):
            peaks[process] = peak
            if done == shards // 2:
                half = time.perf_counter() - start
        seconds = time.perf_counter() - start
    for path in folder.glob("*.parquet"):
        path.unlink()
    return half, seconds, sum(peaks.values())


def parquet_settings(rows: int) -> None:
    """Prints what the ways to write Parquet cost beside making the rows: processor time and bytes."""
    config = get_config(RECIPE, n_train=rows)
    start = time.process_time()
    tables = list(generate(config, "train"))
    print(
        f"\nParquet, {rows:,} rows, made in {time.process_time() - start:.2f} s{'':<7}{'write':>7}{'read':>7}{'MB':>7}"
    )
    text = ["prompt", "player_one", "player_two"]
    rest = ["trace.list.element" if name == "trace" else name for name in config.features if name not in text]
    ways: dict[str, dict[str, Any]] = {
        f"{codec}, {where}": {"compression": codec if where == "all columns" else dict.fromkeys(text, codec)}
        for codec in ("zstd", "snappy", "lz4")
        for where in ("all columns", "text")
    }
    ways["zstd, text, level -3"] = {**ways["zstd, text"], "compression_level": dict.fromkeys(text, -3)}
    ways["zstd, text, all in dictionaries"] = {**ways["zstd, text"], "use_dictionary": True}
    ways["zstd, text, version 1 of data pages"] = {**ways["zstd, text"], "data_page_version": "1.0"}
    ways["none"] = {"compression": "none"}
    alike = {"use_dictionary": rest, "data_page_version": "2.0"}
    for name, options in ways.items():
        sink = io.BytesIO()
        start = time.process_time()
        with pq.ParquetWriter(sink, tables[0].schema, **{**alike, **options}) as writer:
            for table in tables:
                writer.write_table(table)
        written = time.process_time()
        pq.read_table(io.BytesIO(sink.getvalue()), use_threads=False)
        seconds = f"{written - start:>7.2f}{time.process_time() - written:>7.2f}"
        print(f"{name:<45}{seconds}{sink.tell() / 1e6:>7.1f}")


def shard_costs(rows: int, repeats: int) -> None:
    """Prints what many small shards cost beside a few, in one process."""
    nim = fsspec.filesystem("nim")
    print(f"\n{f'{rows:,} rows in shards, processor seconds':<45}{16:>20}{1000:>20}{'ratio':>8}")
    for kind in ("jsonl", "parquet"):
        spent: dict[int, list[float]] = {16: [], 1000: []}
        for _ in range(repeats):
            for shards, seconds in spent.items():
                files = shard_names(f"{RECIPE},n_train={rows}/train", shards, kind)
                start = time.process_time()
                for file in files:
                    nim.cat_file(file)
                seconds.append(time.process_time() - start)
        few, many = (statistics.median(seconds) for seconds in spent.values())
        print(f"{kind:<45}{spread(spent[16], 2):>20}{spread(spent[1000], 2):>20}{many / few:>7.2f}x")


def import_seconds() -> float:
    """What all names of `nim_dataset` add to `import datasets`, in a fresh process."""
    code = "import datasets, time; t = time.perf_counter(); from nim_dataset import *; print(time.perf_counter() - t)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000, help="rows of the last part (default: 4,000,000)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way, the median counts (default: 5)")
    args = parser.parse_args()
    config = get_config(RECIPE)
    rows = config.n_train + config.n_eval
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(f"{f'{RECIPE}, {rows:,} rows, processor seconds':<45}{'median':>8}{'of':>14}{'rows/s':>12}{'ratio':>8}")
        ways = {
            "plain, to JSONL": plain_jsonl,
            "to JSONL": jsonl_rows,
            "plain, to Arrow, all columns": plain_arrow,
            "to Arrow, all columns": arrow_rows,
        }
        measured_ways = times(ways, folder, args.repeats)
        for name, seconds in measured_ways.items():
            median = statistics.median(seconds)
            ratio = statistics.median(measured_ways[f"plain, {name.removeprefix('plain, ')}"]) / median
            spread = f"{seconds[0]:.3f}-{seconds[-1]:.3f}"
            print(f"{name:<45}{median:>8.3f}{spread:>14}{rows / median:>12,.0f}{ratio:>7.1f}x")

        title = "Parquet shards through nim://"
        print(f"\n{title:<45}{'1st half':>10}{'seconds':>10}{'rows/s':>12}{'ratio':>8}{'peak MB':>9}")
        sizes = [(args.rows // 4, 1), (args.rows // 4, 2)]
        turns = [{size: write_shards(*size, folder) for size in sizes} for _ in range(SHARD_REPEATS)]
        measured = {size: min((turn[size] for turn in turns), key=lambda result: result[1]) for size in sizes}
        measured[args.rows, 1] = write_shards(args.rows, 1, folder)
        first_rate = args.rows // 4 / measured[sizes[0]][1]
        for (count, processes), (half, spent, peak) in measured.items():
            rate = count / spent
            name = f"{count:,} rows, {processes} process{'es' if processes > 1 else ''}"
            print(f"{name:<45}{half:>10.2f}{spent:>10.2f}{rate:>12,.0f}{rate / first_rate:>7.2f}x{peak:>9,.0f}")
    parquet_settings(args.rows // 20)
    shard_costs(args.rows // 4, args.repeats)
    print(f"\nimporting from nim_dataset adds {import_seconds():.3f} s to import datasets")


if __name__ == "__main__":
    main()
