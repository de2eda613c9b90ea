"""`sweep.json`: how a report folder was made, so that a sweep can continue it, and refuses to mix in something else."""

import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import datasets
import torch
import transformers

from evaluation.artifacts.models import Checkpoint
from evaluation.artifacts.report_folder import ReportFolder
from evaluation.process.settings import ProcessSettings
from nim_dataset.errors import UserError


def versions() -> dict[str, str]:
    """Of Python and of the libraries that a prediction goes through."""
    modules = {module.__name__: module.__version__ for module in (torch, transformers, accelerate, datasets)}
    return {"python": platform.python_version(), **modules}


@dataclass
class SweepSettings:
    """The content of `sweep.json`."""

    checkpoints_dir: str
    """As given: a folder or a Hub id."""
    limit: int | None
    """At most so many rows of each set."""
    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Set -> `EvalSet.describe()`."""
    checkpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Checkpoint -> step; weights: `Checkpoint.fingerprint` of what was scored; digest: `weights_digest`."""
    notes: list[str] = field(default_factory=list)
    """What the page says of these checkpoints."""
    versions: dict[str, str] = field(default_factory=versions)
    """Library -> version, of the latest sweep into the folder."""
    process: dict[str, Any] = field(default_factory=lambda: ProcessSettings.current().record())
    """Threads, matrix products and so on of the latest sweep; see `ProcessSettings`."""

    def continued(self, report: ReportFolder) -> "SweepSettings":
        """These settings, with the sets and checkpoints that the report folder already holds.

        Raises `UserError` when the folder was made in another way, and says what differs.
        """
        output = report.path
        try:
            found = report.read_settings()
            before = None if found is None else SweepSettings(**found)
            changed = [
                name
                for name, now in self.datasets.items()
                if before and before.datasets.get(name, now)["sha256"] != now["sha256"]
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            path = output / "sweep.json"
            raise UserError(f"{path}: cannot be read: remove the folder, or choose another --output") from None
        if before is None:
            if not report.is_empty():
                raise UserError(f"--output {output}: exists, and no sweep made it (no sweep.json): choose another")
            return self
        differences = [
            f"{name} was {old}, now {new}"
            for name, old, new in (
                ("--limit", before.limit, self.limit),
                ("--checkpoints-dir", before.checkpoints_dir, self.checkpoints_dir),
            )
            if old != new and not (isinstance(old, str) and Path(old).resolve() == Path(str(new)).resolve())
        ]
        differences += [f"the rows of {name} are not those that were scored" for name in changed]
        if differences:
            raise UserError(f"--output {output}: was made otherwise ({'; '.join(differences)}): choose another")
        self.datasets = {**before.datasets, **self.datasets}
        self.checkpoints = before.checkpoints
        return self

    def check_weights(self, checkpoints: Iterable[Checkpoint], output: Path) -> None:
        """Raises `UserError` when a checkpoint that was scored has other weights now: the run was trained anew."""
        for checkpoint in checkpoints:
            entry = self.checkpoints.get(checkpoint.name)
            if entry is not None and entry["weights"] != checkpoint.fingerprint():
                raise UserError(
                    f"--output {output}: holds results of another {checkpoint.name} (its weights have changed): "
                    "remove the folder, or choose another"
                )

    def add(self, checkpoint: Checkpoint, digest: str) -> list[str]:
        """Records a checkpoint that is about to be scored; returns the others that hold the same weights."""
        entry = {"step": checkpoint.step, "weights": checkpoint.fingerprint(), "digest": digest}
        self.checkpoints[checkpoint.name] = entry
        return [name for name in self._alike().get(digest, []) if name != checkpoint.name]

    def _alike(self) -> dict[str, list[str]]:
        """Digest -> checkpoints, in order of step, where these are several."""
        alike: dict[str, list[str]] = {}
        for name, entry in sorted(self.checkpoints.items(), key=lambda item: item[1]["step"]):
            if digest := entry.get("digest"):
                alike.setdefault(digest, []).append(name)
        return {digest: names for digest, names in alike.items() if len(names) > 1}

    def write(self, report: ReportFolder) -> None:
        self.notes = [
            f"{', '.join(names[:-1])} and {names[-1]} hold identical weights, so these results are one model's."
            for names in self._alike().values()
        ]
        report.write_settings(asdict(self))
