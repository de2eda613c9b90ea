"""Whatever sets, runs and folders are called, the page and its figures can be read."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.report.page import write_report
from evaluation.report.style import LOOKS

LONG = "4_pairs20000_shuf5_occ4_evaluation_with_masking_of_player_names_and_reversed_moves"
SETS = ["a$x_1$b", "硬币游戏", "run:3", f"{LONG}_v1", f"{LONG}_v2", *(f"set_{index}" for index in range(4))]


def write(folder: Path, accuracy: Callable[[str, int], float], sets: list[str], steps: list[int]) -> Path:
    """A report folder with the exact match of each set at each step, and no intervals."""
    fixed = {"dimension": "overall", "group": "exact_match", "n": 100}
    rows = [
        {**fixed, "checkpoint": f"checkpoint-{step}", "step": step, "dataset": name, "accuracy": accuracy(name, step)}
        for step in steps
        for name in sets
    ]
    ReportFolder(folder).write_results(rows)
    return folder


def test_names_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def late(name: str, step: int) -> float:
        return min(1.0, step / 100 / (1 + SETS.index(name)))

    folder = write(tmp_path / "cost$5_and_$6", late, SETS, [100 * (index + 1) for index in range(40)])
    page = write_report([folder]).read_text(encoding="utf-8")
    image = page[page.index("<svg") : page.index("</svg>")]
    for text in ("a$x_1$b 100%", "硬币游戏 100%", "run:3 100%", "moves_v1 100%", "moves_v2 100%"):
        assert text in image
    assert "At the end these lie on one another: a$x_1$b, 硬币游戏, run:3, " in page
    assert capsys.readouterr().err.count("\n") <= 1  # at most a note on letters that no font has
    data = pd.read_csv(folder / "figures" / "accuracy_by_dataset.csv")
    assert len(data) == len(SETS) * 40
    assert list(data.columns) == ["dataset", "dimension", "group", "step", "n", "correct", "accuracy", "low", "high"]
    assert data[(data["dataset"] == "run:3") & (data["step"] == 200)]["accuracy"].item() == pytest.approx(2 / 3)

    # The same set names of two folders of the same name: each line of the legend and of the tables is one of its own.
    other = write(tmp_path / "elsewhere" / "cost$5_and_$6", lambda name, step: 1.0, ["other", "run:3"], [100, 200])
    page = write_report([folder], tmp_path / "both", compare=[other]).read_text(encoding="utf-8")
    data = pd.read_csv(tmp_path / "both" / "figures" / "compare_last.csv")
    assert set(data["experiment"]) == {f"{tmp_path.name}/cost$5_and_$6", "elsewhere/cost$5_and_$6"}


def test_five_sets_at_one_place_are_five_marks(tmp_path: Path) -> None:
    sets = [f"quickstart:{split}" for split in ("eval", "cheat_consistent", "counter_cheat", "neutral", "unseen_names")]
    page = write_report([write(tmp_path, lambda name, step: 1.0, sets, [600])]).read_text(encoding="utf-8")
    image = (tmp_path / "figures" / "accuracy_by_dataset.svg").read_text(encoding="utf-8")
    marks = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: (#\w+)', image)
    colors = {LOOKS[name.partition(":")[2]][0] for name in sets}
    drawn = {color: (x, y) for x, y, color in marks if color in colors}
    assert len(drawn) == len({x for x, _ in drawn.values()}) == 5
    assert "lie on one another" not in page
    assert "Shortcut not judged; rule by step 600; scar at the end: 0.00." in page
