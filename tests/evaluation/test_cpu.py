"""Settings of a whole process, each tried in one of its own: threads, and products that are MKL's to rounding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evaluation.process.cpu import set_up_process
from nim_dataset.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

COMPARE = """
import torch
from evaluation.process.cpu import multiply_by_onednn

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
        yield name + ", bias of one", torch.addmm(bias[:1], a, b)
        yield name + ", bias expanded", torch.addmm(bias[:1].expand(b.shape[1]), a, b)
        yield name + ", bias every other", torch.addmm(bias.repeat_interleave(2)[::2], a, b)
        yield name + ", scaled", torch.addmm(bias, a, b, beta=0.5, alpha=2)
        yield name + ", matrix", torch.addmm(torch.ones(len(a), b.shape[1], dtype=a.dtype), a, b)

def gradients():
    weight = torch.nn.Parameter(tall.t().clone())
    bias = torch.nn.Parameter(torch.zeros(140))
    inputs = wide.clone().requires_grad_()
    torch.nn.functional.linear(inputs.view(2, 65, 1100), weight, bias).square().sum().backward()
    return [inputs.grad, weight.grad, bias.grad]

def mistake(a, b):
    try:
        torch.mm(a, b)
    except RuntimeError as error:
        return str(error)

mistakes = [(wide, tall[1:]), (wide, tall[:, 0]), (wide, tall[None])]
before, slopes, messages = dict(results()), gradients(), [mistake(*factors) for factors in mistakes]
assert None not in messages
multiply_by_onednn()
for name, product in results():
    torch.testing.assert_close(product, before[name], rtol=1e-4, atol=1e-4, msg=lambda m: f"{name}: {m}")
for ours, theirs in zip(gradients(), slopes, strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
assert messages == [mistake(*factors) for factors in mistakes]
with torch.profiler.profile() as profile:
    wide @ tall
print([event.key for event in profile.key_averages()])
"""


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_products_agree_to_rounding_in_every_layout() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", COMPARE], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mkldnn::_linear_pointwise" in done.stdout


@pytest.mark.parametrize(("threads", "processes", "expected"), [(1, 1, 1), (0, 1, None), (0, 1000, 1)])
def test_a_process_has_its_share_of_the_cores(threads: int, processes: int, expected: int | None) -> None:
    setting = f"from evaluation.process.cpu import set_up_process; set_up_process({threads}, on_cpu=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"import torch; {setting}; print(torch.get_num_threads())"],
        capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(processes)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == (expected or len(os.sched_getaffinity(0)))


def test_more_threads_than_cores_are_a_mistake() -> None:
    with pytest.raises(UserError, match="threads: 100000 is out of range; give 1 to"):
        set_up_process(100_000, on_cpu=False)
