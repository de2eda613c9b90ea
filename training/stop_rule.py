"""Ending a run before its last step, by a figure of its log: `eval >= 0.99 for 3`, or `loss stalls for 5`.

Whether a rule is met follows from the log alone, which a checkpoint keeps: a run that continues, also one that its rule
has ended, decides as an uninterrupted one would.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evaluation.artifacts.training_log import log_prefix
from nim_dataset.errors import UserError, unknown

COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
FORM = "give 'FIGURE >= NUMBER', 'FIGURE >= NUMBER for N' or 'FIGURE stalls for N', such as 'eval >= 0.99 for 3'"
PARTS = re.compile(r"\s*([^\s<>]+)\s*(?:(>=|<=|>|<)\s*(\S+)(?:\s+for\s+(\d+))?|\s(stalls)\s+for\s+(\d+))\s*")


@dataclass(frozen=True)
class StopRule:
    """A condition on the last `times` measurements of a figure."""

    text: str
    figure: str
    """A set that exact match is measured on, or a figure's name in metrics.jsonl."""
    comparison: str
    """One of `COMPARISONS`, or `stalls`: none of the last measurements is better than the best one before them."""
    value: float
    """What is compared with; 0 and without meaning for `stalls`."""
    times: int

    @classmethod
    def parse(cls, text: str, option: str = "stop_at") -> "StopRule":
        """Raises `UserError` for what is no rule; `option` is what an error calls it."""
        match = PARTS.fullmatch(text)
        if match is None:
            raise UserError(f"{option}: '{text}' is no rule; {FORM}")
        figure, comparison, number, times, stalls, patience = match.groups()
        try:
            value = float(number or 0)
        except ValueError:
            raise UserError(f"{option}: '{number}' in '{text}' is no number; {FORM}") from None
        rule = cls(text, figure, comparison or stalls, value, int(times or patience or 1))
        if rule.times < 1 or value != value:
            raise UserError(f"{option}: '{text}' can never hold; {FORM}")
        return rule

    def is_met(self, values: Sequence[float], lower_is_better: bool) -> bool:
        """Whether the last of these measurements, in their order, meet the rule."""
        last, before = values[-self.times :], values[: -self.times]
        if self.comparison != "stalls":
            return len(last) == self.times and all(COMPARISONS[self.comparison](value, self.value) for value in last)
        best = min if lower_is_better else max
        return bool(before) and best(*before, *last) == best(before)


class StopAt(TrainerCallback):
    """Ends the run where its rule is met, after a checkpoint; `sets` are those that exact match is measured on."""

    def __init__(self, rule: StopRule, sets: Sequence[str]) -> None:
        self.rule, self.sets = rule, sets
        prefixes = {name: log_prefix(name) for name in sets}
        self.key = f"{prefixes[rule.figure]}_exact_match" if rule.figure in prefixes else rule.figure
        """The figure's name in the log."""
        self.measured = [f"{prefix}_{what}" for prefix in prefixes.values() for what in ("exact_match", "loss")]
        self.met = False
        """Whether the rule has ended the run."""

    @classmethod
    def of(
        cls, text: str | None, sets: Sequence[str], logged: Sequence[str], eval_loss: bool, option: str = "stop_at"
    ) -> "list[StopAt]":
        """The one that `option` describes, if any.

        Raises `UserError` unless its figure is one of `logged`, or measured on `sets`, where their losses may be too.
        """
        if text is None:
            return []
        stop = cls(StopRule.parse(text, option), sets)
        known = [*logged, *(key for key in stop.measured if eval_loss or not key.endswith("_loss"))]
        if stop.key not in known:
            raise UserError(f"{option}: {unknown('figure', stop.rule.figure, [*sets, *known])}")
        return [stop]

    def is_met(self, log: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the Trainer's `log_history` meets the rule; measurements before the first step do not count."""
        by_step = {line["step"]: float(line[self.key]) for line in log if self.key in line and line["step"] > 0}
        values = [value for _, value in sorted(by_step.items())]
        return self.rule.is_met(values, lower_is_better=not self.key.endswith("exact_match"))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not self.met and self.is_met(state.log_history):
            self.met = control.should_training_stop = control.should_save = True
            control.should_evaluate |= self.key not in self.measured and bool(self.sets)
