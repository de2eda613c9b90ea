"""What is installed: the wheel holds the whole of what runs, each extra brings what its commands need, no more."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from evaluation.process.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("nim_dataset", "training", "evaluation", "configs")
MICRO = ("--max_steps", "4", "--save_at", "2", "--eval_rows", "8", "--per_device_train_batch_size", "4")
COMMANDS = {
    "nim-train": ("training.train", "train"),
    "nim-sweep": ("evaluation.sweep", "train"),
    "nim-report": ("evaluation.report", "report"),
    "nim-study": ("training.study", "cluster"),
}
"""Console command -> the module that it runs, and its extra."""
MODULES = {**dict(COMMANDS.values()), "evaluation.import_logs": "train", "training.push": "train"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is installed, so that nothing of an earlier build gets in."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the build backend that is installed here."""
    built = tmp_path_factory.mktemp("built")
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(built))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *flags, str(source)], check=True)
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_what_the_clone_holds(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    paths = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file())
    assert held == {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}
    assert {f"{folder}/py.typed" for folder in FOLDERS[:3]} <= held


def test_extras_bring_what_commands_ask_for(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    wanted = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]

    def brought(extra: str) -> set[str]:
        found = set()
        for requirement in wanted:
            if requirement.marker and requirement.marker.evaluate({"extra": extra}):
                found |= {requirement.name} if requirement.name != "nim-testbed" else brought(*requirement.extras)
        return found

    for extra, libraries in EXTRAS.items():
        assert brought(extra) == set(libraries)
    base = [requirement.name for requirement in wanted if requirement.marker is None]
    everything = set(closure(base))
    assert {"datasets", "evaluate", "pyarrow"} <= everything
    assert everything.isdisjoint(EXTRAS["cluster"]), "the data and the metric alone drag these in"


def closure(names: list[str]) -> Iterator[str]:
    """All that these packages require, as they are installed here."""
    seen: set[str] = set()
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        yield name
        try:
            texts = requires(name) or []
        except PackageNotFoundError:  # for another system
            continue
        needed = (Requirement(text) for text in texts)
        names += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]


@pytest.mark.parametrize("module", MODULES)
def test_a_missing_extra_is_one_line(module: str) -> None:
    # Without `site`, Python finds nothing that was installed.
    done = subprocess.run([sys.executable, "-S", "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    missing = ", ".join(EXTRAS[MODULES[module]])
    assert line.startswith(f"error: not installed: {missing}; pip install 'nim-testbed[{MODULES[module]}]'")


def test_the_notebook_installs_what_it_needs(source: Path, tmp_path: Path) -> None:
    """Its first cell, where Python finds nothing that was installed; pip writes down what it would install."""
    notebook = json.loads((ROOT / "docs" / "microscope.ipynb").read_text(encoding="utf-8"))
    cell = next("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    (source / "docs").mkdir()
    report = tmp_path / "report.json"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # By pip's rules 0 takes the isolation away.
    env |= {"PIP_DRY_RUN": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_REPORT": str(report)}
    env |= {"PIP_IGNORE_INSTALLED": "1"}
    subprocess.run([sys.executable, "-S", "-c", cell], cwd=source / "docs", env=env, check=True)
    (installed,) = json.loads(report.read_text(encoding="utf-8"))["install"]
    assert (installed["metadata"]["name"], installed["requested_extras"]) == ("nim-testbed", ["train"])


@pytest.mark.slow
def test_an_installed_wheel_away_from_the_clone(wheel: Path, tmp_path: Path) -> None:
    """Two installations into one empty environment: the data alone, then all that the quickstart needs."""
    environment, away = tmp_path / "environment", tmp_path / "away"
    away.mkdir()
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    env["PATH"] = f"{environment / 'bin'}{os.pathsep}{env['PATH']}"

    def run(command: str, status: int = 0) -> str:
        done = subprocess.run(shlex.split(command), cwd=away, env=env, capture_output=True, text=True)
        assert done.returncode == status, f"$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stderr

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    install = f"{sys.executable} -m pip --python {environment / 'bin' / 'python'} install -q -c {ROOT}/constraints.txt"
    run(f"{install} {wheel}")
    assert "quickstart" in run("nim-dataset list")
    assert "train.jsonl: 8 rows" in run("nim-dataset export quickstart,n_train=8 --output data")
    metric = "evaluate.load(str(importlib.resources.files('evaluation') / 'nim_accuracy'))"
    code = f"import evaluate, importlib.resources; print({metric}.compute(predictions=['a'], references=['a']))"
    assert "'exact_match': 1.0" in run(f'python -c "{code}"')
    assert "No module named 'torch'" in run("python -c 'import torch'", status=1)
    for command, (_, extra) in COMMANDS.items():
        (line,) = run(f"{command} --help", status=2).splitlines()
        assert f"pip install 'nim-testbed[{extra}]'" in line

    run(f"{install} {wheel}[cluster]")
    micro = " ".join((*MICRO, "--threads", "1"))
    run(f"nim-train --config configs/quickstart.yaml {micro} --output_dir runs/direct")
    run(f"accelerate launch --quiet -m training.train --config configs/quickstart.yaml {micro}")
    weights = [away / "runs" / name / "model.safetensors" for name in ("direct", "quickstart")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    run("nim-sweep --checkpoints-dir runs/quickstart --datasets quickstart:eval --limit 8 --output reports/quickstart")
    run("nim-report reports/quickstart")
    assert (away / "reports" / "quickstart" / "index.html").exists()
    assert "--config" in run("nim-study configs/studies/shortcut.yaml --scale smoke --dry-run")
    assert "did you mean 'configs/quickstart.yaml'" in run("nim-train --config configs/quickstrat.yaml", status=2)


@pytest.mark.slow
def test_uv_does_the_same_beside_pip(wheel: Path, source: Path, tmp_path: Path) -> None:
    """The commands of docs/install.md, with an extra that is small, and the script for rented GPUs."""
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", tmp_path / "uv", "uv"], check=True)
    outer = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON")  # uv would install there
    env = {key: value for key, value in os.environ.items() if key not in outer}

    def uv(command: str) -> str:
        words = [str(tmp_path / "uv" / "bin" / "uv"), *shlex.split(command)]
        done = subprocess.run(words, cwd=source, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"$ uv {command}\n{done.stderr}"
        return done.stdout

    uv(f"venv --python {sys.executable}")
    uv(f"pip install -c {ROOT}/constraints.txt -e .[report]")
    assert "quickstart" in uv("run --no-sync nim-dataset list")
    exact = {line.lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    held = {line.lower().replace("_", "-") for line in uv("pip freeze").splitlines() if "==" in line}
    assert "matplotlib" in " ".join(held)
    assert held <= exact
    uv("sync --extra report")
    assert "usage: " in uv("run --extra report nim-report --help")

    text = (ROOT / "scripts" / "train_on_hf_jobs.py").read_text().replace("/nim-testbed/", f"{wheel.parent}/")
    (tmp_path / "job.py").write_text(text)
    uv(f"lock --script {tmp_path / 'job.py'}")
    assert 'name = "torch"' in (tmp_path / "job.py.lock").read_text()
