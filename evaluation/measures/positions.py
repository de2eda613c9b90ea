"""Where things stand in a prompt, in tokens: each player, the coins, `max_remove`, each move, the decision.

    from evaluation.measures.positions import positions

    found = positions(prompts, tokenizer)
    found.at("player_one first")  # (N, 1, 2): the first and the last token of the first player's first occurrence
    found.at("names")  # (N, K, 2): of each occurrence of either player
    found.at("decision")  # (N, 1, 2): the last token of the prompt, after which the answer begins

A game says where its items stand in its text (`Position.spans`); the tokenizer says which characters are a token.
Tokens count from 0 at the start of `tokenizer(prompt, add_special_tokens=False)`: whoever pads on the left, or puts a
special token before, adds as many. An item that a prompt lacks stands at -1.

Shapes: N prompts, K occurrences of an item in the prompt that has most, T tokens of the longest prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from transformers import PreTrainedTokenizerBase

from evaluation.measures.measure import CannotMeasureError
from nim_dataset.config import Position
from nim_dataset.errors import UserError, unknown
from nim_dataset.games import parse_prompts

DECISION = "decision"
NAMES = ("player_one", "player_two")


@dataclass(frozen=True)
class Positions:
    """Where things stand in N prompts."""

    ids: list[list[int]]
    """The tokens of each prompt, without special tokens."""
    items: dict[str, np.ndarray]
    """Item -> (N, K, 2): first and last token of each occurrence; -1 where a prompt has no such occurrence. In Nim
    `player_one`, `player_two`, `coins`, `max_remove` and `moves` (of the trace); `decision` in any prompt."""

    @property
    def tokens_N(self) -> np.ndarray:
        """How many tokens each prompt has."""
        return np.array([len(row) for row in self.ids], dtype=np.int64)

    def at(self, where: str) -> np.ndarray:
        """First and last token, (N, K, 2), of all occurrences of an item, or, with K = 1, of one of them.

        `where` is an item, or an item with `first`, `last` or a number from 1: `player_one last`, `moves 2`. `names` is
        an item too, of both players' occurrences. Raises `UserError` for an item that none of the prompts has.
        """
        item, _, which = where.partition(" ")
        known = [*(["names"] if set(NAMES) <= set(self.items) else []), *self.items]
        if item not in known:
            raise UserError(f"'{where}': {unknown('item', item, known)}")
        if item == "names":
            spans_NK2 = np.concatenate([self.items[name] for name in NAMES], axis=1)
        else:
            spans_NK2 = self.items[item]
        if not which:
            return spans_NK2
        there_N = (spans_NK2[:, :, 0] >= 0).sum(axis=1)
        if which not in ("first", "last") and not (which.isdigit() and int(which) >= 1):
            raise UserError(f"'{where}': after an item comes first, last, or a number from 1")
        index_N = there_N - 1 if which == "last" else np.full(len(there_N), 0 if which == "first" else int(which) - 1)
        padded_NK2 = np.concatenate([spans_NK2, np.full((len(there_N), 1, 2), -1)], axis=1)
        last = padded_NK2.shape[1] - 1
        index_N = np.where((index_N >= 0) & (index_N < there_N), index_N, last)
        return padded_NK2[np.arange(len(there_N)), index_N][:, None]

    def mask(self, where: str) -> np.ndarray:
        """Which tokens belong to it: (N, T) of bool."""
        spans_NK2 = self.at(where)
        token_T = np.arange(self.tokens_N.max(initial=0))
        first_NK1, last_NK1 = spans_NK2[:, :, :1], spans_NK2[:, :, 1:]
        belongs_NKT = (token_T >= first_NK1) & (token_T <= last_NK1) & (first_NK1 >= 0)
        return np.asarray(belongs_NKT.any(axis=1))


def positions(
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    games: Sequence[Position | None] | None = None,
) -> Positions:
    """Where things stand in each prompt; `games` are those that the prompts tell, where they are parsed already.

    Of a prompt that tells no game, only the decision is known. Raises `CannotMeasureError` for a tokenizer that does
    not tell which characters a token stands for, `UserError` for one text where a list belongs.
    """
    if isinstance(prompts, str):
        raise UserError("prompts: one text, where a list of them belongs; put it into brackets")
    if not tokenizer.is_fast:
        kind = type(tokenizer).__name__
        raise CannotMeasureError(
            f"{kind} does not tell which characters a token stands for; save it with tokenizer.json"
        )
    games = parse_prompts(prompts)[0] if games is None else games
    encoded = tokenizer(list(prompts), add_special_tokens=False, return_offsets_mapping=True)
    ids: list[list[int]] = encoded["input_ids"]
    tokens_N = np.array([len(row) for row in ids], dtype=np.int64)
    spans = [game.spans(prompt) if game else {} for game, prompt in zip(games, prompts, strict=True)]
    # All prompts as one text, each followed by a gap, so that one search finds the tokens of all spans.
    begin_N = np.concatenate([[0], np.cumsum([len(prompt) + 1 for prompt in prompts])]).astype(np.int64)[:-1]
    offsets = np.array(list(chain.from_iterable(encoded["offset_mapping"])), dtype=np.int64).reshape(-1, 2)
    offsets += np.repeat(begin_N, tokens_N)[:, None]
    first_token_N = np.cumsum(tokens_N) - tokens_N

    found: dict[str, np.ndarray] = {}
    for item in dict.fromkeys(chain.from_iterable(spans)):
        row_M = np.array([row for row, at in enumerate(spans) for _ in at.get(item, ())], dtype=np.int64)
        place_M = np.array([place for at in spans for place, _ in enumerate(at.get(item, ()))], dtype=np.int64)
        text_M2 = np.array([span for at in spans for span in at.get(item, ())], dtype=np.int64).reshape(-1, 2)
        start_M, stop_M = (text_M2 + begin_N[row_M, None]).T
        spans_NK2 = np.full((len(prompts), int(place_M.max(initial=-1)) + 1, 2), -1)
        spans_NK2[row_M, place_M, 0] = np.searchsorted(offsets[:, 1], start_M, side="right") - first_token_N[row_M]
        spans_NK2[row_M, place_M, 1] = np.searchsorted(offsets[:, 0], stop_M, side="left") - 1 - first_token_N[row_M]
        found[item] = spans_NK2
    found[DECISION] = np.repeat(tokens_N[:, None, None] - 1, 2, axis=2)
    return Positions(ids, found)
