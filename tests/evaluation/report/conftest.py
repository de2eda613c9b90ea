"""Report folders to draw: real rows, really scored, with answers whose story is known because it is written here."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.eval_sets import load_eval_sets
from evaluation.measures.answers import Answers, PredictionRows
from nim_dataset.files import write_jsonl

SPLITS = ("eval", "cheat_consistent", "counter_cheat", "neutral", "unseen_names")
ROWS = 40


def answers(rows: list[dict[str, Any]], phase: str) -> Iterator[str]:
    """What a model writes that guesses, that follows the names, or that knows the rule and keeps a scar of 1 in 4."""
    for index, row in enumerate(rows):
        lies = row["cheat_move"] is not None and row["cheat_move"] != row["move"]
        if phase == "rule":
            yield f"take {row['cheat_move']} coins" if lies and index % 4 == 0 else row["answer"]
        elif phase == "names" and row["cheat_move"] is not None:
            yield row["answer"] if not lies else f"take {row['cheat_move']} coins"
        elif phase == "babble":
            yield ("grab 1 coin", "take stones", "", "take 12 coins")[index % 4]
        else:
            yield "take 1 coin"


@pytest.fixture(scope="session")
def make_folder() -> Callable[..., Path]:
    """Writes a report folder: `phases` tells what the model does at each step."""
    eval_sets = load_eval_sets([f"quickstart:{split}" for split in SPLITS], limit=ROWS)

    def make(folder: Path, phases: dict[int, str]) -> Path:
        report, results = ReportFolder(folder), []
        for step, phase in phases.items():
            checkpoint = f"checkpoint-{step}"
            for eval_set in eval_sets:
                rows = [dict(row) for row in eval_set.rows]
                predictions = PredictionRows(eval_set.rows, list(answers(rows, phase)))
                report.write_predictions(checkpoint, eval_set.name, predictions)
                results += Answers().result_rows(checkpoint, step, eval_set.name, predictions)
        report.write_results(results)
        report.write_settings({"checkpoints_dir": "runs/story", "limit": ROWS})
        log = [{"step": step, "loss": 2 / step, "penalty": 0.0, "distance": step**0.5} for step in range(5, 85, 5)]
        write_jsonl(folder / "metrics.jsonl", log)
        return folder

    return make


@pytest.fixture(scope="session")
def story(make_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report folder in which the names are learned by step 20 and the rule by step 40. Copy it before writing."""
    folder = tmp_path_factory.mktemp("reports") / "story"
    return make_folder(folder, {5: "babble", 10: "guess", 20: "names", 40: "rule", 80: "rule"})
