"""What the figures of a set are called in a run's metrics.jsonl: `eval_exact_match` of `eval`, else `eval_NAME_...`."""

from collections.abc import Mapping
from typing import Any


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
