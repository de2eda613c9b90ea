"""Report folders to draw: real rows, really scored, with answers whose story is known because it is written here."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluation.artifacts.report_folder import incorrect_path, predictions_path, write_results
from evaluation.measures.answers import incorrect_rows, load_eval_sets, prediction_rows, result_rows
from nim_dataset.files import write_jsonl, write_text

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
        results = []
        for step, phase in phases.items():
            checkpoint = f"checkpoint-{step}"
            for eval_set in eval_sets:
                rows = [dict(row) for row in eval_set.rows]
                predictions = list(prediction_rows(eval_set, list(answers(rows, phase))))
                write_jsonl(predictions_path(folder, checkpoint, eval_set.name), predictions)
                write_jsonl(incorrect_path(folder, checkpoint, eval_set.name), incorrect_rows(predictions))
                results += result_rows(checkpoint, step, eval_set.name, predictions)
        write_results(folder, results)
        write_text(folder / "sweep.json", json.dumps({"checkpoints_dir": "runs/story", "limit": ROWS}))
        log = [{"step": step, "loss": 2 / step, "penalty": 0.0, "distance": step**0.5} for step in range(5, 85, 5)]
        write_jsonl(folder / "metrics.jsonl", log)
        return folder

    return make


@pytest.fixture(scope="session")
def story(make_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report folder in which the names are learned by step 20 and the rule by step 40. Copy it before writing."""
    folder = tmp_path_factory.mktemp("reports") / "story"
    return make_folder(folder, {5: "babble", 10: "guess", 20: "names", 40: "rule", 80: "rule"})
