"""Rows never change by accident: digests of the first rows of each recipe.

After a deliberate change, raise `GENERATOR_VERSION` in nim_dataset/config.py (old caches refresh by it), then run
`python tests/nim_dataset/test_golden.py`.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs

import hashlib
import json
from pathlib import Path

import pytest

from nim_dataset import get_config, recipe_names
from nim_dataset.config import GENERATOR_VERSION
from nim_dataset.rows import generate

FILE = Path(__file__).with_name("golden_digests.json")


def digests(name: str) -> dict[str, str]:
    """By split, a digest of the first 100 rows with all columns."""
    config = get_config(name)
    return {
        split: hashlib.sha256(json.dumps(next(generate(config, split, 0, 100)).to_pylist()).encode()).hexdigest()[:16]
        for split in config.splits
    }


@pytest.mark.parametrize("name", recipe_names())
def test_first_rows_are_as_they_were(name):
    golden = json.loads(FILE.read_text())
    assert golden["generator_version"] == GENERATOR_VERSION, "a new version needs new digests"
    assert digests(name) == golden[name], "rows changed: if they should, raise GENERATOR_VERSION (see this file's top)"


if __name__ == "__main__":
    found = {"generator_version": GENERATOR_VERSION, **{name: digests(name) for name in recipe_names()}}
    FILE.write_text(json.dumps(found, indent=1) + "\n")
