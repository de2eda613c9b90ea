"""Starting from another run's checkpoint: `donor: {run: runs/NAME, at: first eval >= 0.95}`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.artifacts.run_folder import METRICS, is_over, list_checkpoints, step_of
from evaluation.artifacts.training_log import log_prefix
from nim_dataset.errors import UserError, suggest, unknown
from nim_dataset.files import read_jsonl
from training.stop_rule import StopRule

FORM = "give a step, 'last', or 'first RULE' such as 'first eval >= 0.95'"


@dataclass(frozen=True)
class Donor:
    """A run's weights to start from, with a fresh optimizer; an anchor to `start` holds on to them."""

    run: str
    """The run's folder."""
    at: str = "last"
    """A step; `last`; or `first` and a rule, as `stop_at` takes it: the first checkpoint at which it held."""

    @classmethod
    def read(cls, where: str, value: Any) -> "Donor":
        """What a YAML file says; raises `UserError`."""
        if not isinstance(value, Mapping) or "run" not in value:
            raise UserError(f"{where}: donor: expected a map such as {{run: runs/mod2, at: last}}, got {value!r}")
        for key in value:
            if key not in ("run", "at"):
                raise UserError(f"{where}: donor: {unknown('key', str(key), ('run', 'at'))}")
        return cls(str(value["run"]), str(value.get("at", "last")))

    def check(self) -> None:
        """Raises `UserError` where `at` can be no checkpoint of any run."""
        if self.at.startswith("first "):
            StopRule.parse(self.at.removeprefix("first "), "donor.at")
        elif self.at != "last" and not self.at.isdigit():
            raise UserError(f"donor.at: '{self.at}' is no checkpoint; {FORM}")

    def checkpoint(self) -> Path:
        """The folder of the weights; raises `UserError` where the run has no such checkpoint."""
        self.check()
        run = Path(self.run)
        checkpoints = {step_of(path): path for path in list_checkpoints(run)} if run.is_dir() else {}
        if not checkpoints and not (run.is_dir() and is_over(run)):
            near = suggest(str(run), map(str, run.parent.glob("*/")) if run.parent.is_dir() else [])
            raise UserError(f"donor.run: '{run}' is no run with a checkpoint{near}")
        if self.at == "last":
            if not is_over(run):
                raise UserError(f"donor.at: '{run}' is not over, so its last checkpoint may change; give a step")
            return run
        if self.at.startswith("first "):
            return checkpoints[self._first(run, checkpoints)]
        if int(self.at) not in checkpoints:
            raise UserError(f"donor.at: '{run}' has no checkpoint of step {self.at}; it has {sorted(checkpoints)}")
        return checkpoints[int(self.at)]

    def _first(self, run: Path, checkpoints: Mapping[int, Path]) -> int:
        rule = StopRule.parse(self.at.removeprefix("first "), "donor.at")
        logged = [row for _, row in read_jsonl(run / METRICS)] if (run / METRICS).is_file() else []
        names = (f"{log_prefix(rule.figure)}_exact_match", rule.figure)
        known = {key for row in logged for key in row}
        key = next((name for name in names if name in known), None)
        if key is None:
            raise UserError(f"donor.at: '{run}' has not logged '{rule.figure}'; it has {sorted(known - {'step'})}")
        # As for `stop_at`: what was measured before the first step does not count, nor does what was not finite.
        known_rows = (row for row in logged if row.get(key) is not None and row["step"] > 0)
        measured = {int(row["step"]): float(row[key]) for row in known_rows}
        values: list[float] = []
        for step, value in sorted(measured.items()):
            values.append(value)
            if step in checkpoints and rule.is_met(values, lower_is_better=not key.endswith("exact_match")):
                return step
        raise UserError(
            f"donor.at: '{rule.text}' held at no checkpoint of '{run}'; its last {rule.figure} is"
            f" {values[-1] if values else 'unknown'}; train it on, or lower the bar"
        )
