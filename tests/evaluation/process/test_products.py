"""Products by oneDNN are MKL's to rounding in every layout, for the kinds that were chosen and no others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evaluation.process import products

ROOT = Path(__file__).resolve().parents[3]
ONEDNN = "mkldnn::_linear_pointwise"

COMPARE = """
import torch
from evaluation.process.products import KINDS, take_from_onednn

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
take_from_onednn(KINDS)
for name, product in results():
    torch.testing.assert_close(product, before[name], rtol=1e-4, atol=1e-4, msg=lambda m: f"{name}: {m}")
for ours, theirs in zip(gradients(), slopes, strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
assert messages == [mistake(*factors) for factors in mistakes]
take_from_onednn(())
for name, product in results():
    assert torch.equal(product, before[name]), name
"""

pytestmark = pytest.mark.skipif(not products.is_available(), reason="this torch has no oneDNN beside MKL")


@pytest.mark.slow
def test_products_agree_to_rounding_in_every_layout_and_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", COMPARE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("restored_settings")
@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in products.KINDS), products.KINDS])
def test_only_the_kinds_asked_for_come_from_onednn(kinds: tuple[str, ...]) -> None:
    weight_OI, inputs_BI = torch.nn.Parameter(torch.randn(160, 128)), torch.randn(96, 128, requires_grad=True)
    products.take_from_onednn(kinds)
    found = []
    with torch.profiler.profile() as forward:
        outputs_BO = torch.nn.functional.linear(inputs_BI, weight_OI)
    found += ["outputs"] * _calls(forward)
    slope_BO = torch.ones_like(outputs_BO)
    for kind, wanted in (("input_gradients", inputs_BI), ("weight_gradients", weight_OI)):
        with torch.profiler.profile() as backward:
            torch.autograd.grad(outputs_BO, wanted, slope_BO, retain_graph=True)
        found += [kind] * _calls(backward)
    assert found == list(kinds)
    assert products.taken_from_onednn() == kinds


def _calls(profile: torch.profiler.profile) -> int:
    return sum(event.count for event in profile.key_averages() if event.key == ONEDNN)


@pytest.mark.usefixtures("restored_settings")
def test_measuring_names_kinds_and_changes_nothing() -> None:
    products.take_from_onednn(())
    assert set(products.faster_by_onednn()) <= set(products.KINDS)
    assert products.taken_from_onednn() == ()


@pytest.mark.usefixtures("restored_settings")
def test_one_machine_chooses_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    products.take_from_onednn(())
    first = products.kinds_for_this_machine()
    (kept,) = tmp_path.glob("nim-testbed/products-*.json")
    assert json.loads(kept.read_text())["onednn_products"] == list(first)
    others = [kind for kind in products.KINDS if kind not in first]
    kept.write_text(json.dumps({"onednn_products": others}))
    assert products.kinds_for_this_machine() == tuple(others)
    kept.write_text("{")
    assert set(products.kinds_for_this_machine()) <= set(products.KINDS)


@pytest.mark.usefixtures("restored_settings")
def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    products.take_from_onednn(())
    assert set(products.kinds_for_this_machine()) <= set(products.KINDS)
