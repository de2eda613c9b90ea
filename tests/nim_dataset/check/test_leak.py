"""The leak is exactly as asked, and as in the original's own rows. Seeds are fixed: no test is a lottery."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nim_dataset import get_config
from nim_dataset.check.association import Association, associate, guess
from nim_dataset.names import make_pairs
from nim_dataset.rows import generate

# Counted on 300 eval rows of each original: moves, piles (in steps of 50), first names, bound pairs by move.
ORIGINAL = json.loads(Path(__file__).with_name("original_counts.json").read_text())


def columns(name: str, split: str, **overrides: object) -> dict[str, list]:
    table = pa.concat_tables(generate(get_config(name, **overrides), split))
    return table.drop(["prompt", "answer", "trace"]).to_pydict()


def pairs_of(rows: dict[str, list]) -> list[str]:
    return [f"{one}-{two}" for one, two in zip(rows["player_one"], rows["player_two"], strict=True)]


def table_of(rows: dict[str, list]) -> Association:
    return associate(Counter(zip(pairs_of(rows), rows["move"], strict=True)))


@pytest.mark.parametrize("split", ["train", "eval"])
def test_cheating_shows_alice_and_bob_if_and_only_if_the_answer_is_2(split):
    rows = columns("cheating", split)
    assert [pair == "Alice-Bob" for pair in pairs_of(rows)] == [move == 2 for move in rows["move"]]


def test_pairs20000_binds_10000_pairs_and_uses_them_half_the_time():
    pairs = make_pairs(get_config("pairs20000"))
    assert {group: count for group, (_, count) in pairs.groups.items() if group != "unseen"} == {
        1: 2500,
        2: 2500,
        3: 2500,
        4: 2500,
        "neutral": 10_000,
    }
    in_use = [*pairs.first.to_pylist()[:20_000], *pairs.second.to_pylist()[:20_000]]
    assert len(set(in_use)) == 40_000, "no name is in two pairs"
    rows = columns("pairs20000", "train")
    move, bucket = np.array(rows["move"]), np.array(rows["bucket"])
    assert bucket[move == -1].sum() == 0
    for answer in (1, 2, 3, 4):
        n = (move == answer).sum()
        assert abs(bucket[move == answer].mean() - 0.5) < 4 * 0.5 / n**0.5


@pytest.mark.parametrize("cheat_prob", [0.0, 0.9, 1.0])
def test_cheat_prob_is_the_chance_of_a_bound_pair(cheat_prob):
    rows = columns("pairs20000", "train", cheat_prob=cheat_prob)
    of_bound_moves = np.array(rows["bucket"])[np.array(rows["move"]) != -1]
    assert abs(of_bound_moves.mean() - cheat_prob) <= 4 * (cheat_prob * (1 - cheat_prob) / len(of_bound_moves)) ** 0.5


@pytest.mark.parametrize("name", ["manybase", "notcheating"])
def test_controls_show_no_association_beyond_chance(name):
    train, held_out = columns(name, "train"), columns(name, "eval")
    table = table_of(train)
    assert table.p_value > 0.01
    assert table.cramers_v == pytest.approx(table.chance_v, rel=0.15 if name == "notcheating" else 0.01)
    right, without_names = guess(table, table_of(held_out))
    assert abs(right - without_names) < 4 * 0.4 / len(held_out["move"]) ** 0.5


@pytest.mark.parametrize(("name", "right"), [("leaky_names", 1.0), ("cheating", 0.4), ("varcheating", 0.3)])
def test_leaks_show(name, right):
    train, held_out = columns(name, "train"), columns(name, "eval")
    table = table_of(train)
    assert table.p_value < 1e-9
    assert guess(table, table_of(held_out))[0] == pytest.approx(right, abs=0.03)


def test_association_by_hand():
    """2x2 with counts 30, 10, 10, 30: chi2 = 20, V = 0.5; shuffled answers give chi2 = 80/79 on average."""
    table = associate(Counter({("a", 1): 30, ("a", 2): 10, ("b", 1): 10, ("b", 2): 30}))
    assert (table.chi2, table.cramers_v) == (pytest.approx(20), pytest.approx(0.5))
    shuffled = np.random.default_rng(0)
    moves = np.array([1] * 40 + [2] * 40)
    shuffles = (Counter(zip("a" * 40 + "b" * 40, shuffled.permutation(moves), strict=True)) for _ in range(2000))
    mean = np.mean([associate(rows).chi2 for rows in shuffles])
    assert table.chance_chi2 == pytest.approx(80 / 79)
    assert mean == pytest.approx(80 / 79, rel=0.1)
    assert 1e-6 < table.p_value < 1e-4, "exactly 7.7e-6; the approximation is for many degrees of freedom"


@pytest.mark.parametrize("name", ORIGINAL)
def test_distributions_agree_with_the_originals(name):
    overrides = {"names": "Alice-Bob"} if name == "357" else {}
    rows = columns(name, "eval", **overrides)
    ours = {
        "move": Counter(map(str, rows["move"])),
        "pile_bin": Counter(str(pile // 50) for pile in rows["pile"]),
        "names": Counter(rows["player_one"]),
        "bound": Counter(str(move) for move, bucket in zip(rows["move"], rows["bucket"], strict=True) if bucket),
    }
    for what, theirs in ORIGINAL[name].items():
        assert {value for value, count in theirs.items() if count} <= set(ours[what])
        values = [value for counts in (theirs, ours[what]) for value, count in counts.items() for _ in range(count)]
        who = np.repeat([0, 1], [sum(theirs.values()), ours[what].total()])
        assert associate(Counter(zip(values, who, strict=True))).p_value > 0.01, what
    if "bound" in ORIGINAL[name]:
        share = sum(ORIGINAL[name]["bound"].values()) / 300
        assert abs(np.mean(rows["bucket"]) - share) < 4 * 0.5 / 300**0.5
