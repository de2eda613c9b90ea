"""What is trained on: recipes, the user's own files, and mixtures."""

import json
from pathlib import Path

from training.config import DataConfig
from training.data.phase import Phase
from training.data.sets import load_eval, load_train


def test_each_set_that_some_phase_names_is_loaded_once(tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text("".join(json.dumps({"prompt": f"What is {i}?", "answer": "1"}) + "\n" for i in range(30)))
    sets = load_train([Phase(("quickstart,n_train=90", str(mine))), Phase((str(mine),))])
    assert {name: len(rows) for name, rows in sets.items()} == {"quickstart,n_train=90": 90, str(mine): 30}
    assert sets[str(mine)]["prompt"][:2] == ["What is 0?", "What is 1?"]


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
