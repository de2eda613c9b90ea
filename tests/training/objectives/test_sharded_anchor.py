"""The anchor under FSDP2: sharded with its parameters, never gathered. torch runs FSDP2 on CPU; accelerate does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def test_on_two_processes_it_is_sharded_and_never_gathered_and_in_ddp_it_is_the_penalty_written_out() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
            str(Path(__file__).with_name("fsdp2_anchor.py")),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("sharded like its parameters") == 2
    assert done.stdout.count("as written out") == 2


@pytest.mark.parametrize("name", ["cpu", "cpu_2", "ddp", "fsdp2"])
def test_each_way_to_launch_is_one_that_accelerate_reads(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    path = ROOT / "configs" / "accelerate" / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert config.num_processes == yaml.safe_load(path.read_text())["num_processes"]
    assert {file.stem for file in path.parent.glob("*.yaml")} == {"cpu", "cpu_2", "ddp", "fsdp2"}
