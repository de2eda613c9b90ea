"""Saved models as files: as this version writes them, and as Pythia's branches may have them."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

PYTHIAS_TOKENIZER = {
    "tokenizer_config.json": b'{"tokenizer_class": "GPTNeoXTokenizer", "chat_template": "-"}',
    "special_tokens_map.json": b'{"eos_token": "<|endoftext|>"}',
}
"""As other versions write it: no pad token, and a class that this one's would replace."""


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def saved(model: PreTrainedModel, tokenizer: Any, folder: Path, pickled: bool = False) -> dict[str, bytes]:
    """The files of a saved model; `pickled` as Pythia's branches have them: fp16, with buffers that are gone today."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if pickled:
        weights = {name: weight.half() for name, weight in load_file(folder / "model.safetensors").items()}
        (folder / "model.safetensors").unlink()
        for layer in range(2):
            prefix = f"gpt_neox.layers.{layer}.attention"
            weights[f"{prefix}.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
            weights[f"{prefix}.masked_bias"] = torch.tensor(-1e9)
            weights[f"{prefix}.rotary_emb.inv_freq"] = torch.ones(2)
        torch.save(weights, folder / "pytorch_model.bin")
    return files_of(folder)


def in_shards(files: dict[str, bytes]) -> dict[str, bytes]:
    """`pytorch_model.bin` as two files and their index."""
    weights = torch.load(io.BytesIO(files.pop("pytorch_model.bin")))
    shard_of = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(weights)}
    for shard in set(shard_of.values()):
        buffer = io.BytesIO()
        torch.save({name: weight.clone() for name, weight in weights.items() if shard_of[name] == shard}, buffer)
        files[shard] = buffer.getvalue()
    return files | {"pytorch_model.bin.index.json": json.dumps({"metadata": {}, "weight_map": shard_of}).encode()}


class WritesAFile:
    """A pickle that a trusting loader would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")
