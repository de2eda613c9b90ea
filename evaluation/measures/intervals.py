"""A mean with its 95% interval, as the tables of measures keep it."""

from typing import Any

import numpy as np


def mean_interval(values_N: np.ndarray, lowest: float = -np.inf, highest: float = np.inf) -> dict[str, Any]:
    """n, value (the mean), low and high: the normal 95% interval, within `lowest` and `highest`; None for one row."""
    n, mean = len(values_N), float(values_N.mean())
    if n == 1:
        return {"n": 1, "value": mean, "low": None, "high": None}
    half = 1.96 * float(values_N.std(ddof=1)) / n**0.5
    return {"n": n, "value": mean, "low": max(mean - half, lowest), "high": min(mean + half, highest)}
