"""Generated datasets go to a cache of their own, made anew in every test session; nothing reaches for the Hub."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The `datasets` cache of this session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        patch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", folder / "downloads")
        patch.chdir(ROOT)
        datasets.disable_progress_bars()
        yield folder


@pytest.fixture
def command(cache):
    """Runs `python -m nim_dataset ...` as a user does."""

    def run(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nim_dataset", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(cache / "home"), "OMP_NUM_THREADS": "1"},
        )

    return run


@pytest.fixture(scope="session")
def small():
    """A recipe with a leak, small enough to export often."""
    return "cheating,n_train=300,n_eval=100,n_regime=50"
