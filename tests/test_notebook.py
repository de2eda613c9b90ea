"""docs/microscope.ipynb works from top to bottom, in a few steps, and is kept with what it shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "microscope.ipynb"
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=600).execute()
outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
pictures = [output for output in outputs if "image/png" in output.get("data", {})]
print(len(pictures), "pictures")
"""


def short_notebook() -> dict[str, Any]:
    """The notebook, with four steps of training in the place of 600."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    text, of_steps = re.subn(r"STEPS = 600\b", "STEPS = 4", text)
    text, of_saves = re.subn(r"SAVE_AT = \[[\d, ]+\]", "SAVE_AT = [2]", text)
    text, of_rows = re.subn(r'(?<="--train_data\\", \\"quickstart)', ",n_train=640", text)
    assert (of_steps, of_saves, of_rows) == (1, 1, 1)
    found: dict[str, Any] = json.loads(text)
    return found


def test_it_is_kept_executed_and_small() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert NOTEBOOK.stat().st_size < 300_000


def test_its_code_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    known: dict[str, Any] = {}
    for cell in short_notebook()["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(line for line in cell["source"] if not line.startswith("%")), known)
    assert known["shortcut"] in (2, 4)
    assert (tmp_path / "reports" / "microscope" / "index.html").is_file()
    figure = known["fig"]
    assert [bool(axes.has_data()) for axes in figure.axes] == [True] * 3


@pytest.mark.slow
def test_jupyter_executes_it(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--target", str(tools), "nbclient", "ipykernel"]
    subprocess.run(pip, check=True)
    notebook = tmp_path / "microscope.ipynb"
    notebook.write_text(json.dumps(short_notebook()), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tools), str(ROOT))), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(notebook)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 pictures\n"
