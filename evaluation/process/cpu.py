"""Making the most of a CPU: all of its cores, memory that is kept, and the faster of torch's two matrix products.

These are settings of a whole process, so commands make them, not functions that a user's process may call.
"""

import ctypes
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nim_dataset.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
SMALL = 1 << 20
"""Multiplications below which a product is left to MKL: choosing a kernel would take longer than the product."""

_override: list[torch.library.Library] = []  # an override lasts as long as its Library


def set_up_process(threads: int, on_cpu: bool) -> None:
    """Gives this process its threads and, when it computes `on_cpu`, what else makes it fast; before any model.

    `threads` of 0 are the process's share of the cores, of which `accelerate launch` by itself gives it one. Raises
    `UserError` for more threads than cores.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not 0 <= threads <= cores:
        raise UserError(f"threads: {threads} is out of range; give 1 to {cores}, or 0 to share the cores")
    torch.set_num_threads(threads or max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1))
    if on_cpu:
        keep_freed_memory()
        if mkl_is_slow_here() and not _override:
            multiply_by_onednn()


def keep_freed_memory() -> None:
    """Makes malloc keep what tensors free, for the next tensors; does nothing where malloc is not glibc's.

    By itself glibc gives blocks above 32 MB back to the kernel at once, and gets them again at the next step with all
    pages to be zeroed: for training a pythia-70m on two cores that was a tenth of the time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def mkl_is_slow_here() -> bool:
    """Whether torch multiplies by MKL, on a processor whose AVX-512 only oneDNN makes use of: AMD's."""
    processor = Path("/proc/cpuinfo")
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and processor.exists()
        and "AuthenticAMD" in processor.read_text()
    )


def multiply_by_onednn() -> None:
    """From now on torch takes large fp32 products (`mm`, `addmm`, and so linear layers) from oneDNN instead of MKL.

    Both are in torch; both add up in fp32, in another order, so that results agree to rounding. On two cores of a Zen 5
    the products of a pythia-70m take half the time.
    """
    linear = torch.ops.mkldnn._linear_pointwise.default
    plain = {name: torch.library.get_kernel(f"aten::{name}", "CPU") for name in ("mm", "addmm")}

    def suits(a: Tensor, b: Tensor) -> bool:
        return (
            a.dtype == b.dtype == torch.float32
            and a.dim() == b.dim() == 2
            and a.shape[1] == b.shape[0]
            and a.numel() * b.shape[1] >= SMALL
        )

    def suits_as_bias(bias: Tensor, b: Tensor) -> bool:  # oneDNN looks at neither its length nor its strides
        return bias.dtype == torch.float32 and bias.shape == b.shape[1:] and bias.is_contiguous()

    def mm(keys: Any, a: Tensor, b: Tensor) -> Tensor:
        if suits(a, b):
            return linear(a, b.t(), None, "none", [], "")
        return plain["mm"].call_boxed(keys, a, b)

    def addmm(keys: Any, bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
        if suits(a, b) and suits_as_bias(bias, b) and beta == alpha == 1:
            return linear(a, b.t(), bias, "none", [], "")
        return plain["addmm"].call_boxed(keys, bias, a, b, beta=beta, alpha=alpha)

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning only once for all operators")
        library.impl("mm", mm, "CPU", with_keyset=True, allow_override=True)
        library.impl("addmm", addmm, "CPU", with_keyset=True, allow_override=True)
    _override.append(library)
