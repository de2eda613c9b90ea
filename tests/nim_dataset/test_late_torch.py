"""A stream costs no import of torch, and is as good for torch as any."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import subprocess
import sys

SCRIPT = """
import multiprocessing, sys
from datasets import load_dataset
import nim_dataset

if __name__ == "__main__":
    games = load_dataset("./nim_dataset", "cheating", streaming=True)["eval"]
    own = nim_dataset.stream("cheating", "eval", n_eval=40, shards=2).select_columns(["answer"])
    assert next(iter(games))["prompt"] and next(iter(own))["answer"]
    assert "torch" not in sys.modules
    import torch.utils.data
    assert isinstance(games, torch.utils.data.IterableDataset)
    assert games._epoch.is_shared() and own._epoch.is_shared()  # set_epoch reaches workers that persist
    loader = torch.utils.data.DataLoader(own, batch_size=None, num_workers=2)
    assert sorted(row["answer"] for row in loader) == sorted(row["answer"] for row in own)
    assert nim_dataset.stream("cheating", "eval")._epoch.is_shared()
"""


def test_streams_made_before_torch_are_torchs_too():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
