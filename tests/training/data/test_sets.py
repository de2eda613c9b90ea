"""What is trained on: recipes, the user's own files, and mixtures."""

import json
from pathlib import Path

import pytest

from training.config import DataConfig
from training.data.phases import Phase
from training.data.sets import load_eval, load_train


def test_sets_are_joined_or_mixed_by_weight(tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text(
        "".join(json.dumps({"prompt": f"What is {i}?", "answer": "take 1 coin"}) + "\n" for i in range(300))
    )
    both = ("quickstart,n_train=900", str(mine))
    assert len(load_train(Phase(both, (), -1), seed=0)) == 1200

    mixed = load_train(Phase(both, (0.75, 0.25), -1), seed=0)
    own = [prompt for prompt in mixed["prompt"] if prompt.startswith("What is")]
    assert len(own) / len(mixed) == pytest.approx(0.25, abs=0.04)
    assert own == [f"What is {i}?" for i in range(len(own))]  # no row comes twice

    # Until each set has been used up: the small one begins again, as often as its share takes.
    ends = load_train(Phase(("quickstart,n_train=900", f"{mine}"), (0.5, 0.5), -1, "all_exhausted"), seed=0)
    own = [prompt for prompt in ends["prompt"] if prompt.startswith("What is")]
    assert len(own) / len(ends) == pytest.approx(0.5, abs=0.04)
    assert own == [f"What is {i % 300}?" for i in range(len(own))]
    assert len(own) > 3 * 250
    assert set(ends["prompt"]) == set(load_train(Phase(both, (), -1), seed=0)["prompt"])

    again = load_train(Phase(both, (0.75, 0.25), -1), seed=0)
    assert again["prompt"] == mixed["prompt"]


def test_exact_match_is_measured_on_the_recipes_other_splits_or_on_what_is_asked(tmp_path: Path) -> None:
    recipe = DataConfig(train_data=["quickstart,n_train=64"], eval_rows=7)
    sets = load_eval(recipe)
    assert list(sets) == ["eval", "cheat_consistent", "counter_cheat", "neutral", "unseen_names"]
    assert {len(rows) for rows in sets.values()} == {7}

    mine = tmp_path / "mine.jsonl"
    mine.write_text(json.dumps({"prompt": "p", "answer": "a"}) + "\n")
    asked = DataConfig(train_data=["quickstart,n_train=64"], eval_data=["357", str(mine)], eval_rows=7)
    assert list(load_eval(asked)) == ["357:eval", "mine"]
    assert load_eval(DataConfig(train_data=[str(mine)])) == {}
    assert load_eval(DataConfig(train_data=["quickstart"], eval_rows=0)) == {}
