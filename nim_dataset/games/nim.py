"""One-pile Nim, in which whoever takes the last coin wins: options and draws; its text is in `nim_text.py`.

With `k = max_remove`, a pile that is a multiple of `k + 1` is lost for the player to move; from every other pile the
one winning move is `pile mod (k + 1)`, which leaves such a multiple to the opponent (Bouton 1901; Ferguson, *Game
Theory*, part I, section 1.2).

Legend of the shapes in names: N = rows (or candidates), T = turns, the longest trace. A move of 0 means that the trace
is shorter than T.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nim_dataset.blocks import check_filled, nothing_left
from nim_dataset.draws import Draws
from nim_dataset.games.nim_parsing import parse_prompts
from nim_dataset.games.nim_text import (
    MAX_COINS_LIMIT,
    MAX_REMOVE_LIMIT,
    NO_WINNING_MOVE,
    ROLES,
    WORDINGS,
    Game,
    NimGames,
    Words,
    answer_text,
    lay_out_prompts,
    optimal_move,
    render_games,
    sum_turns,
)
from nim_dataset.games.registry import register
from nim_dataset.holdout import HELDOUT_SHARE, ODD, is_held_out, mix
from nim_dataset.names import NamedRecipe
from nim_dataset.pairs import NAME_COLUMNS, NUMBER_WORDS
from nim_dataset.phrases import Layout, combinations
from nim_dataset.regimes import REGIMES

MAX_TURNS_LIMIT = 64
MAX_ROTATION = 1000
MAX_WORDS = 10_000
# Recipes with fewer games (or piles) than this are tried out: hashing may leave no key to one of their splits. So are
# those with an endgame, where some answers may never occur.
SMALL = 5000


@functools.lru_cache(maxsize=32)
def combine(*choices: tuple[str, ...]) -> tuple[Words, ...]:
    """Every combination of words."""
    return tuple(Words(*combination) for combination in itertools.product(*choices))


@register("nim")
@dataclass(eq=False)
class NimConfig(NamedRecipe[NimGames]):
    """The options of a Nim recipe, those of its names and sizes included."""

    about: ClassVar[str] = (
        "one-pile Nim, to see whether it learns the rule (the winning move is `pile mod (max_remove + 1)`) or the"
        " shortcut (pairs of player names that betray the answer)."
    )
    features: ClassVar[datasets.Features] = datasets.Features(
        {
            "prompt": datasets.Value("string"),
            "answer": datasets.Value("string"),
            "coins": datasets.Value("int32"),
            "max_remove": datasets.Value("int32"),
            "trace": datasets.List(datasets.Value("int32")),
            "pile": datasets.Value("int32"),
            "move": datasets.Value("int32"),
            **NAME_COLUMNS,
        }
    )
    holdouts: ClassVar[tuple[str, ...]] = ("prompt", "game", "pile")
    """The whole prompt, the game (coins and trace, whatever the names) or the final pile."""

    max_remove: tuple[int, ...] = (4,)
    """The most coins a player may take on a turn; with several values each row has one of them, in rotation."""
    max_remove_weights: tuple[int, ...] | None = None
    """How many rows of each rotation go to each `max_remove`; None means one each."""
    max_coins: int = 400
    """The largest pile at the start, in coins."""
    min_pile: int = 10
    """The pile at the start exceeds `max_remove * turns`, the most that the trace can take, by at least this."""
    turns: tuple[int, int] = (4, 4)
    """The fewest and the most moves in the trace. Ignored when `endgame` is set."""
    endgame: int | None = None
    """Play on until at most this many coins are left, instead of a number of `turns`."""
    occurrences: tuple[int, int] | None = None
    """The fewest and the most trace lines that show the name, not "Player ONE" or "Player TWO"; None means all."""
    wording: str = "plain"
    """`plain` (357), `roles` (cheating) or `roles_old` (numocc4): introduction, last line and plurals."""
    game_words: tuple[str, ...] = ("nim",)
    """What the game is called; each row draws one."""
    coin_words: tuple[str, ...] = ("coin",)
    """The singular of what is taken; the plural adds an s. Each row draws one."""
    verbs: tuple[str, ...] = ("take",)
    """What a player does with coins; each row draws one."""
    turn_phrases: tuple[str, ...] = ("Now it's {player}'s turn.",)
    """The last line; each row draws one."""

    @property
    def max_turns(self) -> int:
        """The longest trace that can occur, in moves."""
        return self.turns[1] if self.endgame is None else self.max_coins - self.endgame

    @property
    def words(self) -> tuple[Words, ...]:
        """Every combination of the recipe's words."""
        return combine(self.game_words, self.coin_words, self.verbs, self.turn_phrases)

    @property
    def texts(self) -> tuple[str, ...]:
        return (*self.game_words, *self.coin_words, *self.verbs, *self.turn_phrases)

    def all_moves(self) -> set[int]:
        return {NO_WINNING_MOVE, *range(1, max(self.max_remove) + 1)}

    def deciding(self, split: str) -> dict[str, Any]:
        found = super().deciding(split)
        if set(self.max_remove_weights or ()) == {1}:
            found["max_remove_weights"] = None
        if split != "eval" and self.holdout == "prompt":
            found["holdout"] = "game"
        if self.endgame is not None:
            found |= {"turns": None, "min_pile": self.lowest_start}
        return found

    @property
    def lowest_start(self) -> int:
        """With an `endgame`: the fewest coins at the start."""
        assert self.endgame is not None
        return max(self.endgame + 1, self.min_pile)

    # What is allowed

    def check(self) -> None:
        self.check_rules()
        smallest = min(self.max_remove)
        for move in self.cheat_moves:
            allowed = f"with max_remove={self.max_remove} a move is -1 or 1 to {smallest}"
            self.require(move == NO_WINNING_MOVE or 1 <= move <= smallest, "cheat_moves", allowed, move)
        super().check()
        self.check_words()
        self.check_read_back()
        games = {k: self.count_games(k) for k in self.max_remove}
        # A bound pair only occurs with its own move, one answer of k + 1.
        prompts = sum(int(n * (self.total_pairs - self.num_bound * k / (k + 1))) for k, n in games.items())
        kept_back = HELDOUT_SHARE * (1 - (1 - HELDOUT_SHARE) ** 2 if self.holdout == "pile" else 1)
        limit = int(prompts * kept_back)
        share = f"this recipe has {prompts} different prompts, of which one in {round(1 / kept_back)} is held out"
        self.require(self.n_eval <= limit, "n_eval", f"{share}: at most {limit} is allowed")
        keys = self.max_coins if self.holdout == "pile" else min(games.values())
        if keys < SMALL or self.endgame is not None:
            self.check_piles()
            check_filled(self)

    def check_piles(self) -> None:
        """Raises `UserError` where no pile suits a split, which `check_filled` would search for long."""
        for k, split in itertools.product(self.max_remove, self.splits):
            if self.endgame is None:
                pile_P = np.arange(self.min_pile, self.max_coins + 1)
            else:
                pile_P = np.arange(self.endgame + 1 - k, self.endgame + 1)
            kept_P = np.full(len(pile_P), True)
            if self.holdout == "pile":
                kept_P = is_held_out(pile_key(pile_P)) == (split != "train")
            if split in REGIMES:
                kept_P &= self.asks(split, optimal_move(pile_P, k))
            if not kept_P.any():
                raise nothing_left(self, split)

    def check_rules(self) -> None:
        ks, weights = self.max_remove, self.max_remove_weights
        self.require(len(ks) > 0, "max_remove", "at least one value is needed")
        allowed = f"values from 1 to {MAX_REMOVE_LIMIT} are allowed"
        self.require(all(1 <= k <= MAX_REMOVE_LIMIT for k in ks), "max_remove", allowed)
        self.require(len(set(ks)) == len(ks), "max_remove", "each value may be given once")
        if weights is not None:
            self.require(len(weights) == len(ks), "max_remove_weights", f"one for each of max_remove={ks} is needed")
            allowed = f"whole numbers from 1 that add up to at most {MAX_ROTATION} are allowed"
            self.require(min(weights) >= 1 and sum(weights) <= MAX_ROTATION, "max_remove_weights", allowed)
        self.require(1 <= self.max_coins <= MAX_COINS_LIMIT, "max_coins", f"1 to {MAX_COINS_LIMIT} is allowed")
        self.require(self.min_pile >= 1, "min_pile", "at least 1 is needed, so that a move remains")
        if self.endgame is not None:
            self.require(self.endgame >= max(ks), "endgame", f"at least max(max_remove)={max(ks)} is needed")
            self.require(self.endgame < self.max_coins, "endgame", f"it must be below max_coins={self.max_coins}")
            most = f"at most {self.endgame + MAX_TURNS_LIMIT} is allowed ({MAX_TURNS_LIMIT} turns)"
            self.require(self.max_turns <= MAX_TURNS_LIMIT, "max_coins", f"with endgame={self.endgame} {most}")
            return
        self.require(len(self.turns) == 2, "turns", "the fewest and the most are needed, as 2+4")
        low, high = self.turns
        allowed = f"0 <= fewest <= most <= {MAX_TURNS_LIMIT} is needed"
        self.require(0 <= low <= high <= MAX_TURNS_LIMIT, "turns", allowed)
        need = max(ks) * high + self.min_pile
        needed = f"{high} turns of up to {max(ks)} coins and min_pile={self.min_pile} need {need} coins"
        self.require(need <= self.max_coins, "turns", f"{needed}, above max_coins={self.max_coins}")

    def check_words(self) -> None:
        self.one_of("wording", tuple(WORDINGS))
        if self.occurrences is not None:
            self.require(self.wording != "plain", "occurrences", "wording=plain has no roles to show instead")
            self.require(len(self.occurrences) == 2, "occurrences", "the fewest and the most are needed, as 0+4")
            low, high = self.occurrences
            allowed = f"0 <= fewest <= most <= {self.max_turns} (the longest trace) is needed"
            self.require(0 <= low <= high <= self.max_turns, "occurrences", allowed)
        for field in ("game_words", "coin_words", "verbs"):
            words = getattr(self, field)
            self.require(len(words) > 0, field, "at least one is needed")
            allowed = "a word is printable text without a full stop" + ("" if field == "game_words" else " or space")
            for word in words:
                clean = word.strip() == word and word.isprintable() and word != "" and "." not in word
                self.require(clean and (field == "game_words" or " " not in word), field, allowed, repr(word))
        self.require(len(self.turn_phrases) > 0, "turn_phrases", "at least one is needed")
        several = math.prod(len(words) for words in (self.game_words, self.coin_words, self.verbs, self.turn_phrases))
        allowed = f"with the other words they make {several} combinations, and {MAX_WORDS} are allowed"
        self.require(several <= MAX_WORDS, "turn_phrases", allowed, f"{len(self.turn_phrases)} phrases")
        names = NUMBER_WORDS if self.name_source == "number_words" else "-".join(self.names).split("-")
        for phrase in self.turn_phrases:
            fits = phrase.count("{player}") == 1 and phrase.isprintable()
            self.require(fits, "turn_phrases", "each is one line that contains {player} once", repr(phrase))
            for name in (*names, *ROLES):
                free = name not in phrase.replace("{player}", "\n")
                self.require(free, "turn_phrases", f"a name must not occur in it, and '{name}' does", repr(phrase))

    def check_read_back(self) -> None:
        """Raises `UserError` unless prompts with each name and each word are parsed to the game that they show."""
        if self.name_source == "number_words":
            pairs = [(" ".join(NUMBER_WORDS[: self.name_digits]), " ".join(NUMBER_WORDS[-self.name_digits :]))]
        elif self.name_source == "pairs":
            pairs = [(one, two) for one, two in (entry.split("-") for entry in self.names)]
        else:
            pairs = list(zip(self.names, self.names[1:] + self.names[:1], strict=True))
        shown = [("names", names, "-".join(names), Words(turn_phrase=t)) for names in pairs for t in self.turn_phrases]
        for part, field in (("game", "game_words"), ("coin", "coin_words"), ("verb", "verbs")):
            shown += [(field, pairs[0], word, Words(**{part: word})) for word in getattr(self, field)]
        for trace in ((), (1,), (1, 1)):
            games = [Game(9, 1, trace, *names, wording=self.wording, words=words) for _, names, _, words in shown]
            found = parse_prompts(render_games(games))
            for (field, _, value, _), game, parsed in zip(shown, games, found, strict=True):
                self.require(game == parsed, field, "prompts with it cannot be read back", repr(value))

    def count_games(self, k: int) -> int:
        """How many different games (coins at the start and trace) there are for one `max_remove`, in closed form."""
        if self.endgame is not None:
            # Traces that first bring the pile to `endgame` or below: a k-step Fibonacci-like recurrence over the pile.
            endings = [1] * (self.endgame + 1)
            for pile in range(self.endgame + 1, self.max_coins + 1):
                endings.append(sum(endings[pile - move] for move in range(1, k + 1)))
            return sum(endings[self.lowest_start :])
        low, high = self.turns
        return sum((self.max_coins - (k * n + self.min_pile) + 1) * k**n for n in range(low, high + 1))

    # Games

    def rotation(self) -> np.ndarray:
        """The `max_remove` of each row of a rotation."""
        return np.repeat(np.array(self.max_remove), self.max_remove_weights or 1)

    def draw(self, draws: Draws, max_remove_N: np.ndarray) -> NimGames:
        """Coins, trace and wording."""
        size, longest = len(max_remove_N), self.max_turns
        moves_NT = 1 + draws.below(max_remove_N[:, None], (size, longest))
        if self.endgame is None:
            fewest, most = self.turns
            turns_N = fewest + draws.below(most - fewest + 1, size)
            low_N = max_remove_N * turns_N + self.min_pile
            coins_N = low_N + draws.below(self.max_coins - low_N + 1, size)
            moves_NT *= np.arange(longest) < turns_N[:, None]
        else:
            low = self.lowest_start
            coins_N = low + draws.below(self.max_coins - low + 1, size)
            before_NT = coins_N[:, None] - np.cumsum(moves_NT, axis=1) + moves_NT
            moves_NT *= before_NT > self.endgame
        pile_N = coins_N - sum_turns(moves_NT)
        words_N = draws.below(len(self.words), size)
        if self.occurrences is None:
            named_NT = np.ones((size, longest), dtype=bool)
        else:
            fewest, most = self.occurrences
            count_N = fewest + draws.below(most - fewest + 1, size)
            lottery_NT = np.where(moves_NT > 0, draws.uniform(size * longest).reshape(size, longest), 2.0)
            named_NT = lottery_NT.argsort(axis=1).argsort(axis=1) < count_N[:, None]
        return NimGames(
            move_N=optimal_move(pile_N, max_remove_N).astype(np.int32),
            coins_N=coins_N.astype(np.int32),
            max_remove_N=max_remove_N.astype(np.int32),
            moves_NT=moves_NT.astype(np.int32),
            pile_N=pile_N.astype(np.int32),
            words_N=words_N,
            named_NT=named_NT,
        )

    def key(self, games: NimGames) -> np.ndarray:
        """Under `pile` a hash of the coins that are left; else of the game."""
        return pile_key(games.pile_N) if self.holdout == "pile" else self.game_key(games)

    def game_key(self, games: NimGames) -> np.ndarray:
        """Of coins and trace, which all twins share."""
        key_N = games.coins_N.astype(np.uint64)
        with np.errstate(over="ignore"):
            for moves_N in games.moves_NT.T:
                key_N = np.where(moves_N > 0, key_N * ODD + moves_N.astype(np.uint64), key_N)
        return mix(key_N)

    def prompt_key(self, games: NimGames, game_key_N: np.ndarray, pair_key_N: np.ndarray) -> np.ndarray:
        """Of all that a prompt tells in any wording: the game, `max_remove`, both names."""
        with np.errstate(over="ignore"):
            return mix(game_key_N * ODD + games.max_remove_N.astype(np.uint64) + pair_key_N)

    def columns(self, games: NimGames) -> dict[str, Any]:
        live_NT = games.moves_NT > 0
        offsets = np.concatenate([[0], np.cumsum(sum_turns(live_NT))]).astype(np.int32)
        return {
            "coins": games.coins_N,
            "max_remove": games.max_remove_N,
            "trace": pa.ListArray.from_arrays(offsets, games.moves_NT[live_NT]),
            "pile": games.pile_N,
        }

    @classmethod
    def chance(cls, rows: pa.Table) -> pa.ChunkedArray:
        return pc.divide(1.0, pc.add(rows["max_remove"], 1))

    # Text

    def lay_out(self, games: NimGames, *players_N: pa.Array) -> Layout:
        return lay_out_prompts(self.wording, self.words, games, *players_N)

    def answers(self, games: NimGames) -> tuple[list[str], np.ndarray]:
        def write(word: int, move: int) -> str:
            return answer_text(self.wording, self.words[word], move + NO_WINNING_MOVE)

        return combinations(write, games.words_N, games.move_N - NO_WINNING_MOVE)

    @classmethod
    def parse(cls, prompts: Sequence[str]) -> list["Game | None"]:
        return parse_prompts(prompts)

    def overview(self) -> dict[str, str]:
        return {
            "regime": f"{self.n_regime:,}" if self.cheat_moves else "-",
            "max_remove": ", ".join(map(str, self.max_remove)),
            "pairs": f"{self.total_pairs:,}",
            "bound": f"{self.num_bound:,}",
            "cheat_moves": ", ".join(map(str, self.cheat_moves)) or "-",
        }

    def note(self, row: dict[str, Any]) -> str:
        told = "names tell nothing"
        if row["cheat_move"] is not None:
            truth = "the answer" if row["cheat_move"] == row["move"] else "a wrong move"
            told = f"names say {row['cheat_move']}: {truth}"
        return f"{row['pile']} coins left; {told}"


def pile_key(pile_N: np.ndarray) -> np.ndarray:
    """A hash of the coins that are left, uint64 of shape N."""
    return mix(~pile_N.astype(np.uint64))
