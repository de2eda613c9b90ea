"""A run writes down how its process computed, and its continuation computes in the same way."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.artifacts.run_folder import ENVIRONMENT
from evaluation.process import products


def recorded(folder: Path) -> dict[str, Any]:
    environment: dict[str, Any] = json.loads((folder / ENVIRONMENT).read_text())
    return environment


@pytest.mark.skipif(not products.is_available(), reason="this torch has no oneDNN beside MKL")
def test_a_continued_run_takes_the_recorded_products(launch: Any, tmp_path: Path) -> None:
    first = launch(tmp_path / "run", "--max_steps", "2", "--save_at", "1")
    assert first.status == 0, first.stderr
    written = recorded(first.folder)
    assert written["threads"] == 1
    assert set(written["onednn_products"]) <= set(products.KINDS)
    assert written["deterministic"] is False

    others = [kind for kind in products.KINDS if kind not in written["onednn_products"]]
    (first.folder / ENVIRONMENT).write_text(json.dumps(written | {"onednn_products": others}))
    for file in (first.folder / "checkpoint-2").iterdir():
        file.unlink()
    again = launch(first.folder, "--max_steps", "2", "--save_at", "1", "--resume_from_checkpoint", "auto")
    assert again.status == 0, again.stderr
    assert "continuing from" in again.stdout
    assert recorded(again.folder)["onednn_products"] == others
