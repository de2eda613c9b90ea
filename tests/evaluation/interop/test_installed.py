"""The tests beside this one need tools that this environment may not have: here they run with those of the extra."""

import os
import subprocess
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_the_tools_of_the_extra_find_what_we_find(tmp_path: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    tools = [each for each in extras["interop"] if not each.startswith("nim-testbed")]
    venv.create(tmp_path / "venv")
    python = str(tmp_path / "venv" / "bin" / "python")
    ours = sysconfig.get_path("purelib")
    theirs = sysconfig.get_path("purelib", "venv", {"base": str(tmp_path / "venv")})
    # What is installed here stands behind what is installed there: torch is not fetched again.
    Path(theirs, "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    installed = subprocess.run([python, "-m", "pip", "install", "-q", *tools], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"{', '.join(tools)} cannot be installed: {installed.stderr.splitlines()[-1]}")
    tests = [str(Path(__file__).with_name(f"test_{tool}.py")) for tool in ("lm_eval", "inspect")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
