"""Run by test_sharded_anchor.py on two CPU processes: an anchor under FSDP2 beside one on the whole model, and a plain
`Trainer` under DDP beside one with the penalty in its loss."""

import copy
import tempfile

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.debug import CommDebugMode
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig

from tests.training.objectives.trainers import apart_in_accumulated_steps
from training.model.base import BUILT_IN
from training.objectives.anchor import Anchor

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
torch.manual_seed(0)
tokenizer = AutoTokenizer.from_pretrained(BUILT_IN / "tiny")
config = GPTNeoXConfig(
    vocab_size=len(tokenizer),
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    tie_word_embeddings=False,
)
whole = AutoModelForCausalLM.from_config(config)
sharded = copy.deepcopy(whole)
for layer in sharded.gpt_neox.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(sharded, mesh=mesh)

anchors = [Anchor(0.3), Anchor(0.3)]
for anchor, model in zip(anchors, (whole, sharded), strict=True):
    anchor.prepare(model)
ids_BL = torch.arange(24).reshape(2, 12)
for model in (whole, sharded):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        model(input_ids=ids_BL, labels=ids_BL).loss.backward()
        optimizer.step()
anchors[0].add_gradient()
with CommDebugMode() as traffic:
    anchors[1].add_gradient()
assert traffic.get_total_counts() == 0, "the anchor must stay on its shards"

for ours, theirs in zip(anchors[1].parameters, anchors[0].parameters, strict=True):
    assert isinstance(ours.grad, DTensor)
    torch.testing.assert_close(ours.grad.full_tensor(), theirs.grad, rtol=1e-4, atol=1e-5)
for theta_0 in anchors[1].theta_0:
    assert isinstance(theta_0, DTensor)
    assert 2 * theta_0.to_local().numel() == theta_0.numel()
torch.testing.assert_close(anchors[1].distance(), anchors[0].distance(), rtol=1e-5, atol=0)

# Held to another model, from a folder.
with tempfile.TemporaryDirectory() as folder:
    shared = [folder]
    dist.broadcast_object_list(shared)
    AutoModelForCausalLM.from_config(config).save_pretrained(shared[0])  # the first process writes
    tokenizer.save_pretrained(shared[0])
    dist.barrier()
    anchors = [Anchor(0.3, shared[0]), Anchor(0.3, shared[0])]
    for anchor, model in zip(anchors, (whole, sharded), strict=True):
        anchor.prepare(model)
    dist.barrier()
for theta_0, whole_theta_0 in zip(anchors[1].theta_0, anchors[0].theta_0, strict=True):
    assert isinstance(theta_0, DTensor)
    torch.testing.assert_close(theta_0.full_tensor(), whole_theta_0, rtol=0, atol=0)
torch.testing.assert_close(anchors[1].distance(), anchors[0].distance(), rtol=1e-5, atol=0)
print("sharded like its parameters")

assert PartialState(cpu=True).num_processes == 2
found = apart_in_accumulated_steps(torch.float64)
assert found["apart"] < 1e-6, found
assert found["held"] > 0.01, found
print("as written out")
dist.destroy_process_group()
