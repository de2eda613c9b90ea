"""What models run on: the GPU where there is one, but for a Mac's (MPS), on which nothing here has been tried."""

import torch

UNTRIED = ("mps",)


def runs_on_cpu() -> bool:
    """Whether models run on the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator is None or accelerator.type in UNTRIED


def passed_over() -> str | None:
    """A line that says so where there is a GPU, and models run on the CPU for all that."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or not runs_on_cpu():
        return None
    return f"on the CPU, since nothing here has been tried on this machine's GPU ({accelerator.type})"
