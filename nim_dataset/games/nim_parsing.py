"""From a prompt of Nim back to its game. Reading is lenient, and then the game is rendered again: a prompt counts as
parsed only if it comes out the same. Time and memory are linear in the length of any text.
"""

import re
from collections.abc import Sequence

from nim_dataset.games.nim_text import MAX_COINS_LIMIT, ROLES, WORDINGS, Game, Words, render_games

# Prompts that are read back at once: so many, or of so many characters.
BATCH, BATCH_CHARACTERS = 16_384, 2**24
FIRST_LINE = re.compile(
    r"You are playing the game of (?P<game>.+?)\. There are (?P<coins>[0-9]{1,10}) (?P<coin>\S+?)s\.", re.DOTALL
)
RULE = re.compile(r"Each player can (?P<verb>\S+) between 1 and (?P<max_remove>[0-9]{1,10}) \S+ on their turn\.")


def parse_prompt(text: str) -> Game:
    """The game that a prompt tells, such that `render_prompt` gives the same text; raises `ValueError` if none."""
    game = read_prompt(text)
    if render_games([game]) != [text]:
        raise ValueError(f"a wording that no generator writes: {text[:60]!r}")
    return game


def parse_prompts(texts: Sequence[str]) -> list[Game | None]:
    """`parse_prompt` of many texts at once; None for those that are no Nim prompt."""
    games: list[Game | None] = []
    start = characters = 0
    for stop, text in enumerate(texts, start=1):
        try:
            games.append(read_prompt(text))
        except ValueError:
            games.append(None)
        characters += len(text)
        if stop == len(texts) or stop - start == BATCH or characters > BATCH_CHARACTERS:
            rendered = iter(render_games([game for game in games[start:] if game is not None]))
            for i in range(start, stop):
                if games[i] is not None and next(rendered) != texts[i]:
                    games[i] = None
            start, characters = stop, 0
    return games


def read_prompt(text: str) -> Game:
    """The game of a prompt whose exact text is still to be compared."""
    first, players_line, rule, *rest = [*text.split("\n", 5), "", ""]
    start, told, limits = FIRST_LINE.fullmatch(first), read_players(players_line), RULE.fullmatch(rule)
    if start is None or told is None or limits is None or rest[:2] != ["", "So far:"]:
        raise ValueError(f"not a Nim prompt: {text[:60]!r}")
    wording, players = told
    coins, max_remove = int(start["coins"]), int(limits["max_remove"])
    *lines, last = rest[2].split("\n")
    if wording != "plain" and lines and lines[-1] == "":
        lines.pop()
    trace, named = [], []
    verb = limits["verb"]
    by_name = f"{players[0]} {verb} ", f"{players[1]} {verb} "
    by_role = f"{ROLES[0]} {verb} ", f"{ROLES[1]} {verb} "
    for turn, line in enumerate(lines):
        for before in (by_name[turn % 2], by_role[turn % 2]):
            if line.startswith(before) and (move := line[len(before) :].partition(" ")[0]).isdecimal():
                trace.append(int(move))
                named.append(before == by_name[turn % 2])
                break
        else:
            raise ValueError(f"not a move of {players[turn % 2]!r}: {line!r}")
    if not 1 <= max_remove <= MAX_COINS_LIMIT or not 1 <= min(trace, default=1) <= max(trace, default=1) <= max_remove:
        raise ValueError(f"not a legal game: moves {trace}, at most {max_remove} a turn")
    if not sum(trace) <= coins <= MAX_COINS_LIMIT:
        raise ValueError(f"not a legal game: moves {trace} of {coins} coins")
    mover = (ROLES if wording == "roles_old" else players)[len(trace) % 2]
    if last.count(mover) != 1:
        raise ValueError(f"the last line does not tell that it is {mover!r}'s turn: {last!r}")
    words = Words(start["game"], start["coin"], verb, last.replace(mover, "{player}"))
    shown_names = None if all(named) else tuple(named)
    return Game(coins, max_remove, tuple(trace), *players, wording=wording, words=words, named=shown_names)


def read_players(line: str) -> tuple[str, tuple[str, str]] | None:
    """The wording that a prompt's second line is of, and the two names in it; None where it is of none."""
    for wording, (before, between, after) in reversed(WORDINGS.items()):
        ending = after.removesuffix("\n")
        # Both names have a character or more.
        middle = line.find(between, len(before) + 1)
        stop = len(line) - len(ending)
        if line.startswith(before) and line.endswith(ending) and 0 < middle < stop - len(between):
            return wording, (line[len(before) : middle], line[middle + len(between) : stop])
    return None
