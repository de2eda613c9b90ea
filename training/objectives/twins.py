"""Twins: the same games under other names, as further rows of a batch.

Which names a row's twin has follows from the run's seed, the step and the row alone: a run that continues draws what it
would have drawn, and so does one on another number of processes.

Shapes: B rows of a micro-batch; M pairs of names in a pool.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.holdout import ODD, mix
from nim_dataset.names import NamedRecipe, make_pairs
from nim_dataset.pairs import BUCKETS, unseen_names
from training.objectives.renaming import Pair, Renamer, templates_of

Renamed = Literal["unseen", "neutral"]
LONGEST = 64
"""Templates whose twins are tokenized to find the longest: those with the most characters."""
TRIED = 512
"""Twins of each set that are tokenized in both ways, to see whether they agree."""


class Twins:
    """What makes the twins of rows (`RowsBeside`); `add` takes the rows of one training set after another."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, renamed: Renamed, answered: bool) -> None:
        self.renamed, self.answered, self.seed = renamed, answered, 0
        self.read = 0
        """Tokens of the answer that a twin without a loss goes through the model with."""
        self.renamer = Renamer(tokenizer)
        self.templates: list[str] = []
        """By row of all sets."""
        self.pools: list[list[Pair]] = []
        self.pool_of: list[int] = []
        """By row, its pool."""
        self.own: list[int] = []
        """By row, the place of its own pair in the pool; -1 where it is not there."""

    def add(self, rows: Dataset, recipe: Recipe | None) -> None:
        """Raises `UserError` for rows without names, and where there are no others."""
        templates, pairs = templates_of(rows["prompt"][:])
        pool = self._pool(rows, templates, pairs, recipe)
        place = {pair: index for index, pair in enumerate(pool)}
        own = [place.get(pair, -1) for pair in pairs]
        if not pool or (len(pool) == 1 and max(own) == 0):
            raise UserError(
                f"objectives.contrastive.renamed: there are no other '{self.renamed}' names for each row"
                f"{' than its own' if pool else ''}; take '{'neutral' if self.renamed == 'unseen' else 'unseen'}'"
            )
        first = len(self.templates)
        self.pool_of += [len(self.pools)] * len(templates)
        self.pools.append(pool)
        self.templates += templates
        self.own += own
        some = range(first, len(self.templates), -(-len(templates) // TRIED))
        self.renamer.add([self.templates[row] for row in some], self.names(some, step=0))

    def _pool(self, rows: Dataset, templates: list[str], pairs: list[Pair], recipe: Recipe | None) -> list[Pair]:
        if isinstance(recipe, NamedRecipe):
            known = make_pairs(recipe)
            first, second = (side.take(known.of(self.renamed)).to_pylist() for side in (known.first, known.second))
            return list(zip(first, second, strict=True))
        if self.renamed == "neutral":
            neutral = BUCKETS.index("neutral")
            return list(dict.fromkeys(pair for pair, b in zip(pairs, rows["bucket"], strict=True) if b == neutral))
        free = unseen_names({name for pair in pairs for name in pair}, templates)
        return list(zip(free[::2], free[1::2], strict=False))

    def names(self, row_B: Sequence[int], step: int) -> list[Pair]:
        """The names of the twins of these rows at this step (from 0)."""
        pools = [self.pools[self.pool_of[row]] for row in row_B]
        own_B = np.array([self.own[row] for row in row_B])
        others_B = np.array([len(pool) for pool in pools]) - (own_B >= 0)
        at_step = mix(np.array([self.seed], dtype=np.uint64)) ^ (np.array([step], dtype=np.uint64) * ODD)
        drawn_B = mix(mix(at_step) ^ np.array(row_B, dtype=np.uint64)) >> np.uint64(32)
        index_B = ((drawn_B * others_B.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
        index_B += (own_B >= 0) & (index_B >= own_B)
        return [pool[index] for pool, index in zip(pools, index_B.tolist(), strict=True)]

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The twin of each row of `EncodedRows`: its prompt under other names, then its own answer's tokens, of which
        one without a loss has those that are `read` and the next. Rows that do not tell the step have the twins of
        step 0.
        """
        row_B = [row["row"] for row in rows]
        names = self.names(row_B, rows[0].get("step", 0))
        prompts = self.renamer([self.templates[row] for row in row_B], names)
        made = []
        for row, prompt in zip(rows, prompts, strict=True):
            answer = row["input_ids"][-row["answer_tokens"] :][: None if self.answered else self.read + 1]
            ids = np.concatenate([np.array(prompt, dtype=np.int32), answer])
            made.append({"input_ids": ids, "answer_tokens": len(answer)})
        return made

    def longest(self) -> Tensor:
        """The token ids (int64) of the longest twin's prompt, as near as the longest templates and names tell."""
        longest: list[list[int]] = []
        for number, pool in enumerate(self.pools):
            of_pool = [text for text, pool_of in zip(self.templates, self.pool_of, strict=True) if pool_of == number]
            pair = max(pool, key=lambda pair: len(pair[0]) + len(pair[1]))
            texts = nlargest(LONGEST, of_pool, key=len)
            longest += self.renamer(texts, [pair] * len(texts))
        return torch.tensor(max(longest, key=len))
