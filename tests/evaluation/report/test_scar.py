"""The scar is measured between twins: the same games, with names that lie and with names that tell nothing."""

from pathlib import Path

import datasets
import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.eval_sets import load_eval_sets
from evaluation.measures.answers import Answers, PredictionRows
from evaluation.report.experiment import Experiment
from evaluation.report.page import write_report
from evaluation.report.scored_run import ScoredRun
from evaluation.report.story import Story
from evaluation.report.summary import summary

ROWS = 40


def write(folder: Path, sets: dict[str, datasets.Dataset], answer: str, step: int = 100) -> Path:
    """A report folder of a model that gives this answer to every row, or the right one for an empty text."""
    report, results = ReportFolder(folder), []
    for name, rows in sets.items():
        texts = [answer or gold for gold in rows["answer"]]
        predictions = PredictionRows(rows, texts)
        report.write_predictions(f"checkpoint-{step}", name, predictions)
        results += Answers().result_rows(f"checkpoint-{step}", step, name, predictions)
    report.write_results(results)
    return folder


@pytest.fixture(scope="module")
def single() -> dict[str, datasets.Dataset]:
    """The sets of a recipe with a single bound move."""
    specs = [f"cheating:{split}" for split in ("eval", "counter_cheat", "neutral", "counter_neutral")]
    return {each.name: each.rows for each in load_eval_sets(specs, limit=ROWS)}


def test_a_model_that_says_one_move_leaves_no_scar(single: dict[str, datasets.Dataset], tmp_path: Path) -> None:
    """neutral's answers are all 2 and counter_cheat's never: their difference says nothing about names."""
    sets = {name: rows for name, rows in single.items() if name != "cheating:counter_neutral"}
    write(tmp_path / "r", sets, "take 2 coins")
    run = ScoredRun.read(tmp_path / "r")
    assert run.accuracy("neutral").iloc[-1] - run.accuracy("counter_cheat").iloc[-1] == 1.0
    story = Story.of(run)
    assert (story.scar, story.scar_twin) == (None, None)
    page = write_report([tmp_path / "r"]).read_text(encoding="utf-8")
    assert "The scar is not measured: no set is known to hold the games of counter_cheat" in page
    assert "costs 1.00" not in page


def test_counter_neutral_is_the_twin_where_it_was_scored(single: dict[str, datasets.Dataset], tmp_path: Path) -> None:
    write(tmp_path / "r", single, "take 2 coins")
    story = Story.of(ScoredRun.read(tmp_path / "r"))
    assert (story.scar, story.scar_twin, story.scar_step) == (0.0, "counter_neutral", 100)

    # A quarter of the lies is believed.
    report = ReportFolder(write(tmp_path / "s", single, ""))
    results = report.read_results()
    lied = (results["dataset"] == "cheating:counter_cheat") & (results["group"] == "exact_match")
    results.loc[lied, "accuracy"] = 0.75
    report.write_results([dict(row) for _, row in results.iterrows()])
    page = write_report([report.path]).read_text(encoding="utf-8")
    assert (
        "costs 0.25 of accuracy against neutral names in the same games: counter_cheat 0.75, counter_neutral 1.00"
        in page
    )
    assert "The scar is the accuracy on counter_neutral minus that on counter_cheat" in page
    assert "The scar is counter_neutral minus counter_cheat." in page


@pytest.mark.parametrize(
    ("recipe", "scar"),
    [("quickstart", 0.25), ("quickstart,cheat_moves=2", None), ("cheating", None), ("nowhere", None), ("", None)],
)
def test_without_predictions_the_recipe_tells_the_twin(recipe: str, scar: float | None, tmp_path: Path) -> None:
    """With several bound moves, the four regimes hold the same games; of an unknown recipe nothing is known."""
    fixed = {"checkpoint": "checkpoint-5", "step": 5, "dimension": "overall", "group": "exact_match"}
    accuracies = {"counter_cheat": 0.75, "neutral": 1.0}
    rows = [
        {**fixed, "dataset": f"{recipe}:{split}" if recipe else split, "accuracy": accuracy}
        for split, accuracy in accuracies.items()
    ]
    ReportFolder(tmp_path).write_results(rows)
    experiment = Experiment.read([tmp_path])
    assert experiment.stories[0].scar == scar
    assert any("The scar is not measured" in sentence for sentence in summary(experiment)) is (scar is None)
