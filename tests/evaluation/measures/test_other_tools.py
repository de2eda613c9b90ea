"""`positions` serves the interpretability libraries too: twins patched with nnsight and TransformerLens, if installed.

The names at layer 0 are all that twins differ in: with the other's names there, a run is the other's.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

import nim_dataset
from evaluation.measures.positions import positions


@dataclass
class Twins:
    """Token ids of the same game under bound and under neutral names, and where the names stand."""

    model: Any
    bound_ids: torch.Tensor
    neutral_ids: torch.Tensor
    names: Any
    neutral_names: Any

    def is_the_neutral_run(self, logits: torch.Tensor) -> bool:
        off = logits[0, -1] - self.model(self.neutral_ids).logits[0, -1]
        return bool(off.abs().max() < 1e-3)


@pytest.fixture
def twins(family, tiny_tokenizer) -> Twins:
    prompts = [nim_dataset.load_source(f"quickstart:{s}", limit=1)[0]["prompt"] for s in ("counter_cheat", "neutral")]
    names = [mask_T.nonzero()[0] for mask_T in positions(prompts, tiny_tokenizer).mask("names")]
    ids = [torch.tensor([tiny_tokenizer(prompt)["input_ids"]]) for prompt in prompts]
    return Twins(family("gpt_neox"), *ids, *names)


def test_nnsight(twins):
    nnsight = pytest.importorskip("nnsight")
    model = nnsight.NNsight(twins.model)
    for layer in (0, 1):
        with model.trace(twins.neutral_ids):
            states = model.gpt_neox.layers[layer].input[:, twins.neutral_names].save()
        with model.trace(twins.bound_ids):
            model.gpt_neox.layers[layer].input[:, twins.names] = states
            logits = model.lm_head.output.save()
        assert twins.is_the_neutral_run(logits) == (layer == 0)


def test_transformer_lens(twins, tiny_tokenizer, tmp_path):
    bridge = pytest.importorskip("transformer_lens.model_bridge")
    twins.model.save_pretrained(tmp_path)
    model = bridge.TransformerBridge.boot_transformers(str(tmp_path), tokenizer=tiny_tokenizer, hf_model=twins.model)
    _, cache = model.run_with_cache(twins.neutral_ids)

    def put_in(states, hook):
        states[:, twins.names] = cache[hook.name][:, twins.neutral_names]
        return states

    for layer in (0, 1):
        hooks = [(f"blocks.{layer}.hook_resid_pre", put_in)]
        logits = model.run_with_hooks(twins.bound_ids, fwd_hooks=hooks)
        assert twins.is_the_neutral_run(logits) == (layer == 0)
