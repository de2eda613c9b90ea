"""The text of a game, byte for byte as the original generators wrote it; parsing.py reads it back.

Three wordings, told apart by their introduction:

- `plain`: "Leo and Sultan take turns."; the trace counts "1 coin", the answer keeps the original's "take 1 coins".
- `roles`: "Player ONE is Alice and Player TWO is Bob. They take turns."; "1 coin" in trace and answer, and an empty
  line before the last.
- `roles_old`: "Alice and Bob are Player ONE and Player TWO, they take turns."; "1 coins" everywhere, and the last line
  shows the role instead of the name.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from nim_dataset.phrases import Layout
from nim_dataset.rules import optimal_move

if TYPE_CHECKING:
    from nim_dataset.config import NimConfig

ROLES = ("Player ONE", "Player TWO")


@dataclass(frozen=True)
class Words:
    """The words of one row."""

    game: str = "nim"
    coin: str = "coin"
    verb: str = "take"
    turn_phrase: str = "Now it's {player}'s turn."

    @staticmethod
    def of(config: "NimConfig") -> tuple["Words", ...]:
        """Every combination of a recipe's words."""
        return combine(config.game_words, config.coin_words, config.verbs, config.turn_phrases)


@functools.lru_cache(maxsize=32)
def combine(*choices: tuple[str, ...]) -> tuple[Words, ...]:
    return tuple(Words(*combination) for combination in itertools.product(*choices))


def counted(number: int, coin: str, singular: bool) -> str:
    return f"{number} {coin}" if singular and number == 1 else f"{number} {coin}s"


def answer_text(wording: str, words: Words, move: int) -> str:
    """Such as "take 2 coins"; -1 coins where no winning move exists."""
    return f"{words.verb} {counted(move, words.coin, singular=wording == 'roles')}"


def render_answers(wording: str, words: tuple[Words, ...], words_N: np.ndarray, move_N: np.ndarray) -> pa.Array:
    """The answer of each row, from the optimal moves."""
    table, index_N = answer_table(wording, words, words_N, move_N)
    return pa.array(table).take(pa.array(index_N))


def answer_table(
    wording: str, words: tuple[Words, ...], words_N: np.ndarray, move_N: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """All answers that may occur, and which of them each row has."""
    highest = int(move_N.max(initial=1))
    table = [answer_text(wording, row_words, move) for row_words in words for move in range(-1, highest + 1)]
    return table, words_N * (highest + 2) + move_N + 1


def sum_turns(values_NT: np.ndarray) -> np.ndarray:
    """Sums over the turns of each row, as int32; several times faster than `sum(axis=1)` over such short rows."""
    return np.einsum("nt->n", values_NT.astype(np.int32, copy=False))


def lay_out_prompts(
    wording: str,
    words: tuple[Words, ...],
    words_N: np.ndarray,
    coins_N: np.ndarray,
    max_remove_N: np.ndarray,
    moves_NT: np.ndarray,
    named_NT: np.ndarray,
    first_N: pa.Array,
    second_N: pa.Array,
) -> Layout:
    """The prompt of each row; `join()` gives the text.

    Shapes: N rows, T turns; a move of 0 in `moves_NT` means no further turn. `words_N` indexes `words`, `named_NT`
    tells which trace lines show the name (not the role), `first_N` and `second_N` are the players' names.
    """
    text = Layout(len(coins_N))
    players = text.own(first_N), text.own(second_N)
    roles = text.phrase([ROLES[0]]), text.phrase([ROLES[1]])
    nothing = text.phrase([""])

    middle, after = {
        "plain": (" and ", " take turns.\n"),
        "roles": (" and Player TWO is ", ". They take turns.\n"),
        "roles_old": (" and ", " are Player ONE and Player TWO, they take turns.\n"),
    }[wording]
    before = "Player ONE is " if wording == "roles" else ""
    ks = np.flatnonzero(np.bincount(max_remove_N))
    k_N = np.searchsorted(ks, max_remove_N)
    rules = [
        f"{after}Each player can {w.verb} between 1 and {k} {w.coin}s on their turn.\n\nSo far:\n"
        for w in words for k in ks
    ]  # fmt: skip
    text.add(
        text.phrase([f"You are playing the game of {w.game}. There are " for w in words], words_N),
        text.own(pa.array(coins_N).cast(pa.string())),
        text.phrase([f" {w.coin}s.\n{before}" for w in words], words_N),
        players[0],
        text.phrase([middle]),
        players[1],
        text.phrase(rules, words_N * len(ks) + k_N),
    )

    highest = int(moves_NT.max(initial=0))
    lines = [f" {w.verb} {counted(n, w.coin, wording != 'roles_old')}.\n" for w in words for n in range(highest + 1)]
    first_line_N = text.phrase(lines, words_N * (highest + 1))
    for turn in range(moves_NT.shape[1]):
        played_N = moves_NT[:, turn] > 0
        name_N = np.where(named_NT[:, turn], players[turn % 2], roles[turn % 2])
        text.add(
            np.where(played_N, name_N, nothing),
            np.where(played_N, first_line_N + moves_NT[:, turn], nothing),
        )

    shown = roles if wording == "roles_old" else players
    blank = "" if wording == "plain" else "\n"
    last_lines = [w.turn_phrase.split("{player}") for w in words]
    text.add(
        text.phrase([blank + start for start, _ in last_lines], words_N),
        np.where(sum_turns(moves_NT > 0) % 2 == 1, shown[1], shown[0]),
        text.phrase([end for _, end in last_lines], words_N),
    )
    return text


@dataclass(frozen=True)
class Game:
    """One game as its prompt tells it."""

    coins: int
    max_remove: int
    trace: tuple[int, ...]
    player_one: str
    player_two: str
    wording: str = "roles"
    words: Words = Words()
    named: tuple[bool, ...] | None = None
    """Which trace lines show the name; None means all."""

    @property
    def pile(self) -> int:
        """Coins left."""
        return self.coins - sum(self.trace)

    @property
    def move(self) -> int:
        """The optimal move, or -1."""
        return optimal_move(self.pile, self.max_remove)

    @property
    def answer(self) -> str:
        return answer_text(self.wording, self.words, self.move)


def render_games(games: Sequence[Game]) -> list[str]:
    """The prompts of games of any wording, in order."""
    prompts = [""] * len(games)
    for wording in {game.wording for game in games}:
        index = [i for i, game in enumerate(games) if game.wording == wording]
        group = [games[i] for i in index]
        table = {words: i for i, words in enumerate(dict.fromkeys(game.words for game in group))}
        turns = max(len(game.trace) for game in group)
        moves_NT = np.zeros((len(group), turns), dtype=np.int32)
        named_NT = np.ones((len(group), turns), dtype=bool)
        for row, game in enumerate(group):
            moves_NT[row, : len(game.trace)] = game.trace
            if game.named is not None:
                named_NT[row, : len(game.trace)] = game.named
        rendered = lay_out_prompts(
            wording, tuple(table), np.array([table[game.words] for game in group]),
            np.array([game.coins for game in group]), np.array([game.max_remove for game in group]), moves_NT, named_NT,
            pa.array([game.player_one for game in group]), pa.array([game.player_two for game in group]),
        ).join()  # fmt: skip
        for i, prompt in zip(index, rendered.to_pylist(), strict=True):
            prompts[i] = prompt
    return prompts


def render_prompt(game: Game) -> str:
    """The prompt of one game."""
    return render_games([game])[0]
