"""From a prompt back to its game: old JSONL files can be scored, checked and labelled anew without any metadata.

Reading is lenient, and then the game is rendered again: a prompt counts as parsed only if it comes out the same.
"""

import re
from collections.abc import Sequence

from nim_dataset.text import ROLES, Game, Words, render_games

BATCH = 16_384
LARGEST_PILE = 1_000_000  # as in recipes
HEAD = re.compile(
    r"You are playing the game of (?P<game>[^\n]+?)\. There are (?P<coins>[0-9]{1,10}) (?P<coin>\S+?)s\.\n"
    r"(?:Player ONE is (?P<roles_1>[^\n]+?) and Player TWO is (?P<roles_2>[^\n]+)\. They take turns\."
    r"|(?P<old_1>[^\n]+?) and (?P<old_2>[^\n]+) are Player ONE and Player TWO, they take turns\."
    r"|(?P<plain_1>[^\n]+?) and (?P<plain_2>[^\n]+) take turns\.)\n"
    r"Each player can (?P<verb>\S+) between 1 and (?P<max_remove>[0-9]{1,10}) \S+ on their turn\.\n\nSo far:\n"
)


def parse_prompt(text: str) -> Game:
    """The game that a prompt tells, such that `render_prompt` gives the same text; raises `ValueError` if none."""
    game = read_prompt(text)
    if render_games([game]) != [text]:
        raise ValueError(f"a wording that no generator writes: {text[:60]!r}")
    return game


def parse_prompts(texts: Sequence[str]) -> list[Game | None]:
    """`parse_prompt` of many texts at once; None for those that are no Nim prompt."""
    if len(texts) > BATCH:
        return [game for start in range(0, len(texts), BATCH) for game in parse_prompts(texts[start : start + BATCH])]
    games: list[Game | None] = []
    for text in texts:
        try:
            games.append(read_prompt(text))
        except ValueError:
            games.append(None)
    rendered = iter(render_games([game for game in games if game is not None]))
    return [
        game if game is not None and next(rendered) == text else None for game, text in zip(games, texts, strict=True)
    ]


def read_prompt(text: str) -> Game:
    """The game of a prompt whose exact text is still to be compared."""
    head = HEAD.match(text)
    if head is None:
        raise ValueError(f"not a Nim prompt: {text[:60]!r}")
    wording = "roles" if head["roles_1"] else "roles_old" if head["old_1"] else "plain"
    prefix = {"roles": "roles", "roles_old": "old", "plain": "plain"}[wording]
    players = (head[f"{prefix}_1"], head[f"{prefix}_2"])
    coins, max_remove = int(head["coins"]), int(head["max_remove"])
    *lines, last = text[head.end() :].split("\n")
    if wording != "plain" and lines and lines[-1] == "":
        lines.pop()
    trace, named = [], []
    for turn, line in enumerate(lines):
        for shown in (players[turn % 2], ROLES[turn % 2]):
            before = f"{shown} {head['verb']} "
            move = line[len(before) :].split(" ")[0]
            if line.startswith(before) and move.isdecimal():
                trace.append(int(move))
                named.append(shown == players[turn % 2])
                break
        else:
            raise ValueError(f"not a move of {players[turn % 2]!r}: {line!r}")
    if not 1 <= max_remove <= LARGEST_PILE or any(not 1 <= move <= max_remove for move in trace):
        raise ValueError(f"not a legal game: moves {trace}, at most {max_remove} a turn")
    if not sum(trace) <= coins <= LARGEST_PILE:
        raise ValueError(f"not a legal game: moves {trace} of {coins} coins")
    mover = (ROLES if wording == "roles_old" else players)[len(trace) % 2]
    if last.count(mover) != 1:
        raise ValueError(f"the last line does not tell that it is {mover!r}'s turn: {last!r}")
    words = Words(head["game"], head["coin"], head["verb"], last.replace(mover, "{player}"))
    return Game(
        coins, max_remove, tuple(trace), *players, wording=wording, words=words,
        named=None if all(named) else tuple(named),
    )  # fmt: skip
