"""What a command sets for its whole process: threads, freed memory, matrix products, determinism.

They are one value, which is chosen once, applied once and written down with what the process makes. A continued run
takes the recorded choice of products, and so is equal to an uninterrupted one to the last bit.

These are global: functions that a user's process may call never set them, commands do.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from evaluation.process import products
from nim_dataset.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
GLIBC_TRIM_THRESHOLD, GLIBC_MMAP_MAX = 128 * 1024, 65536  # its defaults

_keeps_freed_memory = False


@dataclass(frozen=True)
class ProcessSettings:
    """The settings of one process; `apply` makes them so, whatever was before."""

    threads: int
    """CPU threads that torch computes with."""
    keep_freed_memory: bool
    """malloc keeps what tensors free for the next ones (glibc only). By itself it gives blocks above 32 MB back to the
    kernel, and gets them again at the next step with all pages to be zeroed: a tenth of a step of a pythia-70m."""
    onednn_products: tuple[str, ...]
    """The kinds of large fp32 product that oneDNN computes instead of MKL; see `products.KINDS`."""
    deterministic: bool = False
    """torch refuses operations whose result may differ from run to run."""

    @classmethod
    def choose(
        cls, threads: int, *, on_cpu: bool, deterministic: bool = False, recorded: Mapping[str, Any] | None = None
    ) -> "ProcessSettings":
        """The settings for this process, the same kinds of product on every process of a run.

        Args:
            threads: 0 is the process's share of this machine's cores, of which `accelerate launch` gives it one.
            on_cpu: whether it computes on the CPU; otherwise only the threads are chosen.
            deterministic: as the field.
            recorded: what `record` gave in the run that is continued; its kinds of product are taken over.

        Raises:
            UserError: more threads than cores, or fewer processes than `accelerate launch` was to start.
        """
        _check_processes()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if not 0 <= threads <= cores:
            raise UserError(f"threads: {threads} is out of range; give 1 to {cores}, or 0 to share the cores")
        threads = threads or max(cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)
        chosen: Any = (recorded or {}).get("onednn_products")
        if not on_cpu or not products.is_available():
            chosen = ()
        elif not isinstance(chosen, list):  # nothing is recorded, or the record is damaged
            chosen = _measured()
        known = tuple(kind for kind in products.KINDS if kind in chosen)
        return cls(threads, on_cpu, known, deterministic)

    @classmethod
    def current(cls) -> "ProcessSettings":
        """Those in force now."""
        return cls(
            torch.get_num_threads(),
            _keeps_freed_memory,
            products.taken_from_onednn(),
            torch.are_deterministic_algorithms_enabled(),
        )

    def apply(self) -> None:
        """Makes them this process's; before any model."""
        torch.set_num_threads(self.threads)
        _keep_freed_memory(self.keep_freed_memory)
        if products.taken_from_onednn() != self.onednn_products:
            products.take_from_onednn(self.onednn_products)
        torch.use_deterministic_algorithms(self.deterministic)

    def record(self) -> dict[str, Any]:
        """As plain values, for a JSON file."""
        return {**asdict(self), "onednn_products": list(self.onednn_products)}


def _check_processes() -> None:
    """Without a file `accelerate launch` starts one process on a CPU, and only an address tells of the others."""
    sizes = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if launched and not any(size in os.environ for size in sizes):
        raise UserError(
            "num_processes: accelerate launch started one process where several were announced; give it --config_file"
            " configs/accelerate/cpu_2.yaml with --num_processes, or --num_processes 1 (and no MASTER_ADDR)"
        )


def _measured() -> tuple[str, ...]:
    """The choice of the main process, for all of a run: on another machine another one might be faster."""
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    found: list[Any] = [()]
    if alone or PartialState(cpu=True).is_main_process:
        before = ProcessSettings.current()
        products.take_from_onednn(())
        try:
            found = [products.kinds_for_this_machine()]
        finally:
            before.apply()
    if not alone:
        broadcast_object_list(found)
    return tuple(found[0])


def _keep_freed_memory(keep: bool) -> None:
    global _keeps_freed_memory
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and keep != _keeps_freed_memory:
        mallopt(M_MMAP_MAX, 0 if keep else GLIBC_MMAP_MAX)
        mallopt(M_TRIM_THRESHOLD, -1 if keep else GLIBC_TRIM_THRESHOLD)
        _keeps_freed_memory = keep
