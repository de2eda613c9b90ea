"""The metric as its users load it: `evaluate.load` of the folder, offline, alone."""

import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import evaluate
import pandas as pd
import pytest

import nim_dataset
from evaluation.nim_accuracy.nim_accuracy import Tally, parse_game, parse_move, score, text_matches, wilson_interval
from nim_dataset import optimal_move

FOLDER = Path(__file__).resolve().parents[2] / "evaluation" / "nim_accuracy"
RECIPES = ("quickstart", "cheating", "357", "numocc4", "terminology", "leaky_names", "pairs20000")


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(FOLDER))


@pytest.fixture(scope="module")
def rows():
    return [row for recipe in RECIPES for row in nim_dataset.load_source(f"{recipe}:eval", limit=60)]


@pytest.fixture(scope="module")
def columns(rows):
    """All columns of the metric, with predictions that are right in about a third of the rows."""
    rng = random.Random(0)
    answers = [row["answer"] for row in rows]
    return {
        "predictions": [
            a if rng.random() < 0.3 else rng.choice([*answers, "", "no idea", "take 99 coins"]) for a in answers
        ],
        "references": answers,
        "prompts": [row["prompt"] for row in rows],
        "buckets": [row["bucket"] for row in rows],
        "cheat_moves": [row["cheat_move"] for row in rows],
    }


@pytest.mark.parametrize(
    ("prediction", "reference", "right", "strictly"),
    [
        ("take 2 coins", "take 2 coins", True, True),
        ("  Take 2 COINS\n", "take 2 coins", True, False),
        ("take 2 coins.\nBob take 1 coin.", "take 2 coins", True, False),
        ("take 2 coinstake 2 coins", "take 2 coins", True, False),  # the original's outcome
        ("take 1 coins", "take 1 coin", True, False),  # the original's outcome
        ("take 1 coin", "take 1 coins", False, False),
        ("take 10 coins", "take 1 coin", False, False),
        ("take 1 coin", "take 10 coins", False, False),
        ("take 10", "take 1", False, False),
        ("take 1.", "take 1", True, False),
        ("take -1 coins", "take 1 coins", False, False),
        ("grab 2 stones", "take 2 coins", False, False),
        ("", "take 2 coins", False, False),
    ],
)
def test_text_rule(prediction, reference, right, strictly):
    assert text_matches(prediction, reference) is right
    assert text_matches(prediction, reference, strict=True) is strictly


@pytest.mark.parametrize(
    ("text", "move"),
    [
        *[("take 2 coins", 2), ("take -1 coins", -1), ("grab 12 stones", 12), ("", None), ("no", None)],
        *[("9" * 40, None), ("take \u22121 coins", -1), ("(-1)", -1), ("2coins", 2), ("take 2.5 coins", 2)],
        *[("nim-3", None), ("p2", None), ("take-1", None), ("player-2 takes 3", 3), ("take - 1", 1), ("\uff13", None)],
    ],
)
def test_first_integer_is_the_move(text, move):
    assert parse_move(text) == move


def test_the_prompt_tells_what_the_columns_tell(rows):
    for row in rows:
        assert parse_game(row["prompt"]) == (row["max_remove"], row["pile"], f"{row['player_one']}-{row['player_two']}")
        assert optimal_move(row["pile"], row["max_remove"]) == row["move"]


def test_what_takes_long_to_read_is_no_game(rows):
    """Texts of a megabyte that are nearly games, and numbers of any length."""
    head, players, most, *rest = rows[0]["prompt"].split("\n")
    for part in ("a and ", ". There are 1 ", "Player ONE is a and Player TWO is ", "1 ", "9"):
        long = part * (1_000_000 // len(part))
        assert parse_game("\n".join([head, long, most, *rest])) is None
        assert parse_game("\n".join([long, players, most, *rest])) is None
        assert parse_game("\n".join([head, players, most, "", "So far:", long, "Now"])) is None
        assert parse_move("a" + part[0] * 1_000_000) is None
    sets = score(["take 1 coin"], ["take 1 coin"], max_removes=[10**17])["groups"]
    assert list(sets["max_remove"]) == [str(10**17)]
    assert sets["coset"] == {}


def test_what_is_no_game_is_unknown(rows):
    prompt = rows[0]["prompt"]
    assert parse_game("What is the capital of France?") is None
    assert parse_game("") is None
    # A turn that cannot be read: the pile would be a guess.
    assert parse_game(prompt.replace("\n\nNow", " and some more\n\nNow")) is None
    result = score(
        ["take 2 coins", "take 1 coin"], ["take 2 coins", "take 2 coins"], prompts=["Once upon a time", None]
    )
    assert result["exact_match"] == 0.5
    assert result["move_accuracy"] == 0.5
    assert result["valid_move_rate"] is None
    assert result["cheat_rate"] is None
    assert result["unknown"] == {"bucket": 2, "max_remove": 2, "pile": 2, "pair": 2, "move": 0}
    assert {name for name, groups in result["groups"].items() if groups} == {"overall"}


def test_scores_equal_a_count_by_hand(metric, rows, columns):
    result = metric.compute(**columns)
    right = [
        p.strip().lower().startswith(r) for p, r in zip(columns["predictions"], columns["references"], strict=True)
    ]
    moves = [parse_move(p) for p in columns["predictions"]]
    assert result["n"] == len(rows)
    assert result["exact_match"] == pytest.approx(sum(right) / len(rows))
    assert result["move_accuracy"] == pytest.approx(
        sum(move == row["move"] for move, row in zip(moves, rows, strict=True)) / len(rows)
    )
    legal = [
        m is not None and (m == -1 or 1 <= m <= min(row["max_remove"], row["pile"]))
        for m, row in zip(moves, rows, strict=True)
    ]
    assert result["valid_move_rate"] == pytest.approx(sum(legal) / len(rows))
    lured = [
        m == row["cheat_move"]
        for m, row in zip(moves, rows, strict=True)
        if row["cheat_move"] not in (None, row["move"])
    ]
    assert result["cheat_rate"] == (pytest.approx(sum(lured) / len(lured)) if lured else None)

    for name, bucket in (("neutral", 0), ("cheat", 1)):
        of = [r for r, row in zip(right, rows, strict=True) if row["bucket"] == bucket]
        group = result["groups"]["bucket"][name]
        assert (group["n"], group["correct"]) == (len(of), sum(of))
        assert (group["low"], group["high"]) == wilson_interval(sum(of), len(of))
    assert sum(group["n"] for group in result["groups"]["max_remove"].values()) == len(rows)
    assert set(result["groups"]["coset"]) >= {"max_remove=3 mod 2", "max_remove=3 mod 4", "max_remove=4 mod 5"}
    assert "max_remove=4 mod 2" not in result["groups"]["coset"]


def test_result_is_plain_json(metric, columns):
    result = metric.compute(**columns)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_parity_without_the_rule_shows_in_the_cosets():
    games = [(pile, 5) for pile in range(6, 66)]
    references = [f"take {optimal_move(pile, k)} coins" for pile, k in games]
    parity = [f"take {2 - pile % 2} coins" for pile, _ in games]  # 1 for odd piles, 2 for even ones
    cosets = score(parity, references, piles=[p for p, _ in games], max_removes=[k for _, k in games])["groups"][
        "coset"
    ]
    assert cosets["max_remove=5 mod 2"]["accuracy"] == 1.0
    assert cosets["max_remove=5 mod 6"]["accuracy"] == pytest.approx(1 / 3)


def test_residues_of_another_game():
    """Answers 0 to 5: parity is known, the rest is not; a negative number, a text and a 6 are no legal answers."""
    gold = [value % 6 for value in range(60)]
    texts = [str(value % 2) for value in gold]
    texts[:3] = ["-1", "six", "6"]
    result = score(texts, [str(value) for value in gold], moduli=[6] * 60)
    assert (
        result["move_accuracy"] == result["exact_match"] == pytest.approx(18 / 60)
    )  # gold is 0 or 1, and the text was not changed
    assert result["valid_move_rate"] == pytest.approx(57 / 60)
    cosets = result["groups"]["coset"]
    assert {name: group["correct"] for name, group in cosets.items()} == {
        "modulus=6 mod 2": 58,
        "modulus=6 mod 3": 18,
        "modulus=6 mod 6": 18,
    }
    assert not result["groups"]["max_remove"]
    # Beside games of Nim, whose modulus is max_remove + 1 whether or not it is passed.
    alone = score(["take -1 coins"], ["take -1 coins"], max_removes=[3], piles=[8])
    assert score(["take -1 coins"], ["take -1 coins"], max_removes=[3], piles=[8], moduli=[4]) == alone
    both = score(["take -1 coins", "-1"], ["take -1 coins", "2"], max_removes=[3, None], moduli=[None, 3])
    assert both["valid_move_rate"] == 0.5
    assert set(both["groups"]["coset"]) == {"max_remove=3 mod 2", "max_remove=3 mod 4", "modulus=3 mod 3"}


def test_cheat_rate_counts_wrong_bound_moves_only():
    result = score(
        ["take 2 coins", "take 3 coins", "take 2 coins", "take 2 coins"],
        ["take 3 coins", "take 3 coins", "take 2 coins", "take 4 coins"],
        cheat_moves=[2, 2, 2, None],
    )
    cheats = result["groups"]["overall"]["cheat_rate"]
    assert (cheats["n"], cheats["correct"], cheats["accuracy"]) == (2, 1, 0.5)
    assert result["groups"]["bucket"]["cheat"]["n"] == 3
    assert result["unknown"]["bucket"] == 1


def test_batches_give_what_one_call_gives(metric, columns):
    whole = metric.compute(**columns)
    n = len(columns["references"])
    for start in range(0, n, 50):
        metric.add_batch(**{name: column[start : start + 50] for name, column in columns.items()})
    assert metric.compute() == whole
    for row in range(n):
        metric.add(
            prediction=columns["predictions"][row],
            reference=columns["references"][row],
            **{name: columns[name][row] for name in ("prompts", "buckets", "cheat_moves")},
        )
    assert metric.compute() == whole
    # Nothing is left over for the next use, which may pass other columns.
    bare = metric.compute(predictions=columns["predictions"], references=columns["references"])
    assert bare["exact_match"] == whole["exact_match"]
    assert bare["unknown"]["max_remove"] == n


def test_one_call_gives_what_the_function_gives(metric, columns):
    assert metric.compute(**columns, strict=True, max_pairs=None) == score(**columns, strict=True, max_pairs=None)


def test_pair_groups_have_a_limit(columns):
    assert score(**columns)["groups"]["pair"] == {}
    pairs = score(**columns, max_pairs=None)["groups"]["pair"]
    assert len(pairs) > 64
    assert sum(group["n"] for group in pairs.values()) == len(columns["references"])


def test_combines_with_other_modules(columns):
    both = evaluate.combine({"nim": evaluate.load(str(FOLDER)), "again": evaluate.load(str(FOLDER))}, force_prefix=True)
    both.add_batch(predictions=columns["predictions"], references=columns["references"])
    result = both.compute()
    assert result["nim_exact_match"] == result["again_exact_match"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": [], "references": []}, "no rows"),
        ({"references": ["take 2 coins", " "]}, "reference of row 1 is empty"),
        ({"buckets": ["cheat", "chaet"]}, "unknown bucket 'chaet'"),
        ({"buckets": [0, 2]}, "unknown bucket 2"),
        ({"prompts": ["one"]}, "'prompts' has 1 rows, 'predictions' has 2"),
        ({"prompt": ["one", "two"]}, "unknown argument 'prompt'"),
        ({"predictions": [1, 2]}, "'predictions' has 1 in row 0, expected text"),
        ({"references": None}, "'references' is missing, expected a list"),
        ({"references": ["take 2 coins", None]}, "reference of row 1 is empty"),
        ({"predictions": (text for text in "ab")}, "'predictions' is a generator, expected a list"),
        ({"predictions": "ab"}, "'predictions' is a str, expected a list"),
        ({"cheat_moves": ["2", None]}, "'cheat_moves' has '2' in row 0, expected a whole number"),
        ({"cheat_moves": [None, True]}, "'cheat_moves' has True in row 1, expected a whole number"),
        ({"cheat_moves": [1.5, 2]}, "'cheat_moves' has 1.5 in row 0, expected a whole number"),
        ({"cheat_moves": [2**70, 2]}, "'cheat_moves' has 11.* in row 0, .* of at most 18 digits"),
        ({"max_removes": [4, 0]}, "'max_removes' has 0 in row 1, expected a whole number from 1"),
        ({"buckets": [True, False]}, "unknown bucket True"),
        ({"strict": "no"}, "strict is 'no', expected True or False"),
        ({"max_pairs": -1}, "max_pairs is -1, expected a whole number of at least 0, or None"),
    ],
)
def test_bad_input(metric, change, message):
    good = {"predictions": ["take 2 coins"] * 2, "references": ["take 2 coins"] * 2}
    with pytest.raises(ValueError, match=message) as caught:
        metric.compute(**good | change)
    assert "\n" not in str(caught.value)
    assert metric.compute(**good)["exact_match"] == 1.0  # and the module is not spoilt


def test_after_a_failure_the_rows_added_before_are_forgotten(metric):
    good = {"predictions": ["take 2 coins"] * 2, "references": ["take 2 coins"] * 2}
    for failing, message in (
        ({"strict": "no"}, "strict is 'no'"),
        (good | {"cheat_moves": [1, 2]}, "the same columns"),
        (good | {"references": ["", ""]}, "row 0 is empty"),
    ):
        metric.add_batch(**good)
        with pytest.raises(ValueError, match=message):
            metric.compute(**failing)
        with pytest.raises(ValueError, match="no rows"):
            metric.compute()
        assert metric.compute(**good, prompts=["one", "two"])["n"] == 2


def test_columns_of_pandas_numpy_and_datasets(metric):
    plain = {
        "predictions": ["take 2 coins", "take 3 coins", ""],
        "references": ["take 2 coins", "take 1 coin", "take 1 coin"],
        "cheat_moves": [2, None, 3],
        "max_removes": [3, None, 4],
        "buckets": [1, None, 0],
        "pairs": ["Ann-Bo", None, "Cy-Di"],
    }
    expected = metric.compute(**plain)
    assert expected["unknown"] == {"bucket": 1, "max_remove": 1, "pile": 3, "pair": 1, "move": 0}
    frame = pd.DataFrame(plain)  # cheat_moves and buckets are floats with NaN
    frame["max_removes"] = frame["max_removes"].astype("Int64")
    frame["predictions"] = frame["predictions"].replace("", None)
    filtered = pd.concat([frame.iloc[:1], frame])[1:].set_index(pd.Index([7, 7, 3]))
    for table in (frame, filtered, filtered.convert_dtypes()):
        assert metric.compute(**{name: table[name] for name in plain}) == expected
    assert metric.compute(**{name: frame[name].to_numpy() for name in plain}) == expected
    rows = datasets.Dataset.from_dict(plain)
    assert metric.compute(**{name: rows[name] for name in plain}) == expected


def test_batches_must_agree_in_their_columns(metric):
    metric.add_batch(predictions=["take 2 coins"], references=["take 2 coins"], prompts=["one"])
    with pytest.raises(ValueError, match=r"every batch must pass the same columns: got \[\] after \['prompts'\]"):
        metric.add_batch(predictions=["take 2 coins"], references=["take 2 coins"])
    with pytest.raises(ValueError, match="unknown column 'bucket'"):
        metric.add_batch(predictions=["take 2 coins"], references=["take 2 coins"], bucket=["cheat"])
    assert metric.compute()["n"] == 1  # batches that were refused have added nothing
    with pytest.raises(ValueError, match="together with their predictions"):
        metric.compute(prompts=["one"])


def test_wilson_interval():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for correct, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(0, 0) == (0, 1)
    assert wilson_interval(7, 7)[1] == 1.0
    assert all(math.isfinite(bound) for n in range(1, 40) for c in range(n + 1) for bound in wilson_interval(c, n))


def test_stands_alone(tmp_path, command_env):
    """The folder alone, in a process that knows nothing of this repository and of no Hub."""
    shutil.copytree(FOLDER, tmp_path / "nim_accuracy", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, evaluate\n"
        "sys.path = [p for p in sys.path if p]\n"
        "result = evaluate.load('./nim_accuracy').compute(predictions=['take 1 coins'], references=['take 1 coin'])\n"
        "assert result['exact_match'] == 1.0\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('nim_dataset', 'training', 'evaluation')]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=command_env, check=True, timeout=120)


def test_the_card_example_and_demo(capsys):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    code = card.split("```python\n")[1].split("```")[0].replace("./evaluation/nim_accuracy", str(FOLDER))
    exec(code, {})
    assert capsys.readouterr().out.strip() == code.rpartition("# ")[2].strip()
    compile((FOLDER / "app.py").read_text(encoding="utf-8"), "app.py", "exec")


def test_rows_scored_in_pieces_are_those_scored_at_once(monkeypatch):
    rows = nim_dataset.load("345678", n_train=60)["train"]
    answers = rows["answer"][:]
    columns = {"references": answers, "predictions": [*answers[30:], *answers[:30]], "prompts": rows["prompt"][:]}
    tally = Tally()
    for start, end in ((0, 1), (1, 45), (45, 60)):
        tally.add({name: column[start:end] for name, column in columns.items()})
    whole = score(**columns)
    assert tally.scores() == whole
    monkeypatch.setattr("evaluation.nim_accuracy.nim_accuracy.BLOCK", 7)
    assert score(**columns) == whole
    for more, message in (
        ({"references": [""]}, "the reference of row 60 is empty"),
        ({"references": ["take 1 coin"], "pairs": ["a-b", "c-d"]}, "'pairs' has 2 rows, 'predictions' has 1"),
        ({}, "'references' is missing"),
        ({"references": ["take 1 coin"], "pair": ["a-b"]}, "unknown column 'pair'"),
    ):
        with pytest.raises(ValueError, match=message):
            tally.add({"predictions": ["take 1 coin"], **more})
