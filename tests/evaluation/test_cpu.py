"""Products from oneDNN are MKL's to rounding, in every layout; in a process of its own, since they replace torch's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

COMPARE = """
import torch
from evaluation.cpu import multiply_by_onednn

torch.manual_seed(0)
wide, tall, square = torch.randn(130, 1100), torch.randn(1100, 140), torch.randn(1100, 1100)
factors = {
    "plain": (wide, tall),
    "transposed": (tall.t(), wide.t()),
    "cut out": (square[3:133, 5:905], square[7:907, 1:141]),
    "every other": (square[::2, ::2], square[1::2, :]),
    "repeated": (torch.randn(1, 1100).expand(130, 1100), torch.randn(1100, 1).expand(1100, 140)),
    "small": (wide[:2], tall),
    "double": (wide.double(), tall.double()),
    "bfloat16": (wide.bfloat16(), tall.bfloat16()),
    "empty": (wide[:0], tall),
}

def results():
    for name, (a, b) in factors.items():
        bias = torch.linspace(-1, 1, b.shape[1]).to(a.dtype)
        yield name, a @ b
        yield name + ", bias", torch.addmm(bias, a, b)
        yield name + ", scaled", torch.addmm(bias, a, b, beta=0.5, alpha=2)
        yield name + ", matrix", torch.addmm(torch.ones(len(a), b.shape[1], dtype=a.dtype), a, b)

def gradients():
    weight = torch.nn.Parameter(tall.t().clone())
    bias = torch.nn.Parameter(torch.zeros(140))
    inputs = wide.clone().requires_grad_()
    torch.nn.functional.linear(inputs.view(2, 65, 1100), weight, bias).square().sum().backward()
    return [inputs.grad, weight.grad, bias.grad]

before, slopes = dict(results()), gradients()
multiply_by_onednn()
for name, product in results():
    torch.testing.assert_close(product, before[name], rtol=1e-4, atol=1e-4, msg=lambda m: f"{name}: {m}")
for ours, theirs in zip(gradients(), slopes, strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
with torch.profiler.profile() as profile:
    wide @ tall
print([event.key for event in profile.key_averages()])
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_products_agree_to_rounding_in_every_layout() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPARE], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mkldnn::_linear_pointwise" in done.stdout
