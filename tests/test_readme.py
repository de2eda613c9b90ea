"""Every command and snippet of the README works when pasted; long ones run shortened, never skipped."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import HubServer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What a shortened command gets besides. Later flags win, so the command itself stays as the README shows it.
MICRO = (
    "--model tiny --max_steps 4 --save_steps 2 --save_at 2 --logging_steps 2"
    " --eval_rows 8 --per_device_train_batch_size 4"
)
SHORTENED = {
    "training/train.py": MICRO,
    "evaluation/sweep.py": "--limit 8",
    "benchmarks/": "--help",
    "training.study": "--dry-run",
}
# These two set up what these tests run in. What `make quickstart` runs then is checked below.
SETUP = ("make ", "source ")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith(("#", *SETUP))]


@dataclass
class Clone:
    """A folder that looks like the clone, where runs/, reports/ and data/ can be written, and a Hub to push to."""

    folder: Path
    hub: HubServer

    def run(self, command: str | list[str]) -> subprocess.CompletedProcess[str]:
        environment = self.hub.env(self.folder / "home") | {"OMP_NUM_THREADS": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command, cwd=self.folder, env=environment, shell=isinstance(command, str), text=True, capture_output=True
        )


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("clone")
    for name in ("nim_dataset", "training", "evaluation", "configs", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    with HubServer(user="USER") as hub:
        yield Clone(folder, hub)


def test_the_readme_shows_every_job() -> None:
    shown = "\n".join(commands())
    for job in ("training/train.py", "evaluation/sweep.py", "evaluation.report", "nim_dataset export", "push"):
        assert job in shown


def test_commands_work_when_pasted_in_order(clone: Clone) -> None:
    for command in commands():
        extra = next((flags for part, flags in SHORTENED.items() if part in command), "")
        if "--help" in command or "--print_config" in command:
            extra = ""
        done = clone.run(f"{command} {extra}")
        assert done.returncode == 0, f"$ {command} {extra}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("snippet", blocks("python"), ids=lambda text: text.strip().splitlines()[-1][:40])
def test_snippets_work_when_pasted(snippet: str, clone: Clone) -> None:
    done = clone.run([sys.executable, "-c", snippet])
    assert done.returncode == 0, f"{snippet}\n{done.stderr}"


def test_make_quickstart_runs_the_commands_of_the_readme() -> None:
    printed = subprocess.run(["make", "-n", "quickstart"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    steps = [line for line in printed.splitlines() if "/nim-" in line]
    assert re.findall(r"nim-\w+", " ".join(steps)) == ["nim-train", "nim-sweep"]
    shown = commands()
    assert any("--config configs/quickstart.yaml" in command for command in shown)
    assert all("quickstart" in step for step in steps)
