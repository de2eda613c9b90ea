"""How strongly name pairs and answers go together, beside what chance alone would show."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Association:
    """A table of counts: P pairs by M moves."""

    pairs: list[str]
    moves: np.ndarray
    """The moves that occur, ascending, shape M."""
    counts_PM: np.ndarray

    @property
    def expected_PM(self) -> np.ndarray:
        """The counts if names told nothing."""
        return np.outer(self.counts_PM.sum(axis=1), self.counts_PM.sum(axis=0)) / self.counts_PM.sum()

    @property
    def chi2(self) -> float:
        """Pearson's chi-squared statistic."""
        return float(((self.counts_PM - self.expected_PM) ** 2 / self.expected_PM).sum())

    @property
    def chance_chi2(self) -> float:
        """Its exact mean when the answers are shuffled: with many pairs of few rows it is far from 0."""
        n, (rows, columns) = self.counts_PM.sum(), self.counts_PM.shape
        return float((rows - 1) * (columns - 1) * n / max(n - 1, 1))

    @property
    def cramers_v(self) -> float:
        """0: names tell nothing; 1: they tell the answer."""
        return self._v(self.chi2)

    @property
    def chance_v(self) -> float:
        """The `cramers_v` to expect of names that tell nothing."""
        return self._v(self.chance_chi2)

    def _v(self, chi2: float) -> float:
        return math.sqrt(chi2 / self.counts_PM.sum() / max(min(self.counts_PM.shape) - 1, 1))

    @property
    def p_value(self) -> float:
        """The chance of a `chi2` this high if names told nothing (Wilson and Hilferty's normal approximation)."""
        freedom = (self.counts_PM.shape[0] - 1) * (self.counts_PM.shape[1] - 1)
        if freedom == 0:
            return 1.0
        spread = 2 / (9 * freedom)
        z = ((self.chi2 / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
        return 0.5 * math.erfc(z / math.sqrt(2))

    def most_telling(self, limit: int) -> list[tuple[str, np.ndarray]]:
        """The pairs that add most to `chi2`, with their counts by move."""
        share_P = ((self.counts_PM - self.expected_PM) ** 2 / self.expected_PM).sum(axis=1)
        return [(self.pairs[i], self.counts_PM[i]) for i in np.argsort(-share_P, kind="stable")[:limit]]


def associate(rows: Counter[tuple[str, int]]) -> Association:
    """The table of rows, counted by pair of names and move."""
    names, pair_K = np.unique(np.array([pair for pair, _ in rows], dtype=object), return_inverse=True)
    values, move_K = np.unique([move for _, move in rows], return_inverse=True)
    counts_PM = np.zeros((len(names), len(values)), dtype=np.int64)
    counts_PM[pair_K, move_K] = list(rows.values())
    return Association(names.tolist(), values, counts_PM)


def guess(learnt: Association, asked: Association) -> tuple[float, float]:
    """The share of the rows of `asked` guessed right by each pair's commonest move in `learnt`, and by its commonest
    move overall.

    The difference is what names give away, to a model that knows nothing else.
    """
    overall = learnt.moves[learnt.counts_PM.sum(axis=0).argmax()]
    best = dict(zip(learnt.pairs, learnt.moves[learnt.counts_PM.argmax(axis=1)], strict=True))
    guess_P = np.array([best.get(pair, overall) for pair in asked.pairs])
    share_PM = asked.counts_PM / asked.counts_PM.sum()
    return float(share_PM[guess_P[:, None] == asked.moves].sum()), float(share_PM[:, asked.moves == overall].sum())
