"""How far each phase of a run reaches, and what changes where the next one begins.

A phase with `until` ends one step after the measurement that meets its rule. Which step that is follows from the log
alone, which a checkpoint keeps, so a run that continues switches where an uninterrupted one would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.data.phase import Phase
from training.data.phases import PhaseRows, phase_at
from training.stop_rule import StopAt

Log = Sequence[Mapping[str, Any]]
"""The Trainer's `log_history`."""


class PhasePlan:
    """The phases of a run; `sets` are those that exact match is measured on."""

    def __init__(self, phases: Sequence[Phase], rows: Sequence[PhaseRows], sets: Sequence[str]) -> None:
        self.phases, self.rows = list(phases), list(rows)
        self.measured = bool(sets)
        """Whether there is anything to measure."""
        self.rules = [StopAt(phase.rule, sets) if phase.rule is not None else None for phase in phases]
        self._known: tuple[int, list[PhaseRows]] = (-1, self.rows)

    def now(self, log: Log) -> list[PhaseRows]:
        """The rows of each phase with as many steps as it has, as far as that is known."""
        if not any(self.rules):
            return self.rows
        if self._known[0] != len(log):
            self._known = (
                len(log),
                [replace(rows, steps=steps) for rows, steps in zip(self.rows, self._steps(log), strict=True)],
            )
        return self._known[1]

    def _steps(self, log: Log) -> list[int]:
        found: list[int] = []
        for phase, rule in zip(self.phases, self.rules, strict=True):
            start, steps = sum(found), phase.steps
            measured = sorted({line["step"] for line in log if rule is not None and rule.key in line})
            for step in measured:
                of_phase = [line for line in log if start < line["step"] <= step]
                if rule is not None and start < step < start + steps and rule.is_met(of_phase):
                    steps = step - start + 1
                    break
            found.append(steps)
        return found

    def steps(self, log: Log) -> list[int]:
        """The steps of each phase, as far as they are known."""
        return [rows.steps for rows in self.now(log)]

    def place(self, step: int, log: Log) -> int:
        """The phase, from 0, that step number `step` (from 1) belongs to."""
        return phase_at(self.steps(log), max(step - 1, 0))[0]

    def restarts(self, log: Log) -> list[int]:
        """The steps taken before each stretch of phases that share an optimizer and a schedule; the first is 0."""
        starts = [sum(self.steps(log)[:place]) for place in range(len(self.phases))]
        return [0, *(start for start, phase in zip(starts[1:], self.phases[1:], strict=True) if phase.anew)]

    def stretches(self) -> list[int]:
        """The planned steps of each stretch."""
        found = [0]
        for place, phase in enumerate(self.phases):
            if place and phase.anew:
                found.append(0)
            found[-1] += phase.steps
        return found

    def is_over(self, log: Log, step: int) -> bool:
        """Whether the last phase has had its steps; False for one phase without a rule, which the Trainer ends."""
        return (len(self.phases) > 1 or any(self.rules)) and step >= sum(self.steps(log))


class PhaseSwitch(TrainerCallback):
    """Where a phase begins anew, empties the optimizer; ends the run, after a checkpoint, with its last phase."""

    def __init__(self, plan: PhasePlan) -> None:
        self.plan = plan

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step in self.plan.restarts(state.log_history)[1:]:
            optimizer = kwargs["optimizer"]
            getattr(optimizer, "optimizer", optimizer).state.clear()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.plan.is_over(state.log_history, state.global_step):
            control.should_training_stop = control.should_save = True
            control.should_evaluate |= self.plan.measured
