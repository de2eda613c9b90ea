"""Short scripts that leave a stream, a file or a table half read all end well, whatever threads still read ahead."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "nim://pairs20000/train.parquet"
LOAD = "from datasets import *; games = load_dataset('./nim_dataset', 'pairs20000', streaming=True)['train']"
SHARDS = "data_files='nim://pairs20000,n_train=20000,shards=2/train-*.parquet', split='train', streaming=True"
WORKERS = "from torch.utils.data import DataLoader"
FILE = f"import fsspec; file = fsspec.open('{TRAIN}').open()"
DUCKDB = "import duckdb, fsspec; duckdb.register_filesystem(fsspec.filesystem('nim'))\nrows = duckdb"
FORMS = {
    "break": f"{LOAD}\nfor row in games: break",
    "islice": f"from itertools import islice\n{LOAD}\nlist(islice(games, 3))",
    "iterator": f"{LOAD}\nrows = iter(games); next(rows)",
    "shuffle": f"{LOAD}\nlist(games.shuffle(seed=1, buffer_size=100).take(3))",
    "batches": f"{LOAD}\nrows = games.iter(batch_size=100); next(rows)",
    "interleave": f"{LOAD}\nrows = iter(interleave_datasets([games, games])); next(rows)",
    "stream": "import nim_dataset\nrows = iter(nim_dataset.stream('pairs20000', 'train')); next(rows)",
    "exit": f"import sys\n{LOAD}\nfor row in games: sys.exit(0)",
    "shards": f"from datasets import *\nrows = iter(load_dataset('parquet', {SHARDS})); next(rows)",
    "workers": f"{WORKERS}\nfrom datasets import *\n"
    f"games = load_dataset('parquet', {SHARDS}).select_columns(['prompt'])\n"
    "rows = iter(DataLoader(games, batch_size=4, num_workers=2)); next(rows)",
    "workers that persist": f"{WORKERS}\n{LOAD}\ngames = games.select_columns(['prompt'])\n"
    "for batch in DataLoader(games, batch_size=4, num_workers=1, persistent_workers=True): break",
    "file": f"{FILE}; file.read(100)",
    "thread": f"{FILE}\nimport threading; threading.Thread(target=file.read, daemon=True).start()",
    "pyarrow": f"{FILE}\nimport pyarrow.parquet as pq; rows = pq.ParquetFile(file).iter_batches(); next(rows)",
    "scanner": "import fsspec, pyarrow.dataset as ds; files = fsspec.filesystem('nim')\n"
    "rows = ds.dataset('pairs20000/train.parquet', filesystem=files).to_batches(batch_size=10); next(rows)",
    "pandas": f"import pandas as pd\npd.read_parquet('{TRAIN}', columns=['move'])",
    "polars": f"{FILE}\nimport polars as pl; pl.scan_parquet(file).head(3).collect()",
    "duckdb": f"{DUCKDB}.execute(\"from '{TRAIN}'\"); rows.fetchone()",
    "take": f"{LOAD}\nlist(games.take(2))",
    "dask": f"import dask.dataframe as dd\ndd.read_parquet('{TRAIN}').head(3)",
}
"""What users write, by what it leaves behind."""


def ends_well(script, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "terminate called" not in done.stderr


@pytest.mark.parametrize("form", ["scanner", "pandas"])
def test_threads_of_arrow_do_not_outlive_the_interpreter(form, tmp_path):
    ends_well(FORMS[form], tmp_path)


DROPPED_LATE = """
import atexit, threading, time, weakref
atexit.register(lambda: print([reference() for reference in kept]))  # called last, since registered first
import fsspec, pyarrow.fs
nim = fsspec.filesystem("nim")
held = [nim.open("quickstart/train.parquet"), pyarrow.fs.FSSpecHandler(nim)]
kept = [weakref.ref(each) for each in held]
threading.Thread(target=lambda: time.sleep(0.1) or held.clear(), daemon=True).start()
"""


def test_the_end_waits_for_a_thread_that_drops_a_file_and_the_file_system():
    done = subprocess.run([sys.executable, "-c", DROPPED_LATE], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[None, None]\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_five_scripts_of_each_form(form, tmp_path):
    for _ in range(5):
        ends_well(FORMS[form], tmp_path)
