"""How much memory a process has taken at most."""

import sys
from pathlib import Path

import psutil


def peak_memory() -> int:
    """The bytes that this process has held in memory at most; where the system does not tell, those that it holds."""
    if sys.platform == "linux":  # what `getrusage` says begins with the memory of the process that started this one
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        if "VmHWM" in status:
            return int(status["VmHWM"].split()[0]) * 1024
    try:
        import resource
    except ImportError:  # Windows has none
        info = psutil.Process().memory_info()
        return int(getattr(info, "peak_wset", info.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
