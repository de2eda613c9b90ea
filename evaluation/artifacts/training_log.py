"""What metrics.jsonl says: figures of a set (`eval_exact_match` of `eval`, else `eval_NAME_...`), the phases."""

from collections.abc import Mapping
from typing import Any

import pandas as pd


def log_prefix(name: str, prefix: str = "eval") -> str:
    """What begins the names of a set's figures."""
    return prefix if name == "eval" else f"{prefix}_{name}"


def exact_matches(line: Mapping[str, Any]) -> dict[str, Any]:
    """The exact match of each set in a line of the log, by the set's name."""
    return {
        key.removeprefix("eval_").removesuffix("exact_match").rstrip("_") or "eval": value
        for key, value in line.items()
        if key.startswith("eval_") and key.endswith("exact_match")
    }


def phase_switches(log: pd.DataFrame) -> dict[int, int]:
    """Phase from the second on -> the last step of the one before it, as far as they are logged; empty for one phase.

    `log` has a line per line of metrics.jsonl, with its `step`, and `phase` where the run has several.
    """
    if "phase" not in log:
        return {}
    ends = log.dropna(subset=["phase"]).groupby("phase")["step"].max().sort_index()
    return {int(phase): int(end) for phase, end in zip(ends.index[1:], ends.iloc[:-1], strict=True)}


def phase_of(step: int, switches: Mapping[int, int]) -> int:
    """The phase that a step is of, from what `phase_switches` gives."""
    return max((phase for phase, before in switches.items() if before < step), default=1)
