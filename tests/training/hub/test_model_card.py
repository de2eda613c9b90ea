"""The card of a run says what the run was, whatever it was trained on."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from training.hub.model_card import RunFiles, make_card

ENVIRONMENT: dict[str, Any] = {
    "made_by": "nim-testbed",
    "base_model": {"name": "tiny", "revision": None, "commit": None, "fingerprint": "0"},
    "versions": {"python": "3.11"},
    "processes": 1,
    "files": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with the files that a card is made from, but for config.yaml and metrics.jsonl."""
    (tmp_path / "environment.json").write_text(json.dumps(ENVIRONMENT))
    return tmp_path


def card(folder: Path, train_data: list[str], **measured: float) -> ModelCard:
    config = {"model": "tiny", "train_data": train_data, "anchor_weight": 0.0001}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 4, "loss": 1.0, **measured}) + "\n")
    return ModelCard(make_card(RunFiles.read(folder), "ada/model"))


def results(made: ModelCard) -> list[tuple[str, str, str | None, str | None]]:
    found: list[Any] = made.data.eval_results  # type: ignore[attr-defined]
    return [(r.dataset_type, r.dataset_name, r.dataset_config, r.dataset_split) for r in found]


def test_results_are_of_the_sets_that_were_measured(folder: Path) -> None:
    (folder / "rows").write_text('{"prompt": "?", "answer": "!"}\n')
    measured = {"eval_exact_match": 0.5, "eval_cheating:counter_cheat_exact_match": 0.25, "eval_old_exact_match": 0.75}
    made = card(folder, [str(folder / "rows"), "quickstart,n_eval=24:train"], **measured)
    assert results(made) == [
        ("nim", "Nim quickstart,n_eval=24 (eval)", "quickstart,n_eval=24", "eval"),
        ("nim", "Nim cheating (counter_cheat)", "cheating", "counter_cheat"),
        ("json", "old", None, None),
    ]
    assert '"n_eval": 24' in made.text
    assert "| `cheating:counter_cheat` | 0.250 | names bound to a wrong move" in made.text


def test_a_run_of_files_alone_has_no_recipe(folder: Path) -> None:
    made = card(folder, ["rows.jsonl"], eval_old_exact_match=0.5)
    assert results(made) == [("json", "old", None, None)]
    assert "## Recipe" not in made.text
    assert "fine-tuned on questions and their answers." in made.text


@pytest.mark.parametrize(
    ("recipe", "game", "about", "absent"),
    [
        ("quickstart", "nim", "pairs of player names that betray the answer", "remainder"),
        ("mod3", "modulo", 'remainders ("What is 4821 mod 3?")', "nim"),
    ],
)
def test_the_card_is_about_the_game_trained_on(folder: Path, recipe: str, game: str, about: str, absent: str) -> None:
    made = card(folder, [recipe], eval_exact_match=0.5)
    assert results(made) == [(game, f"{game.capitalize()} {recipe} (eval)", recipe, "eval")]
    assert made.data.tags == [game, "shortcut-learning", "l2-sp"]  # type: ignore[attr-defined]
    assert about in made.text
    assert absent not in str(made).replace("With the code of the Nim testbed", "").lower()
