"""Every recipe: what the dataset card says of it, checked on its rows."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import itertools
from collections import Counter
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from nim_dataset import Game, NimConfig, get_config, optimal_move, recipe_names
from nim_dataset.games.nim_parsing import parse_prompts
from nim_dataset.names import make_pairs
from nim_dataset.regimes import REGIMES, twin_of, twins
from nim_dataset.rows import generate

LEO = {"Leo-Sultan"}
FOUR = {"Alice-Bob", "Charles-Daniel", "Eve-Frank", "Grace-Heidi"}
# recipe: max_remove, turns, largest start, train, eval, cheat_moves
TABLE: dict[str, tuple[Any, ...]] = {
    "357": ((3, 5, 7), (2, 4), 400, 45_000, 6_000, ()),
    "234": ((2, 3, 4), (2, 4), 400, 45_000, 6_000, ()),
    "468": ((4, 6, 8), (2, 4), 400, 45_000, 6_000, ()),
    "34567": ((3, 4, 5, 6, 7), (2, 4), 400, 75_000, 10_000, ()),
    "345678": ((3, 4, 5, 6, 7, 8), (2, 4), 400, 90_000, 12_000, ()),
    "8910": ((8, 9, 10), (2, 4), 400, 45_000, 6_000, ()),
    **{f"purenums{k}": ((k,), (2, 4), 400, 15_000, 2_000, ()) for k in range(3, 9)},
    "leaky_names": ((3,), (2, 6), 100, 30_000, 5_000, (-1, 1, 2, 3)),
    "cheating": ((4,), (4, 4), 400, 30_000, 5_000, (2,)),
    "notcheating": ((4,), (4, 4), 400, 30_000, 5_000, ()),
    "varcheating": ((4,), (4, 4), 400, 30_000, 5_000, (2,)),
    "numocc4": ((4,), (4, 4), 400, 30_000, 5_000, (2,)),
    "manybase": ((4,), (4, 4), 400, 60_000, 5_000, ()),
    "pairs10000": ((4,), (4, 4), 400, 60_000, 5_000, (-1, 1, 2, 3, 4)),
    "pairs20000": ((4,), (4, 4), 400, 60_000, 5_000, (1, 2, 3, 4)),
    "pairs30000": ((4,), (4, 4), 400, 60_000, 5_000, (-1, 1, 2, 3, 4)),
}


def rows_of(name: str, split: str, stop: int | None = None, **overrides: object) -> dict[str, list]:
    return pa.concat_tables(generate(get_config(name, **overrides), split, 0, stop)).to_pydict()


def parsed(prompts: list[str]) -> list[Game]:
    games = parse_prompts(prompts)
    assert None not in games, "every row parses back"
    return cast(list[Game], games)


NIM = [name for name in recipe_names() if isinstance(get_config(name), NimConfig)]


@pytest.mark.parametrize("name", NIM)
def test_rows_tell_the_truth(name):
    config = get_config(name)
    pairs = make_pairs(config)
    names = zip(pairs.first.to_pylist(), pairs.second.to_pylist(), strict=True)
    bound = dict(zip(names, pairs.bound_move.tolist(), strict=True))
    for split in config.splits:
        rows = rows_of(name, split, 500)
        games = parsed(rows["prompt"])
        assert [game.answer for game in games] == rows["answer"]
        assert [game.coins for game in games] == rows["coins"]
        assert [game.max_remove for game in games] == rows["max_remove"]
        assert [list(game.trace) for game in games] == rows["trace"]
        assert [game.pile for game in games] == rows["pile"]
        assert [(game.player_one, game.player_two) for game in games] == list(
            zip(rows["player_one"], rows["player_two"], strict=True)
        )
        assert optimal_move(np.array(rows["pile"]), np.array(rows["max_remove"])).tolist() == rows["move"]
        for game, bucket, cheat_move in zip(games, rows["bucket"], rows["cheat_move"], strict=True):
            move = bound[game.player_one, game.player_two]
            assert (bucket, cheat_move) == ((1, move) if move else (0, None))


@pytest.mark.parametrize("name", TABLE)
def test_recipes_are_as_the_card_says(name):
    max_remove, turns, largest, n_train, n_eval, cheat_moves = TABLE[name]
    config = get_config(name)
    assert (config.max_remove, config.n_train, config.n_eval, config.cheat_moves) == (
        max_remove,
        n_train,
        n_eval,
        cheat_moves,
    )
    rows = rows_of(name, "train", 6000)
    assert set(rows["max_remove"]) == set(max_remove)
    counts = np.bincount(rows["max_remove"])[list(max_remove)]
    assert counts.max() - counts.min() <= 1
    lengths = {len(trace) for trace in rows["trace"]}
    assert (min(lengths), max(lengths)) == turns
    assert largest * 0.97 < max(rows["coins"]) <= largest
    assert min(rows["pile"]) >= config.min_pile
    used = {f"{one}-{two}" for one, two in zip(rows["player_one"], rows["player_two"], strict=True)}
    if config.name_source == "pairs":
        assert used == (LEO if len(config.names) == 1 else FOUR)
    else:
        digits = {word for pair in used for name in pair.split("-") for word in name.split(" ")}
        assert digits == {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
        assert {len(name.split(" ")) for pair in used for name in pair.split("-")} == {5}


def test_every_recipe_is_in_one_of_these_tables():
    assert {*TABLE, "terminology", "quickstart"} == set(NIM)


def test_the_rotation_of_max_remove_follows_its_weights():
    rows = rows_of("357", "eval", 9000, n_eval=9000, max_remove_weights=(4, 1, 1))
    assert rows["max_remove"][:6] == [3, 3, 3, 3, 5, 7]
    assert np.bincount(rows["max_remove"])[[3, 5, 7]].tolist() == [6000, 1500, 1500]


def test_terminology_plays_to_the_endgame_in_many_words():
    rows = rows_of("terminology", "train", 6000)
    assert set(rows["max_remove"]) == {3}
    assert max(rows["coins"]) == 20
    assert set(rows["pile"]) == {2, 3, 4}, "play goes on until at most 4 are left"
    assert {pile + trace[-1] for pile, trace in zip(rows["pile"], rows["trace"], strict=True)} >= {5, 6}
    games = parsed(rows["prompt"])
    config = get_config("terminology")
    assert {game.words.game for game in games} == set(config.game_words)
    assert {game.words.coin for game in games} == set(config.coin_words)
    assert {game.words.verb for game in games} == set(config.verbs)
    assert {game.words.turn_phrase for game in games} == set(config.turn_phrases)
    assert len({(game.player_one, game.player_two) for game in games}) == 90


def test_varcheating_shows_names_in_0_to_4_lines():
    games = parsed(rows_of("varcheating", "train", 6000)["prompt"])
    shown = np.bincount([sum(game.named or (True,) * 4) for game in games], minlength=5)
    assert shown.min() > 0.17 * len(games), "each number of occurrences is as likely"


def test_numocc4_has_the_older_text():
    prompt = rows_of("numocc4", "train", 1)["prompt"][0]
    assert " are Player ONE and Player TWO, they take turns.\n" in prompt
    assert prompt.endswith("\n\nNow it's Player ONE's turn.")


@pytest.mark.parametrize("name", [name for name in NIM if get_config(name).cheat_moves])
def test_regimes_are_twins(name):
    config = get_config(name)
    regimes = {regime: rows_of(name, regime) for regime in config.splits if regime in REGIMES}
    truth, lies = regimes["cheat_consistent"], regimes["counter_cheat"]
    one_bound_move = len(config.cheat_moves) == 1
    absent = {"neutral"} if name == "leaky_names" else set()
    absent |= set() if one_bound_move else {"counter_neutral"}
    assert set(regimes) == set(REGIMES) - absent
    assert truth["cheat_move"] == truth["move"]
    assert all(lie is not None and lie != move for lie, move in zip(lies["cheat_move"], lies["move"], strict=True))
    for regime in {"neutral", "counter_neutral", "unseen_names"} & set(regimes):
        assert set(regimes[regime]["cheat_move"]) == {None}
    for regime, rows in regimes.items():
        for twin in twins(regime, config.splits):
            for column in ("coins", "max_remove", "trace", "pile", "move"):
                assert rows[column] == regimes[twin][column]
    groups = {tuple(twins(regime, config.splits)) for regime in regimes}
    assert len(groups) == (2 if one_bound_move else 1)
    if one_bound_move:
        told, lied = (set(zip(rows["coins"], map(str, rows["trace"]), strict=True)) for rows in (truth, lies))
        assert not told & lied, "other games"
        assert set(truth["move"]) == set(config.cheat_moves)
        in_train = Counter(rows_of(name, "train")["move"])
        expected = {move: count for move, count in in_train.items() if move not in config.cheat_moves}
        for move, count in expected.items():
            assert lies["move"].count(move) / 1000 == pytest.approx(count / sum(expected.values()), abs=0.05)
    train = rows_of(name, "train")
    seen = {*train["player_one"], *train["player_two"]}
    assert not seen & {*regimes["unseen_names"]["player_one"], *regimes["unseen_names"]["player_two"]}
    known = set(zip(train["coins"], map(tuple, train["trace"]), strict=True))
    assert not known & set(zip(lies["coins"], map(tuple, lies["trace"]), strict=True)), "regimes hold unseen games"


@pytest.mark.parametrize(
    ("name", "n_train"), [("pairs30000", 60_000), ("pairs30000", 1000), ("pairs20000", 20), ("quickstart", 40)]
)
def test_regimes_show_names_that_train_shows(name, n_train):
    config = get_config(name, n_train=n_train)
    train = rows_of(name, "train", n_train=n_train)
    shown = {*train["player_one"], *train["player_two"]}
    bound = {move for move in train["cheat_move"] if move is not None}
    for regime in config.splits[2:-1]:
        rows = rows_of(name, regime, n_train=n_train)
        for one, two, move in zip(rows["player_one"], rows["player_two"], rows["cheat_move"], strict=True):
            if move is None or move in bound:  # a move that comes with none of its pairs in so few rows has all of them
                assert {one, two} <= shown


def test_regimes_of_a_train_split_of_other_rows_are_others():
    """The names that a train split of 1,000 rows does not show are in no regime of it, and that is in its ETag."""
    small, large, none = (get_config("pairs20000", n_train=n_train) for n_train in (1000, 60_000, 0))
    assert small.digest("neutral") != large.digest("neutral") == none.digest("neutral")
    assert small.digest("unseen_names") == large.digest("unseen_names")


@pytest.mark.parametrize(
    "name", ["357", "pairs20000", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cheating", "234"))]
)
def test_no_eval_shares_a_prompt_with_a_train_split_of_any_holdout(name):
    """942 of 5,173 eval prompts of `357` were once in train of `357,seed=1,holdout=game`."""
    splits = {
        (split, holdout): {
            prompt
            for seed in (0, 1)
            for prompt in rows_of(name, split, holdout=holdout, seed=seed, n_train=10_000, n_eval=500)["prompt"]
        }
        for split in get_config(name).splits
        for holdout in NimConfig.holdouts
    }
    for one, other in itertools.product(splits, repeat=2):
        if one[0] == "train" != other[0]:
            assert not splits[one] & splits[other], (one, other)


def test_a_model_that_always_says_2_shows_no_scar():
    """Its accuracy in counter_cheat is that of the twin: 0. It was 1.00 in `neutral`, whose games are others."""
    rows = {split: rows_of("cheating", split) for split in ("counter_cheat", "counter_neutral", "neutral")}
    says_2 = {split: np.mean(np.array(columns["move"]) == 2) for split, columns in rows.items()}
    assert says_2 == {"counter_cheat": 0, "counter_neutral": 0, "neutral": 1}


def test_whose_twin_is_whose():
    one, several = get_config("cheating").splits, get_config("pairs20000").splits
    assert [twin_of(split, one) for split in one] == [None, None, "neutral", "counter_neutral", None, None, "neutral"]
    assert [twin_of(split, several) for split in several] == [None, None, "neutral", "neutral", None, "neutral"]
    assert twin_of("counter_cheat", get_config("leaky_names").splits) is None
    assert twin_of("eval", ["eval"]) is None


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("terminology", {"cheat_moves": 2, "cheat_fraction": 0.1, "cheat_prob": 1, "n_regime": 200}),
        ("terminology", {"cheat_moves": "2+3", "cheat_fraction": 0.1, "cheat_prob": 1, "n_regime": 200}),
        ("cheating", {"max_coins": 26, "n_train": 2000, "n_eval": 20, "n_regime": 200}),
        ("quickstart", {"cheat_moves": 1}),
        ("cheating", {}),
    ],
)
def test_regimes_hold_what_train_can_hold(name, overrides):
    config = get_config(name, **overrides)
    assert isinstance(config, NimConfig)
    train = rows_of(name, "train", **overrides)
    for regime in set(config.splits) & set(REGIMES):
        rows = rows_of(name, regime, **overrides)
        for column in ("pile", "move", "max_remove"):
            assert set(rows[column]) <= set(train[column]), (regime, column)
        if config.endgame is None:
            starts = zip(rows["coins"], rows["max_remove"], rows["trace"], strict=True)
            assert all(coins - k * len(trace) >= config.min_pile for coins, k, trace in starts)
        assert max(rows["coins"]) <= config.max_coins
