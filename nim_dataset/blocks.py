"""The games of a split, block by block: candidates are drawn, and those that belong to the split are kept.

Legend of the shapes in names: N = rows (or candidates). Blocks have random streams of their own, so any range of rows
can be made anywhere, and a smaller split is a prefix of a larger one. What a game is, and who may play it, the recipe
knows.
"""

from collections.abc import Iterator

import numpy as np

from nim_dataset.config import Games, Recipe
from nim_dataset.draws import Draws
from nim_dataset.errors import UserError
from nim_dataset.holdout import is_held_out
from nim_dataset.regimes import REGIMES

BLOCK_ROWS = 8192
# Candidates drawn in a round, by what the rows are for: about as many as fill a train block, or a small eval split.
CANDIDATES = {"train": 12_288, "eval": 24_576, "regime": 16_384}
# Rounds without a single row that is still wanted, after which there are none.
BARREN_ROUNDS = 50

Drawn = tuple[Games, np.ndarray]
"""The games of N rows, and the pair of names that plays each; the pair is 0 where a game has no names."""


def check_filled(config: Recipe) -> None:
    """Raises `UserError` where hashing leaves no key to one of the splits."""
    for split in config.splits:
        for _ in draw_rows(config, split, 0, len(config.rotation())):
            pass


def draw_rows(config: Recipe, split: str, start: int = 0, stop: int | None = None) -> Iterator[Drawn]:
    """The ground truth of rows `start` to `stop`, block by block."""
    stop = config.num_rows(split) if stop is None else stop
    if start >= stop:
        return
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
        pair_N, keep_N = config.choose(split, games, name_draws)
        index_N = np.flatnonzero(keep_N)
        kept.append(games.take(index_N))
        kept_pairs.append(pair_N[index_N])
        kept_slots.append(candidate_slot_N[index_N])
        found = np.bincount(kept_slots[-1], minlength=len(rotation))
        barren = 0 if (found[have < wanted] > 0).any() else barren + 1
        if barren == BARREN_ROUNDS:
            raise nothing_left(config, split)
        have += found
    all_slots = np.concatenate(kept_slots)
    order_N = np.empty(rows, dtype=np.int64)
    for slot in range(len(rotation)):
        order_N[slot_N == slot] = np.flatnonzero(all_slots == slot)[: wanted[slot]]
    return type(kept[0]).concat(kept).take(order_N), np.concatenate(kept_pairs).take(order_N)


def nothing_left(config: Recipe, split: str) -> UserError:
    """The error of a split that no game of the recipe belongs to."""
    return UserError(
        f"holdout: got {config.holdout}, but this recipe has no {config.holdout} to keep for '{split}': "
        f"allow more different games or other answers, or set n_{'regime' if split in REGIMES else split}=0"
    )
