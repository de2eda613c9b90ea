"""Settings of a whole process: chosen once, applied once, the same again from a record."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from evaluation.process import products
from evaluation.process.settings import ProcessSettings
from nim_dataset.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("threads", "processes", "expected"), [(1, 1, 1), (0, 1, None), (0, 1000, 1)])
def test_a_process_has_its_share_of_the_cores(threads: int, processes: int, expected: int | None) -> None:
    code = (
        "import torch; from evaluation.process.settings import ProcessSettings;"
        f"ProcessSettings.choose({threads}, on_cpu=True).apply(); print(torch.get_num_threads())"
    )
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": str(processes)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == (expected or len(os.sched_getaffinity(0)))


def test_more_threads_than_cores_are_a_mistake() -> None:
    with pytest.raises(UserError, match="threads: 100000 is out of range; give 1 to"):
        ProcessSettings.choose(100_000, on_cpu=False)


def test_fewer_processes_than_were_announced_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"):
        monkeypatch.setenv(name, "127.0.0.1")
    with pytest.raises(UserError, match="num_processes: accelerate launch started one process where several were"):
        ProcessSettings.choose(1, on_cpu=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    ProcessSettings.choose(1, on_cpu=False)


@pytest.mark.slow
def test_accelerate_launch_on_a_cpu_does_not_start_one_process_of_two() -> None:
    accelerate = str(Path(sys.executable).with_name("accelerate"))
    done = subprocess.run(
        [accelerate, "launch", "--quiet", "--cpu", "--num_processes", "2", "training/train.py", "--train_data", "357"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode != 0
    assert "error: num_processes: accelerate launch started one process where several were announced" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("restored_settings")
def test_what_is_applied_is_in_force_and_can_be_taken_back() -> None:
    kinds = products.KINDS[:1] if products.is_available() else ()
    one = ProcessSettings(
        threads=1, keep_freed_memory=sys.platform == "linux", onednn_products=kinds, deterministic=True
    )
    other = ProcessSettings(threads=1, keep_freed_memory=False, onednn_products=())
    for settings in (one, other, one):
        settings.apply()
        assert ProcessSettings.current() == settings
        assert torch.are_deterministic_algorithms_enabled() == settings.deterministic


@pytest.mark.usefixtures("restored_settings")
@pytest.mark.skipif(not products.is_available(), reason="this torch has no oneDNN beside MKL")
@pytest.mark.parametrize("kinds", [(), ("weight_gradients",), products.KINDS])
def test_a_continued_run_takes_the_recorded_products(kinds: tuple[str, ...]) -> None:
    written = json.loads(json.dumps(ProcessSettings(1, True, kinds).record()))
    assert ProcessSettings.choose(1, on_cpu=True, recorded=written).onednn_products == kinds


@pytest.mark.usefixtures("restored_settings")
def test_choosing_changes_nothing() -> None:
    before = ProcessSettings.current()
    ProcessSettings.choose(1, on_cpu=True)
    assert ProcessSettings.current() == before


@pytest.mark.usefixtures("restored_settings")
@pytest.mark.parametrize("damaged", [3, "outputs", {"outputs": 1}])
def test_a_damaged_record_is_as_none(damaged: object) -> None:
    assert ProcessSettings.choose(1, on_cpu=True, recorded={"onednn_products": damaged}) == ProcessSettings.choose(
        1, on_cpu=True
    )
