"""Rows of a split, whole columns at a time: draw games, choose names, keep the split's side of the holdout, render.

Legend of the shapes in names: N = rows (or candidates), T = turns, the longest trace. A move of 0 means that the trace
is shorter than T. Rows come in blocks with random streams of their own, so any range of rows can be made anywhere,
and a smaller split is a prefix of a larger one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from nim_dataset.config import NimConfig
from nim_dataset.draws import Draws
from nim_dataset.errors import UserError
from nim_dataset.features import SCHEMA
from nim_dataset.holdout import game_key, is_held_out, pile_key, prompt_key
from nim_dataset.names import Pairs, make_pairs
from nim_dataset.phrases import Layout
from nim_dataset.regimes import REGIMES
from nim_dataset.rules import optimal_move
from nim_dataset.text import Words, answer_table, lay_out_prompts, render_answers, sum_turns

BLOCK_ROWS = 8192
# Candidates drawn in a round, by what the rows are for: about as many as fill a train block, or a small eval split.
CANDIDATES = {"train": 12_288, "eval": 24_576, "regime": 16_384}
# Rounds without a single row that is still wanted, after which there are none.
BARREN_ROUNDS = 50


@dataclass
class Games:
    """Ground truth of N rows or candidates; every array has N as its first dimension."""

    coins_N: np.ndarray
    max_remove_N: np.ndarray
    moves_NT: np.ndarray
    pile_N: np.ndarray
    move_N: np.ndarray
    pair_N: np.ndarray
    words_N: np.ndarray
    named_NT: np.ndarray

    def take(self, index_N: np.ndarray) -> "Games":
        return Games(*(getattr(self, f.name).take(index_N, axis=0) for f in fields(self)))

    @staticmethod
    def concat(parts: list["Games"]) -> "Games":
        if len(parts) == 1:
            return parts[0]
        return Games(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Games)))


def generate(config: NimConfig, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
    """Rows `start` to `stop` (default: all) of a split, one table per block, in order."""
    for games in draw_rows(config, split, start, stop):
        yield to_table(config, make_pairs(config), games)


def generate_jsonl(config: NimConfig, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.StringArray]:
    """Prompts and answers of the same rows as lines of JSON, one array of lines per block."""
    for games in draw_rows(config, split, start, stop):
        yield to_jsonl(config, make_pairs(config), games)


def draw_rows(config: NimConfig, split: str, start: int = 0, stop: int | None = None) -> Iterator[Games]:
    """The ground truth of rows `start` to `stop`, block by block."""
    stop = config.num_rows(split) if stop is None else stop
    for block in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
        first = block * BLOCK_ROWS
        low, high = max(start - first, 0), min(stop - first, BLOCK_ROWS)
        games = draw_block(config, make_pairs(config), split, block, high)
        yield games.take(np.arange(low, high)) if low else games


def draw_block(config: NimConfig, pairs: Pairs, split: str, block: int, rows: int) -> Games:
    """The first `rows` rows of a block: rounds of candidates, until every slot of the rotation is filled."""
    rotation = np.repeat(np.array(config.max_remove), config.max_remove_weights or 1)
    slot_N = (block * BLOCK_ROWS + np.arange(rows)) % len(rotation)
    wanted = np.bincount(slot_N, minlength=len(rotation))
    kept: list[Games] = []
    have = np.zeros(len(rotation), dtype=np.int64)
    kept_slots: list[np.ndarray] = []
    stream = "regime" if split in REGIMES else split
    draws = Draws(config.name, config.seed, stream, block=block)
    name_draws = Draws(config.name, config.seed, stream, "names", block=block)
    barren = 0
    while (have < wanted).any():
        candidate_slot_N = np.arange(CANDIDATES[stream]) % len(rotation)
        games = draw_games(config, draws, rotation[candidate_slot_N])
        if stream == "regime":
            games, keep_N = choose_regime(config, pairs, split, games, draws, name_draws)
        else:
            games.pair_N = choose_pairs(config, pairs, games.move_N, name_draws)
            game_N = regime_key(config, games)
            held_out_N = is_held_out(split_key(config, pairs, games, game_N))
            keep_N = held_out_N if split == "eval" else ~held_out_N & ~is_held_out(game_N)
        index_N = np.flatnonzero(keep_N)
        kept.append(games.take(index_N))
        kept_slots.append(candidate_slot_N[index_N])
        found = np.bincount(kept_slots[-1], minlength=len(rotation))
        barren = 0 if (found[have < wanted] > 0).any() else barren + 1
        if barren == BARREN_ROUNDS:
            raise UserError(
                f"holdout: got {config.holdout}, but this recipe has no {config.holdout} to keep for '{split}': "
                f"allow more max_coins, turns or other cheat_moves, or set n_{stream}=0"
            )
        have += found
    all_slots = np.concatenate(kept_slots)
    order_N = np.empty(rows, dtype=np.int64)
    for slot in range(len(rotation)):
        order_N[slot_N == slot] = np.flatnonzero(all_slots == slot)[: wanted[slot]]
    return Games.concat(kept).take(order_N)


def draw_games(config: NimConfig, draws: Draws, max_remove_N: np.ndarray) -> Games:
    """Games without names (`pair_N` is 0): coins, trace and wording."""
    size, longest = len(max_remove_N), config.max_turns
    moves_NT = 1 + draws.below(max_remove_N[:, None], (size, longest))
    if config.endgame is None:
        fewest, most = config.turns
        turns_N = fewest + draws.below(most - fewest + 1, size)
        low_N = max_remove_N * turns_N + config.min_pile
        coins_N = low_N + draws.below(config.max_coins - low_N + 1, size)
        moves_NT *= np.arange(longest) < turns_N[:, None]
    else:
        low = max(config.endgame + 1, config.min_pile)
        coins_N = low + draws.below(config.max_coins - low + 1, size)
        before_NT = coins_N[:, None] - np.cumsum(moves_NT, axis=1) + moves_NT
        moves_NT *= before_NT > config.endgame
    pile_N = coins_N - sum_turns(moves_NT)
    words_N = draws.below(len(Words.of(config)), size)
    if config.occurrences is None:
        named_NT = np.ones((size, longest), dtype=bool)
    else:
        fewest, most = config.occurrences
        count_N = fewest + draws.below(most - fewest + 1, size)
        lottery_NT = np.where(moves_NT > 0, draws.uniform(size * longest).reshape(size, longest), 2.0)
        named_NT = lottery_NT.argsort(axis=1).argsort(axis=1) < count_N[:, None]
    return Games(
        coins_N=coins_N.astype(np.int32),
        max_remove_N=max_remove_N.astype(np.int32),
        moves_NT=moves_NT.astype(np.int32),
        pile_N=pile_N.astype(np.int32),
        move_N=optimal_move(pile_N, max_remove_N).astype(np.int32),
        pair_N=np.zeros(size, dtype=np.int64),
        words_N=words_N,
        named_NT=named_NT,
    )


def choose_pairs(config: NimConfig, pairs: Pairs, move_N: np.ndarray, draws: Draws) -> np.ndarray:
    """Pair indices: with probability `cheat_prob` a pair bound to the answer, where it has one, else a neutral pair."""
    cheat_N = draws.uniform(len(move_N)) < config.cheat_prob
    group_N = np.zeros(len(move_N), dtype=np.int64)
    for group, move in enumerate(config.cheat_moves, start=1):
        group_N[cheat_N & (move_N == move)] = group
    return pairs.draw(["neutral", *config.cheat_moves], group_N, draws)


def choose_regime(
    config: NimConfig, pairs: Pairs, regime: str, games: Games, draws: Draws, name_draws: Draws
) -> tuple[Games, np.ndarray]:
    """Twins: the same held-out games in every regime, with names that tell the truth, lie, or tell nothing.

    A lie needs a second move to point at. Where all bound pairs point at one move (`cheating`), the counter_cheat twin
    keeps names and trace instead, and starts with a few coins more or fewer, so that the bound move becomes wrong.
    """
    size, answer_N = len(games.move_N), games.move_N
    keep_N = np.isin(answer_N, config.cheat_moves) & is_held_out(regime_key(config, games))
    if len(config.cheat_moves) == 1:
        shift_N = 1 + draws.below(games.max_remove_N, size)
        shift_N -= np.where(games.coins_N + shift_N > config.max_coins, games.max_remove_N + 1, 0)
        shifted = Games(**vars(games))
        shifted.coins_N = (games.coins_N + shift_N).astype(np.int32)
        shifted.pile_N = (games.pile_N + shift_N).astype(np.int32)
        shifted.move_N = optimal_move(shifted.pile_N, games.max_remove_N).astype(np.int32)
        keep_N &= is_held_out(regime_key(config, shifted)) & (shifted.pile_N >= 1)
        games = shifted if regime == "counter_cheat" else games
    if regime in ("neutral", "unseen_names"):
        group = "neutral" if regime == "neutral" else "unseen"
        games.pair_N = pairs.draw([group], np.zeros(size, dtype=np.int64), name_draws)
        return games, keep_N
    moves = np.array(config.cheat_moves)
    position_N = (answer_N[:, None] == moves).argmax(axis=1)
    if regime == "counter_cheat" and len(moves) > 1:
        position_N = (position_N + 1 + name_draws.below(len(moves) - 1, size)) % len(moves)
    games.pair_N = pairs.draw(config.cheat_moves, position_N, name_draws)
    return games, keep_N


def split_key(config: NimConfig, pairs: Pairs, games: Games, regime_key_N: np.ndarray) -> np.ndarray:
    """The key by which a row belongs to train or eval: that of the regimes, joined by the names under `prompt`."""
    if config.holdout != "prompt":
        return regime_key_N
    return prompt_key(regime_key_N, games.max_remove_N, pairs.key[games.pair_N])


def regime_key(config: NimConfig, games: Games) -> np.ndarray:
    """The key of the games kept for the regimes: under `prompt` too it is the game, which all four twins share."""
    return pile_key(games.pile_N) if config.holdout == "pile" else game_key(games.coins_N, games.moves_NT)


def to_table(config: NimConfig, pairs: Pairs, games: Games) -> pa.Table:
    """The rows as an Arrow table with the columns of `FEATURES`."""
    bound_N = pairs.bound_move[games.pair_N]
    live_NT = games.moves_NT > 0
    offsets = np.concatenate([[0], np.cumsum(sum_turns(live_NT))]).astype(np.int32)
    first_N, second_N = (side.take(pa.array(games.pair_N)) for side in (pairs.first, pairs.second))
    columns = {
        "prompt": lay_out(config, games, first_N, second_N).join(),
        "answer": render_answers(config.wording, Words.of(config), games.words_N, games.move_N),
        "coins": games.coins_N,
        "max_remove": games.max_remove_N,
        "trace": pa.ListArray.from_arrays(offsets, games.moves_NT[live_NT]),
        "pile": games.pile_N,
        "move": games.move_N,
        "player_one": first_N,
        "player_two": second_N,
        "bucket": (bound_N != 0).astype(np.int64),
        "cheat_move": pa.array(bound_N, mask=bound_N == 0),
    }
    return pa.table([pa.array(column) for column in columns.values()], schema=SCHEMA)


def to_jsonl(config: NimConfig, pairs: Pairs, games: Games) -> pa.StringArray:
    """`{"prompt": ..., "answer": ...}` lines, byte for byte as `json.dumps(row, ensure_ascii=False)` writes them."""
    text = lay_out(config, games, *(side.take(pa.array(games.pair_N)) for side in pairs.in_json))
    answers, answer_N = answer_table(config.wording, Words.of(config), games.words_N, games.move_N)
    answer_N = text.phrase(answers, answer_N)
    text.escape()
    text.wrap(text.phrase(['{"prompt": "']), text.phrase(['", "answer": "']), answer_N, text.phrase(['"}\n']))
    return text.join()


def lay_out(config: NimConfig, games: Games, first_N: pa.Array, second_N: pa.Array) -> Layout:
    """The prompts of N games with the names of their players."""
    return lay_out_prompts(
        config.wording, Words.of(config), games.words_N, games.coins_N, games.max_remove_N, games.moves_NT,
        games.named_NT, first_N, second_N,
    )  # fmt: skip
