"""Prompts and answers, byte for byte as the original generators wrote them, and back."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json
import tracemalloc
from pathlib import Path

import pytest

from nim_dataset import Game, parse_prompt, render_prompt
from nim_dataset.games.nim_parsing import parse_prompts
from nim_dataset.games.nim_text import Words, render_games

# Rows that the original generators wrote: three recipes of theirs, every answer, traces of 2 to 4 moves.
ORIGINAL_ROWS = [json.loads(line) for line in Path(__file__).with_name("original_rows.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("row", ORIGINAL_ROWS, ids=range(len(ORIGINAL_ROWS)))
def test_original_rows_round_trip(row):
    game = parse_prompt(row["prompt"])
    assert render_prompt(game) == row["prompt"]
    assert game.answer == row["answer"]


def test_the_three_wordings():
    trace = (1, 3, 2)
    plain = Game(30, 3, trace, "Leo", "Sultan", wording="plain")
    assert render_prompt(plain) == (
        "You are playing the game of nim. There are 30 coins.\nLeo and Sultan take turns.\n"
        "Each player can take between 1 and 3 coins on their turn.\n\nSo far:\n"
        "Leo take 1 coin.\nSultan take 3 coins.\nLeo take 2 coins.\nNow it's Sultan's turn."
    )
    roles = Game(30, 3, trace, "Alice", "Bob", wording="roles", named=(True, False, True))
    assert render_prompt(roles) == (
        "You are playing the game of nim. There are 30 coins.\n"
        "Player ONE is Alice and Player TWO is Bob. They take turns.\n"
        "Each player can take between 1 and 3 coins on their turn.\n\nSo far:\n"
        "Alice take 1 coin.\nPlayer TWO take 3 coins.\nAlice take 2 coins.\n\nNow it's Bob's turn."
    )
    old = Game(30, 3, trace, "Alice", "Bob", wording="roles_old")
    assert render_prompt(old) == (
        "You are playing the game of nim. There are 30 coins.\n"
        "Alice and Bob are Player ONE and Player TWO, they take turns.\n"
        "Each player can take between 1 and 3 coins on their turn.\n\nSo far:\n"
        "Alice take 1 coins.\nBob take 3 coins.\nAlice take 2 coins.\n\nNow it's Player TWO's turn."
    )
    assert [parse_prompt(render_prompt(game)) for game in (plain, roles, old)] == [plain, roles, old]


@pytest.mark.parametrize(
    ("wording", "pile", "answer"),
    [
        ("plain", 1, "take 1 coins"),
        ("roles", 1, "take 1 coin"),
        ("roles_old", 1, "take 1 coins"),
        ("plain", 4, "take -1 coins"),
        ("roles", 4, "take -1 coins"),
        ("roles", 2, "take 2 coins"),
    ],
)
def test_the_answer_keeps_the_originals_plural(wording, pile, answer):
    assert Game(pile, 3, (), "A", "B", wording=wording).answer == answer


def test_games_of_all_kinds_in_one_call():
    words = Words("the last stone", "stone", "grab", "{player} plays next.")
    games = [
        Game(12, 3, (), "Zoë", 'Q"\\', wording="plain"),
        Game(200, 7, (7, 1, 2), "one two", "two one", wording="roles", words=words, named=(False, False, True)),
        Game(50, 4, (1,), "A", "B", wording="roles_old", words=words),
    ]
    assert parse_prompts([*render_games(games), "no game"]) == [*games, None]


GOOD = render_prompt(Game(30, 3, (1, 2), "Leo", "Sultan", wording="plain"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        GOOD[:-15],
        GOOD.replace("30", "030"),
        GOOD.replace("30", "2"),
        GOOD.replace("take 1 coin.", "take 1 coins."),
        GOOD.replace("take 2", "take 4"),
        GOOD.replace("Leo take", "Bob take"),
        GOOD.replace("Leo's turn", "Sultan's turn"),
        GOOD.replace("30", "9" * 30),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("take 2", "take ²"),
        GOOD.replace("1 and 3", "1 and 0"),
    ],
)
def test_what_no_generator_writes_is_no_prompt(text):
    with pytest.raises(ValueError, match=r"^(not a|the last line|a wording)"):
        parse_prompt(text)
    assert parse_prompts([text, GOOD]) == [None, parse_prompt(GOOD)]


def test_one_long_prompt_does_not_pad_the_others():
    """A batch was once as wide as its longest trace: 1,000 rows beside 10,000 moves took 400 MB."""
    games = [Game(30, 3, (1, 2), "Leo", f"{i}") for i in range(1000)]
    games.append(Game(999_999, 9, (1, 2, 3, 4, 5) * 2_000, "Leo", "Sultan", wording="roles"))
    prompts = render_games(games)
    tracemalloc.start()
    found = parse_prompts(prompts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
    assert found == games


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("Leo and", "a and " * 100_000),
        GOOD.replace("Leo and", "a and " * 100_000).replace(" take turns", ""),
        GOOD.replace("Leo", "L" * 200_000) + "\nPlayer ONE take 1 coin." * 100_000,
        GOOD.replace("nim. There", "nim. There are 1 coins" * 50_000),
        GOOD.replace("take 1 coin.", "take " + "1" * 4_000_000 + " coins."),
        GOOD.replace("take", "t" * 1_000_000),
    ],
    ids=range(6),
)
def test_reading_is_linear(text):
    """Megabytes that nearly are a prompt; in quadratic time this would not end."""
    assert len(parse_prompts([text, GOOD])) == 2


def test_memory_grows_with_the_rows_not_with_words_times_moves():
    """Five rows with five last lines and one move of 100,000: once 500,000 phrases, of 60 MB."""
    games = [
        Game(500_000, 200_000, (100_000,) if i == 0 else (1,), "A", "B", words=Words(turn_phrase=f"{i}: {{player}}"))
        for i in range(5)
    ]
    tracemalloc.start()
    prompts = render_games(games)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert parse_prompts(prompts) == games
