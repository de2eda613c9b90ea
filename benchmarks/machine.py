"""What a benchmark prints beside its figures: the machine that they are of, and how far they are spread."""

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""Of a processor, those by which the libraries for matrix products choose their kernels."""


def machine() -> str:
    """A line on the processor: its name, family and features, how many cores this process may use, and the load."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    name = f"{told.get('model name', platform.machine())} (family {told.get('cpu family', '?')})"
    features = [feature for feature in FEATURES if feature in told.get("flags", "").split()]
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {' '.join(features)}, {cores} cores, load {os.getloadavg()[0]:.1f} at the start"


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The median of several measurements, with the smallest and the largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
