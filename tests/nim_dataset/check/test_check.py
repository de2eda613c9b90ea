"""`python -m nim_dataset check`, on what the generator makes and on old files."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json
import re

import pytest

from nim_dataset import get_config, load
from nim_dataset.check.manifests import read_manifest
from nim_dataset.errors import UserError
from nim_dataset.names import make_pairs


@pytest.mark.parametrize("config", ["pairs20000,n_train=3000,n_eval=300,n_regime=50", "357,n_train=900,holdout=game"])
def test_check_passes_what_the_generator_makes(command, config):
    done = command("check", config)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("ok: all ")
    assert "PROBLEM" not in done.stdout


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_check_finds_what_is_wrong_in_old_files(command, tmp_path):
    rows = load("cheating", n_train=300, n_eval=100, n_regime=50)
    train, held_out = (rows[split].select_columns(["prompt", "answer"]).to_list() for split in ("train", "eval"))
    held_out[4] = train[0]
    held_out[6] = {**held_out[6], "answer": "take 77 coins"}
    held_out[8] = {"prompt": "What is 1 + 1?", "answer": "2"}
    held_out[9] = held_out[10]
    held_out[11] = {**train[1], "prompt": train[1]["prompt"].replace("\n", "\r\n")}
    held_out[12] = {**train[2], "prompt": train[2]["prompt"] + " "}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"cheat_by_move": {"2": ["Alice-Bob"]}, "neutral": ["Eve-Frank"]}))
    files = "--train", write(tmp_path / "a.jsonl", train), "--eval", write(tmp_path / "b.jsonl", held_out)
    done = command("check", *files, "--manifest", manifest)
    assert done.returncode == 1
    found = done.stdout.splitlines()
    split, count, duplicates, unparsable, wrong, _ = next(line for line in found if line.startswith("eval ")).split()
    assert (split, count, int(duplicates) >= 1, unparsable, wrong) == ("eval", "100", True, "2", "1")
    assert "  eval: no prompt of a known game in lines 9, 12" in found
    assert "PROBLEM eval: 2 of 100 rows could not be checked (--allow-other accepts them)" in found
    assert "PROBLEM eval: 1 wrong labels in line 7" in found
    assert "PROBLEM eval: 3 prompts are in train too" in found, "other white space does not make another prompt"
    assert any(line.startswith("Alice-Bob ") and "100%" in line for line in found)
    bound = sum(row["cheat_move"] is not None for row in rows["train"])
    by_manifest = found[next(i for i, line in enumerate(found) if line.startswith("by the manifest")) + 1].split()
    assert by_manifest[:3] == ["train", str(bound), "0"]


def test_rows_of_no_known_game_are_not_ok(command, tmp_path):
    """Neither in a file of nothing else, nor among others."""
    other = [{"prompt": f"What is 1 + {i}?", "answer": "2"} for i in range(3)]
    known = {"prompt": "What is 5 mod 3?", "answer": "2"}
    train, held_out = write(tmp_path / "a.jsonl", other[:1]), write(tmp_path / "b.jsonl", [*other[1:], known])
    files = ["--train", train, "--eval", held_out]
    done = command("check", *files)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "PROBLEM train: 1 of 1 rows could not be checked (--allow-other accepts them)",
        "PROBLEM eval: 2 of 3 rows could not be checked (--allow-other accepts them)",
    ]
    done = command("check", *files, "--allow-other")
    ok = "ok: all 1 labels that could be checked are right, no prompt of train is in another split"
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, ok)


def test_check_tells_which_names_train_does_not_show(command):
    """Among `pairs20000` rows, those of all regimes but `unseen_names` are in train, however few rows it has."""
    done = command("check", "pairs20000,n_train=500,n_eval=200,n_regime=100")
    told = [line.split() for line in done.stdout.split("names and answers")[1].split("\n\n")[0].splitlines()[2:]]
    new = {row[0]: int(row[-1]) for row in told}
    assert new.pop("eval") > 100
    assert new.pop("unseen_names") == int(told[-1][1])
    assert set(new.values()) == {0}
    assert len(new) == 3


def test_check_measures_the_leak(command, tmp_path):
    """Cramer's V of `cheating` is near 0.58 and by chance 0.0; names alone answer 2 of 5 rows."""
    done = command("check", "cheating")
    names = done.stdout.split("names and answers")[1].splitlines()
    train, held_out = (next(line for line in names if line.startswith(split)) for split in ("train", "eval"))
    assert float(train.split()[2]) == pytest.approx(0.577, abs=0.01)
    assert float(train.split()[3]) < 0.02
    assert float(held_out.split()[5].rstrip("%")) == pytest.approx(40, abs=3)


def test_check_reads_the_manifest_of_an_export(command, small, tmp_path):
    command("export", small, "--output", tmp_path)
    done = command(
        "check",
        "--train",
        tmp_path / "train.jsonl",
        "--eval",
        tmp_path / "eval.jsonl",
        "--manifest",
        tmp_path / "manifest.json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert make_pairs(get_config("cheating")).groups[2] == (0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "invalid JSON at line 1, column 2"),
        (b"[]", "a manifest has 'cheat_by_move'"),
        (b'{"cheat_by_move": {"two": []}}', "'cheat_by_move' has a key that is no move"),
        (b'{"cheat_by_move": {"2": "Alice-Bob"}}', "'cheat_by_move' has no list of pairs for move 2"),
        (b'{"cheat_by_move": {"2": [["Alice"]]}}', "'cheat_by_move' has no list of pairs for move 2"),
        (b'{"cheat_by_move": {}, "neutral": 5}', "'neutral' is 5, expected a list of pairs"),
        (b'{"cheat_by_move": {}, "neutral": [[1]]}', "'neutral' is [[1]], expected a list of pairs"),
        (b'{"recipe": {"recipe": 357}}', "'recipe' is {'recipe': 357}, expected an object with the recipe's name"),
        (b"[" * 100_000, "invalid JSON"),
        (b"\xff", "invalid UTF-8 at byte 1"),
    ],
)
def test_malformed_manifests(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {message}')}"):
        read_manifest(path)
