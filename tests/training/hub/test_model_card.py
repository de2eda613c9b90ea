"""The card of a run says what the run was, whatever it was trained on."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from nim_dataset.errors import UserError
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
    return ModelCard(make_card(RunFiles.read(folder), "ada/model", license={"license": "mit"}))


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


def test_the_anchor_is_told_with_what_it_holds_to(folder: Path) -> None:
    assert "| Anchor weight (L2-SP) | 0.0001 |\n" in card(folder, ["quickstart"]).text
    config = yaml.safe_load((folder / "config.yaml").read_text()) | {"anchor_to": "ada/base"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert "| 0.0001, to ada/base |\n" in make_card(RunFiles.read(folder), "ada/model", license={"license": "mit"})


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
    assert made.data.tags == [game, "shortcut-learning", "training-dynamics", "l2-sp"]  # type: ignore[attr-defined]
    assert about in made.text
    assert absent not in str(made).replace("With the code of the Nim testbed", "").lower()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("config.yaml", None, "config.yaml is missing, so this is not a finished run"),
        ("config.yaml", "a: [", "config.yaml: cannot be read (while parsing"),
        ("config.yaml", "", "config.yaml: cannot be read (no mapping of names to values)"),
        ("environment.json", "{}", "environment.json does not tell the base model, so no card can be made"),
        ("environment.json", "{", "environment.json: cannot be read (Expecting"),
        ("metrics.jsonl", "1", "metrics.jsonl, line 1: expected a JSON object, got int"),
    ],
)
def test_a_damaged_record_is_one_line(folder: Path, name: str, text: str | None, said: str) -> None:
    card(folder, ["quickstart"])
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        RunFiles.read(folder)
