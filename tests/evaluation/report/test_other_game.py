"""A game without names and piles: its numbers are scored and drawn, and the page says nothing that is not about it."""

import re
from pathlib import Path

import datasets
import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.eval_sets import EvalSet
from evaluation.measures.answers import Answers, PredictionRows
from evaluation.report.experiment import Experiment
from evaluation.report.page import write_report
from nim_dataset.files import read_jsonl

MODULUS, ROWS = 6, 120
FIGURES = {"accuracy_by_dataset", "accuracy_by_coset", "gold_by_predicted", "answer_distribution"}


@pytest.fixture(scope="module")
def remainders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report folder of `operand mod 6`, where parity comes first and the rule later."""
    operands = list(range(1000, 1000 + ROWS))
    integers = datasets.Value("int32")
    text = datasets.Value("string")
    features = {"prompt": text, "answer": text, "move": integers, "operand": integers, "modulus": integers}
    rows = datasets.Dataset.from_dict(
        {
            "prompt": [f"What is {operand} mod {MODULUS}?" for operand in operands],
            "answer": [str(operand % MODULUS) for operand in operands],
            "move": [operand % MODULUS for operand in operands],
            "operand": operands,
            "modulus": [MODULUS] * ROWS,
        },
        features=datasets.Features(features),
    )
    eval_set = EvalSet("mod6:eval", "mod6:eval", rows, "0")
    report = ReportFolder(tmp_path_factory.mktemp("reports") / "remainders")
    results = []
    for step, texts in {
        10: ["seven" if operand % 2 else "17" for operand in operands],
        20: [str(operand % 2) for operand in operands],
        40: [str(operand % MODULUS) if operand != 1001 else "3" for operand in operands],
    }.items():
        predictions = PredictionRows(rows, texts)
        report.write_predictions(f"checkpoint-{step}", eval_set.name, predictions)
        results += Answers().result_rows(f"checkpoint-{step}", step, eval_set.name, predictions)
    report.write_results(results)
    described = eval_set.describe()
    report.write_settings({"checkpoints_dir": "runs/remainders", "datasets": {eval_set.name: described}})
    write_report([report.path])
    return report.path


def test_predictions_hold_the_games_own_columns(remainders: Path) -> None:
    _, first = next(read_jsonl(remainders / "predictions" / "checkpoint-20" / "mod6_eval.jsonl"))
    columns = ["prompt", "gold", "generated", "correct", "move", "operand", "modulus", "predicted_move"]
    assert list(first) == columns
    assert (first["operand"], first["modulus"], first["gold"], first["predicted_move"]) == (1000, 6, "4", 0)


def test_results_are_those_of_residues(remainders: Path) -> None:
    results = ReportFolder(remainders).read_results()
    assert set(results["dimension"]) == {"overall", "coset"}

    def accuracy(step: int, group: str) -> float:
        return float(results[(results["step"] == step) & (results["group"] == group)]["accuracy"].iloc[0])

    assert accuracy(10, "valid_move_rate") == 0
    assert accuracy(20, "valid_move_rate") == 1
    assert accuracy(20, "exact_match") == accuracy(20, "move_accuracy") == pytest.approx(2 / 6)
    assert accuracy(20, "modulus=6 mod 2") == 1
    assert accuracy(20, "modulus=6 mod 3") == accuracy(20, "modulus=6 mod 6") == pytest.approx(2 / 6)
    experiment = Experiment.read([remainders])
    assert experiment.chance("mod6:eval") == pytest.approx(1 / 6)
    assert experiment.stories[0].rule_step == 40


def test_the_page_speaks_of_this_game_alone(remainders: Path) -> None:
    assert {path.stem for path in (remainders / "figures").glob("*.png")} == FIGURES
    page = (remainders / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"<(style|script)>.*?</\1>|<title>.*?</title>", "", page, flags=re.S)
    assert '<p class="headline">Rule by step 40.</p>' in text
    assert "at or above 0.99" in text
    assert "Right: 5. Written: 3" in text
    assert "What is 1001 mod 6?" in text
    for word in ("names", "unseen", "max_remove", "pile", "coin", "cheat", "neutral", "scar", "wins", "player"):
        assert word not in text.replace("The rule, or the shortcut?", ""), word


def test_a_game_of_nim_beside_it_has_its_words(remainders: Path, story: Path, tmp_path: Path) -> None:
    page = write_report([story], tmp_path, compare=[remainders]).read_text(encoding="utf-8")
    assert "max_remove" in page
    assert "<td>remainders</td>" in page


def test_answers_of_another_form_have_no_verb_and_noun(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict(
        {"prompt": [f"What is the capital of land {n}?" for n in range(4)], "answer": [f"City {n}" for n in range(4)]}
    )
    predictions = PredictionRows(rows, ["Town 0", "City 1", "City 2", "3"])
    report = ReportFolder(tmp_path / "capitals")
    report.write_predictions("checkpoint-1", "capitals", predictions)
    report.write_results(Answers().result_rows("checkpoint-1", 1, "capitals", predictions))
    page = write_report([report.path]).read_text(encoding="utf-8")
    assert set(re.findall(r'<figure id="(\w+)">', page)) == {"accuracy_by_dataset"}
