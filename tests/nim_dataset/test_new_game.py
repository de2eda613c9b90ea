"""A game is one file: `toy_games/parity.py` brings one from outside the package, and every road leads to its rows."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import dataclasses
import importlib.util
import json
from pathlib import Path

import datasets
import fsspec
import pandas as pd
import pytest

from nim_dataset import NimBuilder, get_config, load, load_source, recipe_names
from nim_dataset.check.findings import report
from nim_dataset.check.splits import generated_splits, read_file
from nim_dataset.errors import UserError
from nim_dataset.games import GAMES, chance, register


@pytest.fixture(scope="module", autouse=True)
def parity():
    """The game is known while this module is tested."""
    path = Path(__file__).with_name("toy_games") / "parity.py"
    spec = importlib.util.spec_from_file_location("toy_parity", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield
    del GAMES["parity"]


def test_its_recipe_is_loaded_like_any_other(tmp_path):
    assert recipe_names()[-1] == "parity"
    rows = load("parity", below=100)
    builder = NimBuilder("parity", cache_dir=str(tmp_path), below=100)
    builder.download_and_prepare(num_proc=2)
    built = builder.as_dataset()
    assert rows.num_rows == built.num_rows == {"train": 500, "eval": 50}
    for split in rows:
        assert rows[split].to_list() == built[split].to_list()
        assert pd.read_parquet(f"nim://parity,below=100/{split}.parquet").to_dict("records") == rows[split].to_list()
        for row in rows[split]:
            assert row["prompt"] == f"Is {row['number']} odd?"
            assert row["answer"] == ("odd" if row["number"] % 2 else "even")
    assert not set(rows["train"]["number"]) & set(rows["eval"]["number"])
    assert load_source("parity,below=100:eval", 7).to_list() == rows["eval"].to_list()[:7]
    assert chance(rows["eval"]) == 0.5


def test_its_files_are_recognised_and_its_options_checked(tmp_path):
    path = tmp_path / "eval.jsonl"
    path.write_bytes(fsspec.open("nim://parity/eval.jsonl").open().read())
    assert load_source(str(path)).to_list() == load("parity", "eval").to_list()
    with pytest.raises(UserError, match=r"^parity: unknown option 'belo', did you mean 'below'\? Options: below, "):
        load("parity", belo=3)
    with pytest.raises(UserError, match=r"^below: got 1, but 2 to 1000000 is allowed$"):
        load("parity", below=1)


def test_it_is_checked(tmp_path, capsys):
    assert report(generated_splits(get_config("parity")), {}, "number")
    assert "all 550 labels are right, no number of train is in another split" in capsys.readouterr().out
    path = tmp_path / "wrong.jsonl"
    path.write_text(json.dumps({"prompt": "Is 3 odd?", "answer": "even"}) + "\n")
    assert not report([read_file("train", path, None)], {}, "prompt")
    assert "PROBLEM train: 1 wrong labels in line 1" in capsys.readouterr().out


def test_an_option_that_is_called_like_a_size_decides_rows():
    shifted = dataclasses.make_dataclass("Shifted", [("n_shift", int, 0)], bases=(GAMES["parity"],), eq=False)
    config = shifted(name="shifted")
    assert config.replace(n_shift=-1).digest("train") != config.digest("train")
    assert config.replace(n_eval=10).digest("train") == config.digest("train")


def test_a_game_without_columns_of_its_own_claims_no_other_rows():
    shared = {name: GAMES["parity"].features[name] for name in ("prompt", "answer", "move")}
    own = {"features": datasets.Features(shared), "recipes": classmethod(lambda cls: [])}
    register("bare")(type("Bare", (GAMES["parity"],), own))
    try:
        nim, modulo, parity = (load(recipe, "eval", n_eval=12) for recipe in ("purenums3", "mod3", "parity"))
        assert chance(nim) == 1 / 4
        assert chance(modulo) == pytest.approx(1 / 3)
        assert chance(parity) == chance(parity.select_columns(list(shared))) == 1 / 2
        mixed = datasets.concatenate_datasets([nim, modulo, parity, nim])
        assert chance(mixed) == pytest.approx((1 / 4 + 1 / 3 + 1 / 2 + 1 / 4) / 4)
    finally:
        del GAMES["bare"]


def test_a_recipe_takes_no_name_that_another_has():
    parity = GAMES["parity"]
    register("bare")(type("Bare", (parity,), {"recipes": classmethod(lambda cls: [parity(name="cheating")])}))
    try:
        with pytest.raises(
            UserError, match=r"^recipe: the name 'cheating' is taken already; give each recipe its own$"
        ):
            get_config("cheating")
    finally:
        del GAMES["bare"]
    assert get_config("cheating").n_train == 30_000
