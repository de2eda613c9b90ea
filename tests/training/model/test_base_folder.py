"""Base models from a folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluation.artifacts.models import BrokenCheckpointError, find_checkpoints, load_checkpoint
from nim_dataset.errors import UserError
from tests.training.model.saved_models import in_shards, saved
from training.config import ModelConfig
from training.model.base import load_base


def test_a_folder_keeps_its_weights(data: Any, tmp_path: Path) -> None:
    model = data.model("llama", seed=5)
    model.save_pretrained(tmp_path)
    data.tokenizer.save_pretrained(tmp_path)
    base = load_base(ModelConfig(str(tmp_path)), 0)
    for ours, theirs in zip(base.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (base.revision, base.commit) == (None, None)


def test_a_folder_of_pickled_weights_is_a_base_and_a_checkpoint(data: Any, tmp_path: Path) -> None:
    model, folder = data.model("gpt_neox", seed=5), tmp_path / "checkpoint-3"
    for name, content in in_shards(saved(model, data.tokenizer, folder, pickled=True)).items():
        (folder / name).write_bytes(content)
    (folder / "pytorch_model.bin").unlink()
    base = load_base(ModelConfig(str(folder)), 0)
    (checkpoint,) = find_checkpoints(str(tmp_path))
    scored, _ = load_checkpoint(checkpoint, "cpu")
    for loaded in (base.model, scored):
        for ours, theirs in zip(loaded.parameters(), model.parameters(), strict=True):
            assert torch.equal(ours, theirs.half().float())
    assert base.notes == [
        "no safetensors there: the weights are from pytorch_model.bin.index.json, read by torch's restricted loader"
    ]
    before = checkpoint.fingerprint()
    os.truncate(next(folder.glob("*.bin")), 1000)
    assert checkpoint.fingerprint() != before
    with pytest.raises(BrokenCheckpointError, match="checkpoint-3: cannot be loaded"):
        load_checkpoint(checkpoint, "cpu")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: os.truncate(folder / "model.safetensors", 1000), "could not load .*header"),
        (lambda folder: drop_a_weight(folder / "model.safetensors"), "1 weights are missing, such as lm_head.weight"),
        (lambda folder: [file.unlink() for file in folder.glob("tokenizer*")], "has no tokenizer"),
    ],
    ids=["cut short", "a weight missing", "no tokenizer"],
)
def test_a_damaged_folder_is_one_line(data: Any, tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    data.model("gpt_neox").save_pretrained(tmp_path)
    data.tokenizer.save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        load_base(ModelConfig(str(tmp_path)), 0)


def drop_a_weight(file: Path) -> None:
    weights = load_file(file)
    save_file({name: weights[name] for name in sorted(weights)[1:]}, file, metadata={"format": "pt"})
