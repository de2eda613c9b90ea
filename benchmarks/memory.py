"""How much memory does it take to check, load, score and report many rows?

    python benchmarks/memory.py                 # a million rows, in about four minutes on two cores
    python benchmarks/memory.py --rows 100000   # a tenth of them: the memory should be nearly the same

Each line has the peak of the process's own memory (without mapped files, whose pages the system can take back) above
what it held before, and CPU seconds. What earlier stages let go is given back before each. Answers are the right ones,
but for three in ten, which are drawn anew. All stages run on a few rows first, so that what is imported and kept once
is not counted.
"""

import argparse
import contextlib
import ctypes
import gc
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from datasets import Dataset, disable_progress_bars
from machine import machine  # beside this file

import nim_dataset
from evaluation.artifacts.report_folder import ReportFolder
from evaluation.measures.answers import Answers, PredictionRows
from evaluation.report.page import write_report
from nim_dataset.__main__ import main as nim_dataset_command
from nim_dataset.sources import Source

RECIPE = "pairs20000"
CHECKPOINT, SET = "checkpoint-1", f"{RECIPE}:train"
LOOKS_EVERY = 0.01
"""Seconds between two looks at the memory."""


def own_bytes() -> int:
    """Memory of this process but for what it shares with files."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def give_back() -> None:
    """Free memory goes back to the system, as far as it can be told to, so that no stage lives on that of another."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def measured(what: str, do: Callable[[], Any]) -> Any:
    """What `do` gives; prints its peak of memory and its CPU seconds."""
    give_back()
    over, peak = threading.Event(), [0]

    def watch() -> None:
        while not over.wait(LOOKS_EVERY):
            peak[0] = max(peak[0], own_bytes())

    before, began = own_bytes(), time.process_time()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = do()
    finally:
        over.set()
        watcher.join()
    seconds = time.process_time() - began
    print(f"{what:<34}{max(0, peak[0] - before) / 1e6:7.0f} MB{seconds:8.1f} s", flush=True)
    return result


def answers_to(rows: Dataset) -> list[str]:
    """The right answers, but for three rows in ten."""
    right = rows["answer"][:]
    possible = sorted(set(right))
    random = np.random.default_rng(0)
    wrong_N, other_N = random.random(len(right)) < 0.3, random.integers(len(possible), size=len(right))
    return [possible[other] if wrong else gold for gold, wrong, other in zip(right, wrong_N, other_N, strict=True)]


def command(*arguments: str) -> None:
    """`python -m nim_dataset`, which has to end well."""
    if status := nim_dataset_command([*arguments]):
        raise SystemExit(status)


def stages(folder: Path, count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is done, in this order, with files in `folder`."""
    recipe = f"{RECIPE},n_train={count},n_eval=1000"
    files = folder / "rows"
    yield "export to JSONL", lambda: command("export", recipe, "--output", str(files))
    both = ["--train", str(files / "train.jsonl"), "--eval", str(files / "eval.jsonl")]
    yield "check", lambda: command("check", *both)
    yield "load JSONL", lambda: Source.parse(str(files / "train.jsonl")).load()
    rows = nim_dataset.load(RECIPE, n_train=count, n_eval=1000)["train"]
    said, answers, report = PredictionRows(rows, answers_to(rows)), Answers(), ReportFolder(folder / "report")
    yield "score", lambda: answers.found(CHECKPOINT, 1, SET, said)
    yield "write predictions", lambda: answers.write(report, CHECKPOINT, SET, said)
    yield "read and score predictions", lambda: answers.read(report, CHECKPOINT, 1, SET)
    report.write_results(answers.found(CHECKPOINT, 1, SET, said).results)
    yield "report", lambda: write_report([report.path])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each stage (default: 1000000)")
    args = parser.parse_args()
    disable_progress_bars()
    print(f"{machine()}\n{args.rows:,} rows of {RECIPE}", flush=True)
    for count in (1000, args.rows):  # first a few rows, unseen: what is imported and kept once is there afterwards
        with tempfile.TemporaryDirectory() as folder:
            for what, do in stages(Path(folder), count):
                with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()):
                    measured(what, do)
                if count == args.rows:
                    print(printed.getvalue().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
