"""The second game: remainders, by every road that Nim's rows take, without names and regimes."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json

import fsspec
import pandas as pd
import pytest
from datasets import load_dataset

import nim_dataset
from nim_dataset import get_config, load, load_source
from nim_dataset.errors import UserError
from nim_dataset.games import chance

COLUMNS = ["prompt", "answer", "move", "operand", "modulus"]


@pytest.mark.parametrize("modulus", range(2, 10))
def test_rows_are_true_and_disjoint(modulus):
    rows = load(f"mod{modulus}")
    assert rows.num_rows == {"train": 8_754, "eval": 1_000}
    for split in rows.values():
        assert split.column_names == COLUMNS
        for row in split:
            assert row["prompt"] == f"What is {row['operand']} mod {modulus}?"
            assert row["answer"] == str(row["operand"] % modulus) == str(row["move"])
            assert row["modulus"] == modulus
        assert len(set(split["operand"])) == len(split), "each operand once"
    train, held_out = set(rows["train"]["operand"]), set(rows["eval"]["operand"])
    assert not train & held_out
    assert train | held_out <= set(range(10_001))
    assert chance(rows["eval"]) == pytest.approx(1 / modulus)


def test_eval_operands_are_in_no_train_of_any_recipe():
    held_out = set(load("mod3", "eval", n_eval=1_247)["operand"])
    assert len(held_out) == 1_247
    for overrides in ({}, {"seed": 5}, {"labels": "scrambled"}, {"max_operand": 20_000, "n_train": 16_000}):
        assert not held_out & set(load("mod7", "train", **overrides)["operand"])


def test_train_is_every_operand_that_is_not_held_out_and_then_repeats():
    rows = load("mod3", n_train=9_000, n_eval=1_247)
    assert {*rows["train"]["operand"], *rows["eval"]["operand"]} == set(range(10_001))
    assert rows["train"]["operand"][8_754:] == rows["train"]["operand"][:246]


def test_reversed_and_scrambled_labels():
    for row in load("mod5", "train", labels="reversed", n_train=500):
        assert row["answer"] == str(4 - row["operand"] % 5)
    scrambled, same, other = (
        dict(zip(rows["operand"], rows["answer"], strict=True))
        for rows in (
            load("mod3", "train", labels="scrambled"),
            load("mod3", "train", labels="scrambled", max_operand=11_000, n_train=9_700),
            load("mod3", "train", labels="scrambled", seed=1),
        )
    )
    right = sum(answer == str(operand % 3) for operand, answer in scrambled.items())
    assert abs(right / len(scrambled) - 1 / 3) < 0.02, "as often as by chance"
    assert scrambled.items() <= same.items(), "a label belongs to its operand"
    assert scrambled != other


def test_load_dataset_paths_and_pandas():
    rows = load("mod3", "eval").to_list()
    assert load_dataset("./nim_dataset", "mod3", split="eval").to_list() == rows
    assert load_source("mod3:eval", 10).to_list() == rows[:10]
    assert pd.read_parquet("nim://mod3/eval.parquet").to_dict("records") == rows
    shards = [f"nim://mod3/eval-{shard:05d}-of-00003.parquet" for shard in range(3)]
    assert pd.concat(map(pd.read_parquet, shards)).to_dict("records") == rows
    lines = fsspec.open("nim://mod3/eval.jsonl").open().read().splitlines()
    assert list(map(json.loads, lines)) == [{"prompt": row["prompt"], "answer": row["answer"]} for row in rows]
    manifest = json.loads(fsspec.open("nim://mod3/manifest.json").open().read())
    assert list(manifest) == ["recipe"], "no pairs of names"
    assert not {"names", "cheat_moves", "n_regime"} & set(manifest["recipe"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"names": "Alice-Bob"}, r"^mod3: unknown option 'names'; options: modulus, max_operand, labels, "),
        ({"cheat_prob": 1}, r"^mod3: unknown option 'cheat_prob'"),
        ({"labels": "revers"}, r"^labels: unknown value 'revers', did you mean 'reversed'\? Values: true, "),
        ({"modulus": 1}, r"^modulus: got 1, but 2 to 1000 is allowed$"),
        ({"max_operand": 0}, r"^max_operand: got 0, but 1 to 1000000 is allowed$"),
        ({"n_eval": 2000}, r"^n_eval: got 2000, but of the 10001 operands 1247 are held out: at most 1247 is allowed$"),
        ({"holdout": "pile"}, r"^holdout: unknown value 'pile'; values: operand$"),
    ],
)
def test_mistakes_are_one_line(overrides, message):
    with pytest.raises(UserError, match=message):
        load("mod3", **overrides)


def test_no_regimes():
    with pytest.raises(UserError, match=r"^mod3: unknown split 'neutral'; splits: train, eval$"):
        load("mod3", "neutral")


@pytest.mark.parametrize("labels", ["true", "reversed", "scrambled"])
def test_export_and_check(command, labels, tmp_path):
    recipe = f"mod3,labels={labels}"
    done = command("check", recipe)
    assert done.returncode == 0, done.stdout
    assert "names" not in done.stdout
    assert done.stdout.endswith("ok: all 9,754 labels are right, no operand of train is in another split\n")
    assert command("export", recipe, "--output", tmp_path).returncode == 0
    files = "--train", tmp_path / "train.jsonl", "--eval", tmp_path / "eval.jsonl"
    by_manifest = command("check", *files, "--manifest", tmp_path / "manifest.json")
    assert by_manifest.returncode == 0, by_manifest.stdout + by_manifest.stderr
    assert command("check", *files).returncode == (0 if labels == "true" else 1), "the prompt alone tells the residue"


def test_check_finds_wrong_labels(command, tmp_path):
    rows = load("mod3", "train", n_train=20).select_columns(["prompt", "answer"]).to_list()
    rows[6]["answer"] = str((int(rows[6]["answer"]) + 1) % 3)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("check", "--train", path)
    assert done.returncode == 1
    assert "PROBLEM train: 1 wrong labels in line 7\n" in done.stdout


def test_show_and_list(command):
    shown = command("show", "mod3", "--rows", "1").stdout
    assert "[operand 4015, modulus 3]" in shown
    assert [line.split()[0] for line in command("list").stdout.splitlines()[-8:]] == [f"mod{m}" for m in range(2, 10)]


def test_jsonl_gets_its_columns_back(tmp_path):
    rows = load("mod3", "eval", n_eval=10)
    path = tmp_path / "rows.jsonl"
    rows.select_columns(["prompt", "answer"]).to_json(path)
    assert load_source(str(path)).to_list() == rows.to_list()
    nim = load("cheating", "eval", n_train=0, n_eval=5)
    nim.select_columns(["prompt", "answer"]).to_json(tmp_path / "nim.jsonl")
    path.write_bytes(path.read_bytes() + (tmp_path / "nim.jsonl").read_bytes() + b'{"prompt": "?", "answer": "!"}\n')
    mixed = load_source(str(path))
    assert set(mixed.column_names) == {*nim.column_names, *COLUMNS}
    assert mixed["operand"] == [*rows["operand"], *[None] * 6]
    assert mixed["coins"] == [*[None] * 10, *nim["coins"], None]
    assert mixed["move"] == [*rows["move"], *nim["move"], None]


@pytest.mark.parametrize("prompt", ["What is 07 mod 3?", "What is 7 mod 0?", "What is 7 mod 3? ", "What is -7 mod 3?"])
def test_what_is_no_question(prompt):
    assert nim_dataset.games.parse_prompts([prompt])[0] == [None]


def test_chance_is_decided_by_the_columns():
    nim = load("357", "eval", n_eval=300)
    assert chance(nim) == pytest.approx((1 / 4 + 1 / 6 + 1 / 8) / 3)
    assert chance(nim.select(range(0, 300, 3))) == pytest.approx(1 / 4)
    assert chance(nim.select_columns(["prompt", "answer"])) is None
    assert get_config("mod2").holdout == "operand"
