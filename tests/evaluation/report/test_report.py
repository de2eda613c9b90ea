"""The report as a user makes it: the command, the files, the words, and kind errors."""

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.report.experiment import Experiment
from evaluation.report.page import main, write_report
from evaluation.report.summary import summary

HEADLINE = "Shortcut learned by step 20; rule by step 40; scar at the end: 0.25."
FIGURES = {
    "accuracy_by_dataset",
    "accuracy_by_bucket",
    "cheat_rate",
    "accuracy_by_pair",
    "gold_by_predicted",
    "mistakes_by_kind",
    "answer_distribution",
    "loss",
}
ANSWERS = {"gold_by_predicted", "mistakes_by_kind", "answer_distribution"}


def drawn(folder: Path, ending: str) -> set[str]:
    return {path.stem for path in (folder / "figures").glob(f"*.{ending}")}


@pytest.fixture(scope="module")
def reported(story: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder after `python -m evaluation.report`, and what that printed."""
    folder = tmp_path_factory.mktemp("reported") / "story"
    shutil.copytree(story, folder)
    run = subprocess.run([sys.executable, "-m", "evaluation.report", folder], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder, run.stdout


def test_command_draws_every_figure_that_has_data(reported: tuple[Path, str]) -> None:
    folder, printed = reported
    assert HEADLINE in printed
    assert str(folder / "index.html") in printed
    assert drawn(folder, "png") == drawn(folder, "svg") == drawn(folder, "csv") == FIGURES
    for path in (folder / "figures").iterdir():
        if path.suffix == ".csv":
            assert len(pd.read_csv(path)) > 0
        elif path.suffix == ".png":
            pixels = matplotlib.image.imread(path)
            assert pixels.std() > 0.01  # not blank
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_page_says_what_the_data_says(reported: tuple[Path, str]) -> None:
    folder, _ = reported
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert f'<p class="headline">{HEADLINE}</p>' in page
    assert "At step 20 the model followed the names, not the game: cheat_consistent 1.00, counter_cheat 0.00" in page
    assert "costs 0.25 of accuracy against neutral names in the same games: counter_cheat 0.75, neutral 1.00" in page
    assert "at or above 0.90, counter_cheat at or below 0.10" in page  # the thresholds
    for name in FIGURES:
        assert f'<figure id="{name}">' in page
    assert page.count("<figcaption>") == page.count("<svg") == len(FIGURES)


def test_page_needs_nothing_but_itself(reported: tuple[Path, str]) -> None:
    page = (reported[0] / "index.html").read_text(encoding="utf-8")
    assert "http" not in page
    assert not re.search(r"<(script|img|iframe)[^>]*\ssrc=", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert re.findall(r'<link[^>]*href="([^"]*)"', page) == ["data:,"]
    assert len(page) < 3_000_000
    # Ids are unique, also across the figures that were put into the page.
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert target in ids


def test_twenty_wrong_predictions_are_written_out(reported: tuple[Path, str]) -> None:
    page = (reported[0] / "index.html").read_text(encoding="utf-8")
    games = page[page.index('<ol class="games">') : page.index("</ol>")]
    assert games.count("<li>") == 20
    first = games[: games.index("</li>")]
    # The last checkpoint errs on counter_cheat alone, where it plays the bound move.
    assert "quickstart:counter_cheat, step 80" in first
    assert "the model played it" in first
    game = re.search(r"(\d+) coins at the start; a move takes 1 to (\d).*?takes (\d), (\d+) left", first, re.S)
    assert game
    start, most, taken, left = map(int, game.groups())
    assert start - taken == left
    assert f"Rule: {left} mod {most + 1} = {left % (most + 1)}" in first
    assert "You are playing the game of nim." in first


def test_seeds_are_drawn_as_bands(make_folder: Callable[..., Path], story: Path, tmp_path: Path) -> None:
    later = make_folder(tmp_path / "later", {5: "guess", 10: "guess", 20: "guess", 40: "names", 80: "rule"})
    both = Experiment.read([story, later])
    curve = both.curve("quickstart:eval").set_index("step")
    each = [run.overall("quickstart:eval")["accuracy"] for run in both.runs]
    assert curve.loc[40, "accuracy"] == pytest.approx((each[0][40] + each[1][40]) / 2)
    assert (curve.loc[40, "low"], curve.loc[40, "high"]) == (min(each[0][40], each[1][40]), 1.0)
    assert summary(both)[0] == (
        "Shortcut learned by steps 20 to 40 (2 of 2 runs); rule by steps 40 to 80 (2 of 2 runs); scar at the end: 0.25."
    )
    page = write_report([story, later], tmp_path / "both")
    assert page == tmp_path / "both" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "Lines are means of 2 runs" in text
    assert "Wilson" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
    assert not (story / "index.html").exists()


def test_compare_puts_experiments_side_by_side(make_folder: Callable[..., Path], story: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "no_shortcut", {10: "guess", 80: "rule"})
    main([str(story), "--compare", str(other), "--output", str(tmp_path / "page")])
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert {"compare_accuracy", "compare_last"} <= drawn(tmp_path / "page", "png")
    assert page.index("Side by side</h2>") < page.index("Figures</h2>")
    rows = re.findall(r"<tr><td>(story|no_shortcut)</td>(.*?)</tr>", page)
    assert [name for name, _ in rows] == ["story", "no_shortcut"]
    assert [re.findall(r">([^<]*)</td>", row)[:3] for _, row in rows] == [["20", "40", "0.250"], ["-", "80", "0.250"]]


def test_what_is_not_there_is_not_drawn(reported: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(reported[0], folder)
    assert drawn(folder, "png") == FIGURES
    for gone in ("predictions", "incorrect"):
        shutil.rmtree(folder / gone)
    for gone in ("metrics.jsonl", "sweep.json"):
        (folder / gone).unlink()
    page = write_report([folder]).read_text(encoding="utf-8")
    assert drawn(folder, "png") == drawn(folder, "svg") == FIGURES - ANSWERS - {"loss"}
    assert 'id="wrong"' not in page


def test_tables_hold_the_results(reported: tuple[Path, str]) -> None:
    folder, _ = reported
    results = ReportFolder(folder).read_results()
    page = (folder / "index.html").read_text(encoding="utf-8")
    last = results[(results["step"] == 80) & (results["dimension"] != "overall")]
    assert f"<summary>{len(last)} rows</summary>" in page
    assert page.count("<table ") == page.count('<p class="caption"') == 5
    assert page.count("<th ") == page.count("</button></th>")


def test_mistakes_are_one_line_and_exit_2(story: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("none", "columns", "empty", "broken", "text", "unknown", "step", "log", "settings", "wrong")
    for name in names:
        (tmp_path / name).mkdir()
        shutil.copy(story / "results.csv", tmp_path / name)
    no_results, no_columns, empty, broken, text, nothing_known, no_step, log, settings, wrong = map(
        tmp_path.joinpath, names
    )
    (no_results / "results.csv").unlink()
    results = ReportFolder(story).read_results()
    results.astype({"accuracy": object}).replace({"accuracy": {1.0: "high"}}).to_csv(text / "results.csv", index=False)
    results.assign(accuracy=None).to_csv(nothing_known / "results.csv", index=False)
    results.assign(step=None).to_csv(no_step / "results.csv", index=False)
    (log / "metrics.jsonl").write_text('{"step": 1, "loss": "low"}\n')
    (settings / "sweep.json").write_text("[]")
    (wrong / "incorrect").mkdir()
    (wrong / "incorrect" / "quickstart_eval_checkpoint-5.jsonl").write_text('{"prompt": "p", "gold": "g"}\n')
    (no_columns / "results.csv").write_text("checkpoint,step\ncheckpoint-1,1\n")
    (empty / "results.csv").write_text((story / "results.csv").read_text().splitlines()[0] + "\n")
    (broken / "metrics.jsonl").write_text('{"step": 1}\n{"step": \n')
    for arguments, words in (
        ([tmp_path / "misspelt"], ["misspelt", "no such folder"]),
        ([no_results], [str(no_results), "no results.csv"]),
        ([no_columns], ["no column dataset", "expected checkpoint, step"]),
        ([empty], ["no results in it"]),
        ([broken], ["metrics.jsonl, line 2", "invalid JSON"]),
        ([text], ["results.csv", "'accuracy' is 'high', expected a number"]),
        ([nothing_known], ["results.csv", "no 'accuracy' is known"]),
        ([no_step], ["results.csv, line 2", "'step' is nan, expected a whole number"]),
        ([log], ["metrics.jsonl", "'loss' is 'low', expected a number"]),
        ([settings], ["sweep.json", "expected a JSON object, got list"]),
        ([wrong], ["quickstart_eval_checkpoint-5.jsonl, line 1", "'generated' is missing"]),
        ([story, story], ["given twice"]),
        ([story, "--compare", story], ["given twice"]),
    ):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        assert exit_.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        for word in words:
            assert word in error
    assert not list(tmp_path.rglob("index.html"))


def test_a_mistake_on_the_command_line_has_no_traceback() -> None:
    run = subprocess.run([sys.executable, "-m", "evaluation.report", "nowhere"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == "error: nowhere: no such folder; pass a report folder written by evaluation/sweep.py\n"


def test_one_regime_alone_has_a_page_that_says_where_it_stands(story: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    results = ReportFolder(story).read_results()
    shutil.copytree(story, folder)
    results[results["dataset"] == "quickstart:counter_cheat"].to_csv(folder / "results.csv", index=False)
    for file in [*(folder / "predictions").rglob("*.jsonl"), *(folder / "incorrect").rglob("*.jsonl")]:
        if "counter_cheat" not in file.name:
            file.unlink()
    page = write_report([folder])
    assert "quickstart:counter_cheat: 0.75 at step 80" in page.read_text(encoding="utf-8")
