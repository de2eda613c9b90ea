"""`positions` serves the interpretability libraries too: a twin pair patched with nnsight, where it is installed."""

import pytest
import torch

import nim_dataset
from evaluation.measures.positions import positions


def test_a_twin_pair_patched_with_nnsight(family, tiny_tokenizer):
    nnsight = pytest.importorskip("nnsight")
    bound, neutral = (
        nim_dataset.load_source(f"quickstart:{split}", limit=1)[0]["prompt"] for split in ("counter_cheat", "neutral")
    )
    names, neutral_names = (mask_T.nonzero()[0] for mask_T in positions([bound, neutral], tiny_tokenizer).mask("names"))
    ids, neutral_ids = (torch.tensor([tiny_tokenizer(text)["input_ids"]]) for text in (bound, neutral))
    network = family("gpt_neox")
    model = nnsight.NNsight(network)
    for layer in (0, 1):
        with model.trace(neutral_ids):
            states = model.gpt_neox.layers[layer].input[:, neutral_names].save()
        with model.trace(ids):
            model.gpt_neox.layers[layer].input[:, names] = states
            patched_V = model.lm_head.output[0, -1].save()
        off_V = patched_V - network(neutral_ids).logits[0, -1]
        assert (off_V.abs().max() < 1e-3) == (layer == 0), "the names at layer 0 are all that twins differ in"
