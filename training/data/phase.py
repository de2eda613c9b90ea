"""A part of a run that draws from the same sets, and the `phases:` of a YAML file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nim_dataset.errors import UserError, unknown
from training.stop_rule import StopRule

STRATEGIES = ("first_exhausted", "all_exhausted")


@dataclass(frozen=True)
class Phase:
    """A part of a run that draws from the same sets.

    phases:
      - {data: ['468'], steps: 1500, until: eval >= 0.95}
      - {data: ['357', '468'], weights: [0.8, 0.2], steps: 1500}
    """

    data: tuple[str, ...]
    """Recipes or JSONL files, as `train_data` names them."""
    weights: tuple[float, ...] = ()
    """The share of rows that each set gives; none: all are joined whole."""
    steps: int = -1
    """Optimizer steps; below 1, in a run of one phase: as many as `num_train_epochs` passes take."""
    stopping_strategy: str = "first_exhausted"
    """When one pass over weighted sets ends: when the first set is used up, or (`all_exhausted`) the last."""
    until: str | None = None
    """A rule as `stop_at` takes it, which ends the phase before its `steps`: one step after the measurement that meets
    it, since the rows of that step are on their way already."""
    anew: bool = False
    """Whether optimizer and schedule start anew, warm-up included; else they go on, over the steps of all phases."""
    rule: StopRule | None = field(init=False, compare=False)
    """`until`, read."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", StopRule.parse(self.until, "until") if self.until is not None else None)

    def described(self) -> dict[str, Any]:
        """What a YAML file says of it; what is as by default is left out."""
        said: dict[str, Any] = {"data": list(self.data), "steps": self.steps}
        given = {name: getattr(self, name) for name in ("weights", "stopping_strategy", "until", "anew")}
        defaults = {"weights": (), "stopping_strategy": "first_exhausted", "until": None, "anew": False}
        said |= {name: value for name, value in given.items() if value != defaults[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def read_phases(where: str, value: Any) -> list[Phase]:
    """The phases that a YAML file lists; `where` names the file in errors. Raises `UserError`."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: phases: expected a list such as [{{data: ['357'], steps: 100}}], got {value!r}")
    phases = [_read_phase(f"{where}: phases: number {place}", each) for place, each in enumerate(value, start=1)]
    if phases[0].anew:
        raise UserError(f"{where}: phases: number 1: anew: nothing was before it; leave it out")
    return phases


def sets_of(settings: Mapping[str, Any]) -> list[str]:
    """What a run with these settings, as its config.yaml holds them, trains on."""
    phases = settings.get("phases")
    return (
        list(dict.fromkeys(spec for each in phases for spec in each["data"]))
        if phases
        else settings.get("train_data", [])
    )


def _read_phase(where: str, value: Any) -> Phase:
    known = ("data", "weights", "steps", "stopping_strategy", "until", "anew")
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected a map with {', '.join(known)}, got {value!r}")
    for key in value:
        if key not in known:
            raise UserError(f"{where}: {unknown('key', str(key), known)}")
    data, weights = (_texts(where, "data", value.get("data"))), value.get("weights", [])
    steps, strategy = value.get("steps"), value.get("stopping_strategy", "first_exhausted")
    if type(steps) is not int or steps < 1:
        raise UserError(f"{where}: steps: {steps!r} is not a number of steps of at least 1")
    if weights and (not isinstance(weights, list) or len(weights) != len(data) or not all(map(_is_share, weights))):
        raise UserError(f"{where}: weights: expected a number above 0 for each of {list(data)}, got {weights!r}")
    if strategy not in STRATEGIES:
        raise UserError(f"{where}: stopping_strategy: {unknown('choice', str(strategy), STRATEGIES)}")
    if strategy != STRATEGIES[0] and not weights:
        raise UserError(f"{where}: stopping_strategy: '{strategy}' is for a mixture; give weights too")
    if not isinstance(value.get("anew", False), bool):
        raise UserError(f"{where}: anew: {value['anew']!r} is neither true nor false")
    until = value.get("until")
    try:
        return Phase(
            data,
            tuple(map(float, weights)),
            steps,
            strategy,
            None if until is None else str(until),
            value.get("anew", False),
        )
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    texts: Sequence[Any] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if not texts or not all(isinstance(text, str | int) for text in texts):
        raise UserError(f"{where}: {key}: expected recipes or files, such as ['357'], got {value!r}")
    return tuple(map(str, texts))


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
