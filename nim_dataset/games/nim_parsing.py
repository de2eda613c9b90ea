"""From a prompt of Nim back to its game: a text counts as a prompt only if `render_prompt` writes it so. Time and
memory are linear in the length of any text.

Prompts are alike: each of the first lines, and what follows "So far:" with marks for the names, is read once and kept.
"""

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nim_dataset.games.nim_text import MAX_COINS_LIMIT, ROLES, WORDINGS, Game, Words, counted

KEPT, KEPT_CHARACTERS = 32_768, 1000
"""Lines and tails that are kept of each kind, and the longest prompt that any is kept of."""
NUMBER = "(0|[1-9][0-9]{0,9})"
FIRST_LINE = re.compile(rf"You are playing the game of (.+?)\. There are {NUMBER} (\S+?)s\.", re.DOTALL)
RULE = re.compile(rf"Each player can (\S+) between 1 and {NUMBER} (\S+)s on their turn\.")
MARKS = "\0", "\1"
"""What stands for the players' names in a text that is kept; a name that is one of them is not read back."""


def parse_prompt(text: str) -> Game:
    """The game that a prompt tells, such that `render_prompt` gives the same text; raises `ValueError` if none."""
    game = read_prompt(text)
    if game is None:
        raise ValueError(f"not a Nim prompt, or in words that no generator writes: {text[:60]!r}")
    return game


def parse_prompts(texts: Sequence[str]) -> list[Game | None]:
    """`parse_prompt` of many texts at once; None for those that are no Nim prompt."""
    return [read_prompt(text) for text in texts]


def read_prompt(text: str) -> Game | None:
    """The game that a prompt tells; None where a text is none."""
    lines = text.split("\n", 5)
    if len(lines) < 6 or lines[3] != "" or lines[4] != "So far:":
        return None
    start_of, players_of, rule_of, tail_of = KEEPING if len(text) <= KEPT_CHARACTERS else READERS
    start, told, limit = start_of(lines[0]), players_of(lines[1]), rule_of(lines[2])
    if start is None or told is None or limit is None:
        return None
    coins, game, coin = start
    wording, one, two = told
    max_remove, verb, taken = limit
    text = lines[5]
    tail = None
    if MARKS[0] not in text and MARKS[1] not in text:
        tail = tail_of(text.replace(one, MARKS[0]).replace(two, MARKS[1]), MARKS, wording, game, coin, verb)
    if tail is None:  # a name is part of the other one, or of another word
        tail = tail_of(text, (one, two), wording, game, coin, verb)
    if tail is None or taken != coin or tail.most > max_remove or not 1 <= max_remove <= MAX_COINS_LIMIT:
        return None
    if not tail.sum <= coins <= MAX_COINS_LIMIT:
        return None
    return Game(coins, max_remove, tail.trace, one, two, wording, tail.words, tail.named)


def read_start(line: str) -> tuple[int, str, str] | None:
    """Coins, and the words for the game and a coin, in a prompt's first line; None where it is no such line."""
    found = FIRST_LINE.fullmatch(line)
    return (int(found[2]), found[1], found[3]) if found else None


def read_players(line: str) -> tuple[str, str, str] | None:
    """The wording that a prompt's second line is of, and the two names in it; None where it is of none."""
    for wording, (before, between, after) in reversed(WORDINGS.items()):
        ending = after.removesuffix("\n")
        # Both names have a character or more.
        middle = line.find(between, len(before) + 1)
        stop = len(line) - len(ending)
        if line.startswith(before) and line.endswith(ending) and 0 < middle < stop - len(between):
            return wording, line[len(before) : middle], line[middle + len(between) : stop]
    return None


def read_rule(line: str) -> tuple[int, str, str] | None:
    """`max_remove`, and the words for taking and a coin, in a prompt's third line; None where it is no such line."""
    found = RULE.fullmatch(line)
    return (int(found[2]), found[1], found[3]) if found else None


@dataclass(frozen=True)
class Tail:
    """What a prompt tells after "So far:"."""

    trace: tuple[int, ...]
    named: tuple[bool, ...] | None
    """As `Game.named`."""
    words: Words
    sum: int
    """Coins that the trace takes."""
    most: int
    """The most that it takes on a turn."""


def read_tail(text: str, players: tuple[str, str], wording: str, game: str, coin: str, verb: str) -> Tail | None:
    """The trace and the last line, where `players` stand for the names; None where no generator writes them so."""
    *lines, last = text.split("\n")
    if wording != "plain" and (not lines or lines.pop() != ""):
        return None
    trace, named = [], []
    for turn, line in enumerate(lines):
        for name in (players[turn % 2], ROLES[turn % 2]):
            before = f"{name} {verb} "
            move = line[len(before) :].partition(" ")[0]
            # No number that is allowed is longer.
            if line.startswith(before) and move.isdecimal() and len(move) <= len(str(MAX_COINS_LIMIT)):
                if line != f"{before}{counted(int(move), coin, singular=wording != 'roles_old')}." or int(move) < 1:
                    return None
                trace.append(int(move))
                named.append(name == players[turn % 2])
                break
        else:
            return None
    mover = (ROLES if wording == "roles_old" else players)[len(trace) % 2]
    phrase = last.replace(mover, "{player}")
    if last.count(mover) != 1 or phrase.count("{player}") != 1:
        return None
    if players == MARKS and (MARKS[0] in phrase or MARKS[1] in phrase):
        return None
    shown = None if all(named) else tuple(named)
    return Tail(tuple(trace), shown, Words(game, coin, verb, phrase), sum(trace), max(trace, default=0))


READERS: tuple[Callable[..., Any], ...] = (read_start, read_players, read_rule, read_tail)
KEEPING = tuple(functools.lru_cache(KEPT)(read) for read in READERS)
"""The same, which keep what they read."""
