"""Rows of a JSONL file, which are taken in some thousands at a time."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json

from nim_dataset import load, load_source

BATCH = 100


def test_a_file_of_several_batches_and_games(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("nim_dataset.sources.BATCH", BATCH)
    games = load("cheating", "train", n_train=BATCH + 1, n_eval=0, n_regime=0)
    rows = [{"prompt": "Who wins?", "answer": "Leo"}] * BATCH
    rows += [{"prompt": row["prompt"], "answer": row["answer"]} for row in games]
    rows += [{"prompt": "What is 4015 mod 3?", "answer": "1"}]
    file = tmp_path / "mixed.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = set(cache.iterdir())
    loaded = load_source(str(file))
    assert loaded.select_columns(["prompt", "answer"]).to_list() == rows
    told = ["coins", "trace", "pile", "move", "player_one", "player_two"]
    assert (
        loaded.select(range(BATCH, 2 * BATCH + 1)).select_columns(told).to_list()
        == games.select_columns(told).to_list()
    )
    assert loaded[-1]["operand"] == 4015
    assert loaded[0]["coins"] is loaded[-1]["coins"] is loaded[BATCH]["operand"] is None
    assert "operand" not in load_source(str(file), limit=2 * BATCH).column_names, "the columns of the games there are"
    assert (
        load_source(str(file), limit=2)._fingerprint
        == load_source(str(file), limit=2)._fingerprint
        != loaded._fingerprint
    )
    assert set(cache.iterdir()) == before, "nothing is left behind"
