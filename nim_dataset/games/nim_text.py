"""The text of one-pile Nim, byte for byte as the original generators wrote it. `nim_parsing.py` is the way back.

Legend of the shapes in names: N = rows (or candidates), T = turns, the longest trace. A move of 0 means that the trace
is shorter than T.
"""

import functools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from nim_dataset.config import Games
from nim_dataset.phrases import Layout, combinations

NO_WINNING_MOVE = -1
ROLES = ("Player ONE", "Player TWO")
PLAYERS = ("player_one", "player_two")
"""The columns of the two names."""
MAX_REMOVE_LIMIT = 100
MAX_COINS_LIMIT = 1_000_000

# Three wordings, told apart by their introduction: what stands before, between and after the names.
# - `plain`: the trace counts "1 coin", the answer keeps the original's "take 1 coins".
# - `roles`: "1 coin" in trace and answer, and an empty line before the last.
# - `roles_old`: "1 coins" everywhere, an empty line before the last, which shows the role instead of the name.
WORDINGS = {
    "plain": ("", " and ", " take turns.\n"),
    "roles": ("Player ONE is ", " and Player TWO is ", ". They take turns.\n"),
    "roles_old": ("", " and ", " are Player ONE and Player TWO, they take turns.\n"),
}

IntOrArray = TypeVar("IntOrArray", int, np.ndarray)


def optimal_move(pile: IntOrArray, max_remove: IntOrArray | int) -> IntOrArray:
    """The winning move (coins to take, 1 to `max_remove`), or -1 where there is none.

    `pile` and `max_remove` are in coins; integers, or arrays that broadcast together.
    """
    remainder: Any = pile % (max_remove + 1)
    several = isinstance(remainder, np.ndarray)
    move: Any = np.where(remainder == 0, NO_WINNING_MOVE, remainder) if several else remainder or NO_WINNING_MOVE
    return move


class Words(NamedTuple):
    """The words of one row."""

    game: str = "nim"
    coin: str = "coin"
    verb: str = "take"
    turn_phrase: str = "Now it's {player}'s turn."


@dataclass
class NimGames(Games):
    """Ground truth of N games, whoever plays them."""

    coins_N: np.ndarray
    max_remove_N: np.ndarray
    moves_NT: np.ndarray
    pile_N: np.ndarray
    words_N: np.ndarray
    """Which of the recipe's words each row has."""
    named_NT: np.ndarray
    """Whether a line of the trace shows the name, not the role."""


def sum_turns(values_NT: np.ndarray) -> np.ndarray:
    """Sums over the turns of each row, as int32; several times faster than `sum(axis=1)` over such short rows."""
    return np.einsum("nt->n", values_NT.astype(np.int32, copy=False))


def counted(number: int, coin: str, singular: bool) -> str:
    return f"{number} {coin}" if singular and number == 1 else f"{number} {coin}s"


@functools.lru_cache(4096)
def answer_text(wording: str, words: Words, move: int) -> str:
    """Such as "take 2 coins"; -1 coins where no winning move exists."""
    return f"{words.verb} {counted(move, words.coin, singular=wording == 'roles')}"


def lay_out_prompts(
    wording: str, words: tuple[Words, ...], games: NimGames, first_N: pa.Array, second_N: pa.Array
) -> Layout:
    """The prompts of N games; `join()` gives the text. `games.words_N` indexes `words`."""
    text = Layout(len(games.coins_N))
    words_N, moves_NT = games.words_N, games.moves_NT
    players = text.own(first_N), text.own(second_N)
    roles = text.phrase([ROLES[0]]), text.phrase([ROLES[1]])
    nothing = text.phrase([""])

    before, middle, after = WORDINGS[wording]

    def rule(word: int, k: int) -> str:
        verb, coin = words[word].verb, words[word].coin
        return f"{after}Each player can {verb} between 1 and {k} {coin}s on their turn.\n\nSo far:\n"

    def line(word: int, move: int) -> str:
        return f" {words[word].verb} {counted(move, words[word].coin, wording != 'roles_old')}.\n"

    text.add(
        text.phrase([f"You are playing the game of {w.game}. There are " for w in words], words_N),
        text.own(pa.array(games.coins_N).cast(pa.string())),
        text.phrase([f" {w.coin}s.\n{before}" for w in words], words_N),
        players[0],
        text.phrase([middle]),
        players[1],
        text.phrase(*combinations(rule, words_N, games.max_remove_N)),
    )

    line_NT = text.phrase(*combinations(line, words_N[:, None], moves_NT))
    for turn in range(moves_NT.shape[1]):
        played_N = moves_NT[:, turn] > 0
        name_N = np.where(games.named_NT[:, turn], players[turn % 2], roles[turn % 2])
        text.add(np.where(played_N, name_N, nothing), np.where(played_N, line_NT[:, turn], nothing))

    shown = roles if wording == "roles_old" else players
    blank = "" if wording == "plain" else "\n"
    last_lines = [w.turn_phrase.split("{player}") for w in words]
    text.add(
        text.phrase([blank + start for start, _ in last_lines], words_N),
        np.where(sum_turns(moves_NT > 0) % 2 == 1, shown[1], shown[0]),
        text.phrase([end for _, end in last_lines], words_N),
    )
    return text


class Game(NamedTuple):
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

    def columns(self) -> dict[str, Any]:
        """What the prompt tells, by column of the dataset."""
        pile = self.pile
        return {
            "coins": self.coins,
            "max_remove": self.max_remove,
            "trace": self.trace,
            "pile": pile,
            "move": optimal_move(pile, self.max_remove),
            "player_one": self.player_one,
            "player_two": self.player_two,
        }

    def holdout_keys(self) -> dict[str, Hashable]:
        """What may be held out: the game whatever the names, or the final pile."""
        return {"game": (self.coins, self.trace), "pile": self.pile}

    def options(self) -> dict[int, str]:
        """The answer for each move, 1 to `max_remove`, and for none (-1)."""
        moves = (NO_WINNING_MOVE, *range(1, self.max_remove + 1)) if self.max_remove <= MAX_REMOVE_LIMIT else ()
        return {move: answer_text(self.wording, self.words, move) for move in moves}

    def spans(self, prompt: str) -> dict[str, list[tuple[int, int]]]:
        """Of the coins, `max_remove`, each move of the trace, and each time that a player's name is shown."""
        found: dict[str, list[tuple[int, int]]] = {}
        before, between, after = WORDINGS[self.wording]
        words, names = self.words, (self.player_one, self.player_two)
        end = 0

        def place(text: str, item: str, value: object) -> None:
            """`value` follows `text`, which follows what was placed before."""
            nonlocal end
            start = end + len(text)
            end = start + len(str(value))
            found.setdefault(item, []).append((start, end))

        place(f"You are playing the game of {words.game}. There are ", "coins", self.coins)
        place(f" {words.coin}s.\n{before}", PLAYERS[0], names[0])
        place(between, PLAYERS[1], names[1])
        place(f"{after}Each player can {words.verb} between 1 and ", "max_remove", self.max_remove)
        text = f" {words.coin}s on their turn.\n\nSo far:\n"
        for turn, move in enumerate(self.trace):
            if self.named is None or self.named[turn]:
                place(text, PLAYERS[turn % 2], names[turn % 2])
                text = ""
            else:
                text += ROLES[turn % 2]
            place(f"{text} {words.verb} ", "moves", move)
            text = counted(move, words.coin, singular=self.wording != "roles_old")[len(str(move)) :] + ".\n"
        if self.wording != "roles_old":
            mover = len(self.trace) % 2
            blank = "" if self.wording == "plain" else "\n"
            place(text + blank + words.turn_phrase.partition("{player}")[0], PLAYERS[mover], names[mover])
        return found


def render_prompt(game: Game) -> str:
    """The prompt of one game."""
    return render_games([game])[0]


def render_games(games: Sequence[Game]) -> list[str]:
    """The prompts of games of any wording, in order. Memory is linear in their length: traces are alike in a batch."""
    prompts = [""] * len(games)
    for wording in {game.wording for game in games}:
        index = [i for i, game in enumerate(games) if game.wording == wording]
        for batch in alike(sorted(index, key=lambda i: len(games[i].trace)), [len(game.trace) for game in games]):
            rendered = render_batch(wording, [games[i] for i in batch])
            for i, prompt in zip(batch, rendered, strict=True):
                prompts[i] = prompt
    return prompts


def alike(index: list[int], turns: list[int]) -> Iterator[list[int]]:
    """Cuts `index`, which ascends by `turns`, wherever these have doubled, so that padding at most doubles a batch."""
    start = 0
    for stop in range(1, len(index) + 1):
        if stop == len(index) or turns[index[stop]] > 2 * max(turns[index[start]], 8):
            yield index[start:stop]
            start = stop


def render_batch(wording: str, games: list[Game]) -> list[str]:
    """The prompts of games of one wording."""
    table = {words: i for i, words in enumerate(dict.fromkeys(game.words for game in games))}
    turns = max(len(game.trace) for game in games)
    moves_NT = np.zeros((len(games), turns), dtype=np.int32)
    named_NT = np.ones((len(games), turns), dtype=bool)
    for row, game in enumerate(games):
        moves_NT[row, : len(game.trace)] = game.trace
        if game.named is not None:
            named_NT[row, : len(game.trace)] = game.named
    coins_N, max_remove_N = (np.array([getattr(game, name) for game in games]) for name in ("coins", "max_remove"))
    pile_N = coins_N - sum_turns(moves_NT)
    columns = NimGames(
        move_N=optimal_move(pile_N, max_remove_N),
        coins_N=coins_N,
        max_remove_N=max_remove_N,
        moves_NT=moves_NT,
        pile_N=pile_N,
        words_N=np.array([table[game.words] for game in games]),
        named_NT=named_NT,
    )
    first_N, second_N = (pa.array([getattr(game, side) for game in games]) for side in ("player_one", "player_two"))
    return lay_out_prompts(wording, tuple(table), columns, first_N, second_N).join().to_pylist()
