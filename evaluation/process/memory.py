"""How much memory a process has taken at most."""

import sys

import psutil


def peak_memory() -> int:
    """The bytes that this process has held in memory at most; where the system does not tell, those that it holds."""
    try:
        import resource
    except ImportError:  # Windows has none
        info = psutil.Process().memory_info()
        return int(getattr(info, "peak_wset", info.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
