"""Runs on rented GPUs and on SLURM: the files that describe them are right, and start what they say."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import nim_dataset

ROOT = Path(__file__).resolve().parents[1]
HF_JOBS = "scripts/train_on_hf_jobs.py"
HEADER = r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
"""As PEP 723 gives it."""


def test_the_header_installs_this_version_with_what_training_needs() -> None:
    (match,) = re.finditer(HEADER, (ROOT / HF_JOBS).read_text())
    header = tomllib.loads("".join(line[2:] or "\n" for line in match["content"].splitlines(keepends=True)))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert header["requires-python"] == project["requires-python"]
    (requirement,) = map(Requirement, header["dependencies"])
    assert (requirement.name, requirement.extras) == (project["name"], {"train"})
    wheel = header["tool"]["uv"]["sources"][project["name"]]["path"]
    assert wheel == f"/nim-testbed/nim_testbed-{nim_dataset.__version__}-py3-none-any.whl"
    assert header["tool"]["hf-jobs"]["volumes"] == ["./dist:/nim-testbed"]


def test_the_commands_of_the_page_are_taken_as_they_are_meant(tmp_path: Path) -> None:
    """`hf jobs` reads the header, and both ways come to the same run."""
    page = (ROOT / "docs" / "remote.md").read_text().replace("\\\n", " ")
    (job,) = (shlex.split(line) for line in re.findall(r"\n(hf jobs uv run --dry-run .*)", page))
    (sbatch,) = (shlex.split(line) for line in re.findall(r"\n(sbatch .*)", page))
    short = ["--max_steps", "5", "--print_config"]
    commands = {
        "job": job,
        "hf": ["python", *job[job.index(HF_JOBS) :], *short],
        "slurm": ["bash", *sbatch[1:], *short],
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)}
    pipe = subprocess.PIPE
    started = {
        name: subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True)
        for name, command in commands.items()
    }
    said = {name: process.communicate(timeout=300) for name, process in started.items()}
    for name, process in started.items():
        assert process.returncode == 0, (name, said[name])
    for line in ("flavor +a100-large", "timeout +24h", "secrets +HF_TOKEN", "volumes +./dist:/nim-testbed"):
        assert re.search(line, said["job"][0]), said["job"]
    of_hf, of_slurm = (yaml.safe_load(said[name][0]) for name in ("hf", "slurm"))
    assert of_slurm.pop("resume_from_checkpoint") == "auto"
    assert of_hf.pop("resume_from_checkpoint") is None
    assert of_hf == of_slurm
    assert of_hf["model"] == "EleutherAI/pythia-410m-deduped"
    assert (of_hf["hub_model_id"], of_hf["push_to_hub"], of_hf["max_steps"]) == ("USER/nim-cheating", True, 5)
