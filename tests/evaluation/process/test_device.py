"""Models run on a GPU where there is one, but on a Mac's CPU, and that is said."""

from pathlib import Path

import pytest
import torch

from evaluation.process.device import passed_over, runs_on_cpu
from training.config import TrainConfig


@pytest.mark.parametrize(("gpu", "on_cpu"), [(None, True), ("mps", True), ("cuda", False)])
def test_a_macs_gpu_is_passed_over(
    gpu: str | None, on_cpu: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = torch.device(gpu) if gpu else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: there)
    assert runs_on_cpu() == on_cpu
    assert passed_over() == (
        "on the CPU, since nothing here has been tried on this machine's GPU (mps)" if gpu == "mps" else None
    )
    if on_cpu:
        assert TrainConfig(output_dir=str(tmp_path)).use_cpu
