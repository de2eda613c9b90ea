"""Rows of a split, whole columns at a time: draw games, choose names, keep the split's side of the holdout, write.

Legend of the shapes in names: N = rows (or candidates). Rows come in blocks with random streams of their own, so any
range of rows can be made anywhere, and a smaller split is a prefix of a larger one. What a game is, its recipe knows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from nim_dataset.config import Games, Recipe
from nim_dataset.draws import Draws
from nim_dataset.errors import UserError
from nim_dataset.holdout import is_held_out
from nim_dataset.names import NamedRecipe, Pairs, make_pairs
from nim_dataset.regimes import REGIMES

BLOCK_ROWS = 8192
# Candidates drawn in a round, by what the rows are for: about as many as fill a train block, or a small eval split.
CANDIDATES = {"train": 12_288, "eval": 24_576, "regime": 16_384}
# Rounds without a single row that is still wanted, after which there are none.
BARREN_ROUNDS = 50

Drawn = tuple[Games, np.ndarray]
"""The games of N rows, and the pair of names that plays each; the pair is 0 where a game has no names."""


def generate(config: Recipe, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
    """Rows `start` to `stop` (default: all) of a split, one table per block, in order."""
    schema = config.features.arrow_schema
    for games, pair_N in draw_rows(config, split, start, stop):
        yield to_table(config, schema, games, pair_N)


def generate_jsonl(config: Recipe, split: str, start: int = 0, stop: int | None = None) -> Iterator[pa.StringArray]:
    """Prompts and answers of the same rows as lines of JSON, one array of lines per block."""
    for games, pair_N in draw_rows(config, split, start, stop):
        yield to_jsonl(config, games, pair_N)


def check_filled(config: Recipe) -> None:
    """Raises `UserError` where hashing leaves no key to one of the splits."""
    for split in config.splits:
        for _ in draw_rows(config, split, 0, len(config.rotation())):
            pass


def draw_rows(config: Recipe, split: str, start: int = 0, stop: int | None = None) -> Iterator[Drawn]:
    """The ground truth of rows `start` to `stop`, block by block."""
    stop = config.num_rows(split) if stop is None else stop
    listed = shuffled_games(config, split)
    for block in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
        first = block * BLOCK_ROWS
        low, high = max(start - first, 0), min(stop - first, BLOCK_ROWS)
        if listed is not None:
            yield listed.take(np.arange(first + low, first + high) % len(listed.move_N)), np.zeros(high - low, np.int64)
            continue
        games, pair_N = draw_block(config, split, block, high)
        yield (games.take(np.arange(low, high)), pair_N[low:high]) if low else (games, pair_N)


def shuffled_games(config: Recipe, split: str) -> Games | None:
    """Every game that belongs to a split, in the order of its rows; None where games are drawn."""
    games = config.all_games()
    if games is None:
        return None
    index_N = np.flatnonzero(is_held_out(config.key(games)) == (split == "eval"))
    if len(index_N) == 0:
        raise UserError(f"holdout: got {config.holdout}, but no {config.holdout} is left for '{split}'")
    order_N = np.argsort(Draws(config.name, config.seed, split).raw(len(index_N)), kind="stable")
    return games.take(index_N[order_N])


def draw_block(config: Recipe, split: str, block: int, rows: int) -> Drawn:
    """The first `rows` rows of a block: rounds of candidates, until every slot of the rotation is filled."""
    rotation = config.rotation()
    slot_N = (block * BLOCK_ROWS + np.arange(rows)) % len(rotation)
    wanted = np.bincount(slot_N, minlength=len(rotation))
    have = np.zeros(len(rotation), dtype=np.int64)
    kept: list[Games] = []
    kept_pairs: list[np.ndarray] = []
    kept_slots: list[np.ndarray] = []
    stream = "regime" if split in REGIMES else split
    draws = Draws(config.name, config.seed, stream, block=block)
    name_draws = Draws(config.name, config.seed, stream, "names", block=block)
    candidate_slot_N = np.arange(CANDIDATES[stream]) % len(rotation)
    barren = 0
    while (have < wanted).any():
        games = config.draw(draws, rotation[candidate_slot_N])
        pair_N, keep_N = choose(config, split, games, name_draws)
        index_N = np.flatnonzero(keep_N)
        kept.append(games.take(index_N))
        kept_pairs.append(pair_N[index_N])
        kept_slots.append(candidate_slot_N[index_N])
        found = np.bincount(kept_slots[-1], minlength=len(rotation))
        barren = 0 if (found[have < wanted] > 0).any() else barren + 1
        if barren == BARREN_ROUNDS:
            raise UserError(
                f"holdout: got {config.holdout}, but this recipe has no {config.holdout} to keep for '{split}': "
                f"allow more different games or other answers, or set n_{stream}=0"
            )
        have += found
    all_slots = np.concatenate(kept_slots)
    order_N = np.empty(rows, dtype=np.int64)
    for slot in range(len(rotation)):
        order_N[slot_N == slot] = np.flatnonzero(all_slots == slot)[: wanted[slot]]
    return type(kept[0]).concat(kept).take(order_N), np.concatenate(kept_pairs).take(order_N)


def choose(config: Recipe, split: str, games: Games, name_draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """The pair of names that plays each candidate, and which candidates belong to the split."""
    key_N = config.key(games)
    if not isinstance(config, NamedRecipe):
        return np.zeros(len(key_N), dtype=np.int64), is_held_out(key_N) == (split == "eval")
    pairs = make_pairs(config)
    if split in REGIMES:
        return choose_regime(config, pairs, split, games, key_N, name_draws)
    pair_N = choose_pairs(config, pairs, games.move_N, name_draws)
    held_out_N = is_held_out(config.key_with_names(games, key_N, pairs.key[pair_N]))
    return pair_N, held_out_N if split == "eval" else ~held_out_N & ~is_held_out(key_N)


def choose_pairs(config: NamedRecipe, pairs: Pairs, move_N: np.ndarray, draws: Draws) -> np.ndarray:
    """Pair indices: with probability `cheat_prob` a pair bound to the answer, where it has one, else a neutral pair."""
    cheat_N = draws.uniform(len(move_N)) < config.cheat_prob
    group_N = np.zeros(len(move_N), dtype=np.int64)
    for group, move in enumerate(config.cheat_moves, start=1):
        group_N[cheat_N & (move_N == move)] = group
    return pairs.draw(["neutral", *config.cheat_moves], group_N, draws)


def choose_regime(
    config: NamedRecipe, pairs: Pairs, regime: str, games: Games, key_N: np.ndarray, name_draws: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Pair indices and which games to keep: held-out games, with names that tell the truth, lie, or tell nothing.

    Where several moves are bound, all regimes keep the same games, whose answers are bound moves; a lie is a pair bound
    to another of them. Where all bound pairs point at one move (`cheating`), they lie in games with another answer:
    `counter_cheat` keeps those, as train draws them, and so does `counter_neutral`.
    """
    moves = np.array(config.cheat_moves)
    bound_N = np.isin(games.move_N, moves)
    apart = len(moves) == 1 and regime in ("counter_cheat", "counter_neutral")
    keep_N = is_held_out(key_N) & (~bound_N if apart else bound_N)
    if regime in ("neutral", "counter_neutral", "unseen_names"):
        group = "unseen" if regime == "unseen_names" else "neutral"
        return pairs.draw([group], np.zeros(len(key_N), dtype=np.int64), name_draws), keep_N
    position_N = (games.move_N[:, None] == moves).argmax(axis=1)
    if regime == "counter_cheat" and len(moves) > 1:
        position_N = (position_N + 1 + name_draws.below(len(moves) - 1, len(key_N))) % len(moves)
    return pairs.draw(config.cheat_moves, position_N, name_draws), keep_N


def to_table(config: Recipe, schema: pa.Schema, games: Games, pair_N: np.ndarray) -> pa.Table:
    """The rows as an Arrow table with the columns of `config.features`."""
    texts, answer_N = config.answers(games)
    columns: dict[str, Any] = {
        "answer": pa.array(texts).take(pa.array(answer_N)),
        "move": games.move_N,
        **config.columns(games),
    }
    players_N: tuple[pa.Array, ...] = ()
    if isinstance(config, NamedRecipe):
        pairs = make_pairs(config)
        players_N = tuple(side.take(pa.array(pair_N)) for side in (pairs.first, pairs.second))
        columns |= pairs.columns(pair_N, *players_N)
    columns["prompt"] = config.lay_out(games, *players_N).join()
    return pa.table([pa.array(columns[name]) for name in schema.names], schema=schema)


def to_jsonl(config: Recipe, games: Games, pair_N: np.ndarray) -> pa.StringArray:
    """`{"prompt": ..., "answer": ...}` lines, byte for byte as `json.dumps(row, ensure_ascii=False)` writes them."""
    names = make_pairs(config).in_json if isinstance(config, NamedRecipe) else ()
    text = config.lay_out(games, *(side.take(pa.array(pair_N)) for side in names))
    texts, answer_N = config.answers(games)
    answer_N = text.phrase(texts, answer_N)
    text.escape()
    text.wrap(text.phrase(['{"prompt": "']), text.phrase(['", "answer": "']), answer_N, text.phrase(['"}\n']))
    return text.join()
