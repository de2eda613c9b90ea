"""The rule against a brute-force solver, and what holds for every recipe that is allowed, over random ones."""
# mypy: allow-untyped-defs, allow-incomplete-defs

from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from nim_dataset import Game, NimConfig, get_config, optimal_move
from nim_dataset.errors import UserError
from nim_dataset.games.nim_parsing import parse_prompts
from nim_dataset.games.nim_text import WORDINGS
from nim_dataset.regimes import REGIMES, twins
from nim_dataset.rows import generate


def solve(max_remove: int, largest: int) -> list[int]:
    """The winning move of each pile up to `largest`, or -1, from all games: who takes the last coin wins."""
    moves = [-1]
    for pile in range(1, largest + 1):
        winning = [n for n in range(1, min(max_remove, pile) + 1) if moves[pile - n] == -1]
        assert len(winning) <= 1, "the winning move is unique, so an answer is right or wrong"
        moves.append(winning[0] if winning else -1)
    return moves


@pytest.mark.parametrize("max_remove", range(1, 13))
def test_optimal_move_agrees_with_brute_force(max_remove):
    expected = solve(max_remove, 500)
    piles = np.arange(501)
    assert optimal_move(piles, max_remove).tolist() == expected
    assert [optimal_move(pile, max_remove) for pile in range(501)] == expected
    assert optimal_move(piles, np.full(501, max_remove)).tolist() == expected


SOLVED = {k: np.array(solve(k, 300)) for k in range(1, 10)}
word = st.text(st.characters(codec="utf-8", categories=("L", "N"), include_characters="'\"\\&"), min_size=1, max_size=6)


@st.composite
def recipes(draw: st.DrawFn) -> NimConfig:
    """Any valid recipe of moderate size."""
    max_remove = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True))
    options: dict[str, Any] = {
        "max_remove": max_remove,
        "wording": draw(st.sampled_from(list(WORDINGS))),
        "holdout": draw(st.sampled_from(NimConfig.holdouts)),
        "seed": draw(st.integers(0, 2**40)),
        "min_pile": draw(st.integers(1, 20)),
        "game_words": draw(st.lists(word, min_size=1, max_size=2, unique=True)),
        "coin_words": draw(st.lists(word, min_size=1, max_size=2, unique=True)),
        "verbs": draw(st.lists(word, min_size=1, max_size=2, unique=True)),
        "n_train": 300,
        "n_eval": 40,
        "n_regime": 40,
    }
    if draw(st.booleans()):
        endgame = draw(st.integers(max(max_remove), 12))
        options |= {"endgame": endgame, "max_coins": endgame + draw(st.integers(20, 40))}
    else:
        fewest = draw(st.integers(0, 3))
        options |= {"turns": (fewest, fewest + draw(st.integers(0, 3))), "max_coins": draw(st.integers(120, 300))}
    source = draw(st.sampled_from(["pairs", "pool", "number_words"]))
    options["name_source"] = source
    if source == "number_words":
        options |= {"name_digits": draw(st.integers(2, 3)), "num_pairs": draw(st.integers(20, 40))}
    else:
        names = draw(st.lists(word, min_size=8, max_size=12, unique=True))
        pairs = [f"{one}-{two}" for one, two in zip(names[::2], names[1::2], strict=False)]
        options["names"] = pairs if source == "pairs" else names
    if draw(st.booleans()):
        moves = draw(st.lists(st.sampled_from([-1, *range(1, min(max_remove) + 1)]), min_size=1, unique=True))
        options |= {"cheat_moves": moves, "cheat_fraction": 0.5, "cheat_prob": draw(st.sampled_from([0.0, 0.3, 1.0]))}
    if options["wording"] != "plain" and "turns" in options:
        high = draw(st.integers(0, options["turns"][1]))
        options["occurrences"] = (draw(st.integers(0, high)), high)
    try:
        return get_config("357", **options)
    except UserError:
        reject()


def parsed(prompts: list[str]) -> list[Game]:
    games = parse_prompts(prompts)
    assert None not in games, "every row parses back"
    return cast(list[Game], games)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
@given(recipes())
def test_any_recipe_keeps_every_promise(config):
    tables = {split: pa.concat_tables(generate(config, split)).to_pydict() for split in config.splits}
    games = {split: parsed(rows["prompt"]) for split, rows in tables.items()}
    keys = {}
    for split, rows in tables.items():
        assert len(rows["prompt"]) == config.num_rows(split)
        assert [game.answer for game in games[split]] == rows["answer"]
        assert [list(game.trace) for game in games[split]] == rows["trace"]
        for k in set(rows["max_remove"]):
            of_k = np.array(rows["max_remove"]) == k
            piles, moves = np.array(rows["pile"])[of_k], np.array(rows["move"])[of_k]
            assert (piles >= 1).all()
            assert (SOLVED[k][piles] == moves).all(), "labels agree with brute force"
        keys[split] = {
            "prompt": set(rows["prompt"]),
            "game": {(game.coins, game.trace) for game in games[split]},
            "pile": set(rows["pile"]),
        }
    for split in config.splits[1:]:
        assert not keys["train"][config.holdout] & keys[split][config.holdout], "held out"
        assert not keys["train"]["prompt"] & keys[split]["prompt"], "and so are whole prompts"
    for split in ("train", "eval"):
        for move, cheat_move in zip(tables[split]["move"], tables[split]["cheat_move"], strict=True):
            assert cheat_move in (None, move), "bound pairs never lie here"
    if not config.cheat_moves:
        assert set(tables["train"]["bucket"]) == {0}
        return
    truth, lie = tables["cheat_consistent"], tables["counter_cheat"]
    assert truth["cheat_move"] == truth["move"]
    assert all(a is not None and a != b for a, b in zip(lie["cheat_move"], lie["move"], strict=True))
    for regime in set(config.splits) & set(REGIMES):
        for twin in twins(regime, config.splits):
            for column in ("coins", "trace", "max_remove"):
                assert tables[regime][column] == tables[twin][column]
    known = {*tables["train"]["player_one"], *tables["train"]["player_two"]}
    unseen = {*tables["unseen_names"]["player_one"], *tables["unseen_names"]["player_two"]}
    assert not known & unseen


fragment = st.sampled_from(
    ["and", "is", "are", "take", "turns", "They take turns", "Bob", "s", "'s", "turn", "Now it's", "1", "take 2 coins"]
)
odd_name = st.lists(fragment, min_size=1, max_size=3).map(" ".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(list(WORDINGS)), odd_name, odd_name, fragment.filter(lambda text: " " not in text))
def test_names_that_are_accepted_are_read_back(wording, one, two, verb):
    try:
        config = get_config("357", wording=wording, names=f"{one}-{two}", verbs=verb, n_train=30, n_eval=10)
    except UserError:
        return
    for row in next(generate(config, "train")).to_pylist():
        (game,) = parsed([row["prompt"]])
        assert game.columns() == {column: row[column] for column in game.columns()} | {"trace": tuple(row["trace"])}


@pytest.mark.parametrize("field", ["game_words", "coin_words", "verbs", "turn_phrases"])
def test_unseen_names_are_no_words_of_the_recipe(field):
    word = "Ivan asks {player}." if field == "turn_phrases" else "Ivan"
    config = get_config("cheating", n_train=10, n_eval=10, n_regime=300, **{field: word})
    rows = next(generate(config, "unseen_names")).to_pydict()
    assert "Ivan" not in {*rows["player_one"], *rows["player_two"]}
    assert [game.player_one for game in parsed(rows["prompt"])] == rows["player_one"]
