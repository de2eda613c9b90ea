"""Every command and snippet of the README and of docs/ works when pasted; long ones run shortened."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer

from training.config import parse_config

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
"""In the order in which their commands run: the README's make what the others read."""
LINKED = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md")]
"""The pages whose links are followed."""

# What a shortened command gets besides. Later flags win, so the command itself stays as the page shows it.
MICRO = (
    "--model tiny --max_steps 4 --save_steps 2 --save_at 2 --logging_steps 2"
    " --eval_rows 8 --per_device_train_batch_size 4"
)
SHORTENED = {"nim-train": MICRO, "training/train.py": MICRO, "sweep": "--limit 8", "nim-study": "--dry-run"}
WHOLE = ("--help", "--print_config", "--status", "--dry-run")
"""These make a command short already."""
# These set up what these tests run in, start a machine elsewhere, or are of other tools: test_package.py,
# test_remote_runs.py and evaluation/interop/ try them. What `make quickstart` runs is checked below.
ELSEWHERE = ("make ", "source ", "uv ", "pip ", "hf ", "sbatch ", "lm_eval ", "inspect ")


def blocks(language: str) -> list[str]:
    return [block for page in PAGES.values() for block in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)]


def commands() -> list[str]:
    """Those of ```bash blocks, indented ones too, and of tables headed "I want to", one a row."""
    found: list[str] = []
    for page in PAGES.values():
        for block, table in re.findall(r"```bash\n([^`]*)```|\n\| I want to .*\n\|.*\n((?:\|.*\n)+)", page):
            found += block.replace("\\\n", " ").splitlines()
            found += [row.split("`")[1] for row in table.splitlines()]
    lines = [line.split("  #")[0].strip() for line in found]
    return [line for line in lines if line and not line.startswith(("#", *ELSEWHERE))]


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


def test_every_job_is_shown_once() -> None:
    shown = commands()
    for job in ("training/train.py", "evaluation/sweep.py", "nim-report", "nim-study", "import_logs", "export", "push"):
        assert job in "\n".join(shown)
    assert len(set(shown)) == len(shown), "a command stands in two places"


def test_commands_work_when_pasted_in_order(clone: Clone) -> None:
    for command in commands():
        extra = next((flags for part, flags in SHORTENED.items() if part in command), "")
        if any(flag in command for flag in WHOLE):
            extra = ""
        done = clone.run(f"{command} {extra}")
        assert done.returncode == 0, f"$ {command} {extra}\n{done.stdout}\n{done.stderr}"
    for number, options in enumerate(blocks("yaml")):  # of a run, each whole
        file = clone.folder / f"{number}.yaml"
        file.write_text(options, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(clone.folder)
            config = parse_config(["--config", file.name])
        assert {*yaml.safe_load(options)} <= {*config.given, "objectives", "donor"}


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


def anchors(page: Path) -> set[str]:
    """The names by which GitHub links to a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    heads = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere() -> None:
    for page in LINKED:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\((?!https?:)([^)\s]*)\)", text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"
