"""Which of torch's two libraries for matrix products, MKL and oneDNN, multiplies large fp32 matrices on a CPU.

torch takes MKL. On some processors oneDNN is up to twice as fast, on others slower, and which it is differs between the
three products of a linear layer. So a short measurement decides for each kind. Both libraries add up in fp32, in
another order: results agree to rounding, not to the bit. So the measurement is made once for a machine and kept in the
user's cache folder, and runs of one machine are equal to the bit, however busy it is.

Shapes: I rows times K, K times J columns.
"""

import hashlib
import json
import os
import platform
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from nim_dataset.files import write_text

KINDS = ("outputs", "input_gradients", "weight_gradients")
"""The products of a linear layer `y = x W^T`: y, `dy W` and `dy^T x`. They differ in which factor is transposed."""

SMALL = 1 << 20
"""Multiplications below which a product is left to MKL: choosing a kernel would take longer than the product."""

MEASURED_SIZE = 512
REPETITIONS = 25
MARGIN = 1.25
"""oneDNN must be this much faster: a smaller gain is not worth results that differ from those of torch alone."""

_override: list[torch.library.Library] = []  # an override lasts as long as its Library
_kinds: tuple[str, ...] = ()


def is_available() -> bool:
    """Whether this torch has both libraries, and the operator that multiplies by oneDNN."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def kinds_for_this_machine() -> tuple[str, ...]:
    """What `faster_by_onednn` found here first, with this processor and torch; kept on disk.

    Where nothing can be kept, it is measured each time. To be called without an override.
    """
    if not is_available():
        return ()
    what = (_processor(), torch.backends.cpu.get_cpu_capability(), torch.__version__)
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nim-testbed"
    file = folder / f"products-{key}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):  # who comes second waits, and takes what the first has found
            if file.exists():
                kept = json.loads(file.read_text())["onednn_products"]
                return tuple(kind for kind in KINDS if kind in kept)
            found = faster_by_onednn()
            write_text(file, json.dumps({"processor": what[0], "onednn_products": found}) + "\n")
            return found
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # no home, no room, or a damaged file
        return faster_by_onednn()


def _processor() -> str:
    """What tells one kind of processor from another: virtual machines often give no more than its maker's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = dict(line.replace("\t", "").split(":", 1) for line in reversed(lines) if ":" in line)
    return " ".join(told.get(name, "").strip() for name in ("model name", "cpu family", "model", "stepping"))


def faster_by_onednn() -> tuple[str, ...]:
    """The `KINDS` of product for which oneDNN is clearly faster here, by the best of several alternating tries.

    It takes some 0.5 s, on one thread: several would wait for each other on a busy machine, and the two libraries not
    alike. To be called without an override.
    """
    a_IK, b_KJ = (torch.ones(MEASURED_SIZE, MEASURED_SIZE) for _ in range(2))
    factors = {"outputs": (a_IK, b_KJ.t()), "input_gradients": (a_IK, b_KJ), "weight_gradients": (a_IK.t(), b_KJ)}
    threads, chosen = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for kind, (left_IK, right_KJ) in factors.items():
            tries = range(REPETITIONS)
            seconds = [(_seconds(torch.mm, left_IK, right_KJ), _seconds(_onednn, left_IK, right_KJ)) for _ in tries]
            mkl, onednn = (min(times) for times in zip(*seconds, strict=True))
            if mkl > MARGIN * onednn:
                chosen.append(kind)
    finally:
        torch.set_num_threads(threads)
    return tuple(chosen)


def take_from_onednn(kinds: Iterable[str]) -> None:
    """From now on torch takes large fp32 products of these `KINDS` from oneDNN, all others from MKL."""
    global _kinds
    for library in _override:
        library._destroy()
    _override.clear()
    _kinds = tuple(kinds)
    if _kinds:
        _override.append(_make_override(frozenset(_kinds)))


def taken_from_onednn() -> tuple[str, ...]:
    """The `KINDS` that an override is in force for."""
    return _kinds


def _onednn(left_IK: Tensor, right_KJ: Tensor, bias_J: Tensor | None = None) -> Tensor:
    product_IJ: Tensor = torch.ops.mkldnn._linear_pointwise.default(left_IK, right_KJ.t(), bias_J, "none", [], "")
    return product_IJ


def _seconds(multiply: Any, left_IK: Tensor, right_KJ: Tensor) -> float:
    started = time.perf_counter()
    multiply(left_IK, right_KJ)
    return time.perf_counter() - started


def _kind(left_IK: Tensor, right_KJ: Tensor) -> str:
    if left_IK.stride(0) == 1 and left_IK.shape[0] > 1:  # transposed in memory
        return "weight_gradients"
    return "outputs" if right_KJ.stride(0) == 1 and right_KJ.shape[0] > 1 else "input_gradients"


def _make_override(kinds: frozenset[str]) -> torch.library.Library:
    """torch's `mm` and `addmm` on CPUs (and so linear layers), replaced for the products that oneDNN is to take."""
    plain = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm")}

    def suits(a: Tensor, b: Tensor) -> bool:
        return (
            a.dtype == b.dtype == torch.float32
            and a.dim() == b.dim() == 2
            and a.shape[1] == b.shape[0]
            and a.numel() * b.shape[1] >= SMALL
            and _kind(a, b) in kinds
        )

    def suits_as_bias(bias: Tensor, b: Tensor) -> bool:  # oneDNN looks at neither its length nor its strides
        return bias.dtype == torch.float32 and bias.shape == b.shape[1:] and bias.is_contiguous()

    def mm(keys: Any, a: Tensor, b: Tensor) -> Tensor:
        if suits(a, b):
            return _onednn(a, b)
        return plain["mm"].call_boxed(keys, a, b)

    def addmm(keys: Any, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        if suits(a, b) and suits_as_bias(bias, b) and beta == alpha == 1:
            return _onednn(a, b, bias)
        return plain["addmm"].call_boxed(keys, bias, a, b, beta=beta, alpha=alpha)

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        library.impl("mm", mm, "CPU", with_keyset=True, allow_override=True)
        library.impl("addmm", addmm, "CPU", with_keyset=True, allow_override=True)
    return library
