"""An experiment: one or several runs that differ in their seed, and what a page asks of them together."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from evaluation.report.scored_run import ScoredRun, split_of
from evaluation.report.story import Story
from nim_dataset.errors import UserError
from nim_dataset.regimes import REGIMES


@dataclass(frozen=True)
class Experiment:
    """Runs of one experiment. Several are taken as seeds of the same thing: lines are means, bands reach from the
    lowest to the highest run; of a single run, bands are the 95% Wilson interval."""

    runs: list[ScoredRun]

    @classmethod
    def read(cls, folders: list[Path]) -> "Experiment":
        return cls([ScoredRun.read(folder) for folder in folders])

    @property
    def name(self) -> str:
        first = self.runs[0].name
        return first if len(self.runs) == 1 else f"{first} and {len(self.runs) - 1} more"

    @cached_property
    def stories(self) -> list[Story]:
        """The milestones of each run."""
        return [Story.of(run) for run in self.runs]

    @property
    def datasets(self) -> list[str]:
        """Every dataset that all runs, or some, have scored."""
        return list(dict.fromkeys(name for run in self.runs for name in run.datasets))

    @property
    def steps(self) -> list[int]:
        return sorted({step for run in self.runs for step in run.checkpoints})

    @cached_property
    def about_nim(self) -> bool:
        """Whether some dataset is of Nim: results by `max_remove`, or a regime.

        A table that was imported holds no groups, which would tell; it is taken for one of Nim.
        """
        if not self.groups("max_remove").empty or any(split_of(name) in REGIMES for name in self.datasets):
            return True
        return any(run.groups("overall")["n"].isna().any() for run in self.runs)

    @property
    def no_winning_move(self) -> tuple[int, ...]:
        """The moves that are shown whether or not they occur: in Nim -1, "no winning move"."""
        return (-1,) if self.about_nim else ()

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """`results.csv` over all runs: n and correct summed, accuracy averaged, low and high as the class says."""
        if len(self.runs) == 1:
            return self.runs[0].results
        # A seed that was not scored at some step would bend the mean there: only steps that every run has are kept.
        together = pd.concat([run.results.assign(run=index) for index, run in enumerate(self.runs)])
        place = ["step", "dataset"]
        runs_here = together.groupby(place)["run"].transform("nunique")
        runs_with_dataset = together.groupby("dataset")["run"].transform("nunique")
        together = together[runs_here == runs_with_dataset]
        shared = set.intersection(*(set(run.checkpoints) for run in self.runs))
        together = together[together["step"].isin(shared)]
        if together.empty:
            names = ", ".join(str(run.folder) for run in self.runs)
            raise UserError(f"{names}: no step in common, so no bands can be drawn; compare them with --compare")
        grouped = together.groupby(["step", "dataset", "dimension", "group"], sort=False)
        pooled = grouped.agg(
            checkpoint=("checkpoint", "first"),
            n=("n", "sum"),
            correct=("correct", "sum"),
            accuracy=("accuracy", "mean"),
            low=("accuracy", "min"),
            high=("accuracy", "max"),
        )
        return pooled.reset_index().sort_values("step", kind="stable", ignore_index=True)

    def groups(self, dimension: str) -> pd.DataFrame:
        """The lines of `pooled` of one dimension."""
        return self._dimensions.get(dimension, self.pooled.iloc[:0])

    @cached_property
    def _dimensions(self) -> dict[Hashable, pd.DataFrame]:
        return dict(iter(self.pooled.groupby("dimension", sort=False)))

    def curve(self, dataset: str, group: str = "exact_match", dimension: str = "overall") -> pd.DataFrame:
        """One line per step with accuracy, low and high, without the steps where the accuracy is unknown."""
        rows = self._curves.get((dimension, dataset, group))
        return self.pooled.iloc[:0] if rows is None else rows

    @cached_property
    def _curves(self) -> dict[tuple[Hashable, ...], pd.DataFrame]:
        """Every curve by dimension, dataset and group: the table is long, and searched for hundreds of them."""
        place = ["dimension", "dataset", "group"]
        rows = self.pooled.drop_duplicates([*place, "step"], keep="last").dropna(subset=["accuracy"])
        return dict(iter(rows.groupby(place, sort=False)))

    def table(self, measure: str, keys: Sequence[str], value: str = "value") -> pd.DataFrame:
        """A measure's own table over all runs, one line for each step, dataset and value of `keys`, ordered by step.

        Of several runs `value` (and chance, where there is one) is the mean, low and high are the lowest and the
        highest run, n is the sum, and only steps that all runs have are kept.
        """
        numbers = ["n", value, "low", "high", *(["chance"] if value == "accuracy" else [])]
        tables = [run.table(measure, [*keys, *numbers]) for run in self.runs]
        if len(tables) == 1:
            return tables[0]
        place = ["step", "dataset", *keys]
        together = pd.concat([table.assign(run=index) for index, table in enumerate(tables)])
        shared = set.intersection(*(set(table["step"]) for table in tables))
        grouped = together[together["step"].isin(shared)].groupby(place, sort=False, dropna=False)
        means = {name: (name, "mean") for name in numbers if name not in ("n", "low", "high")}
        pooled = grouped.agg(n=("n", "sum"), low=(value, "min"), high=(value, "max"), **means)
        return pooled.reset_index().sort_values("step", kind="stable", ignore_index=True)

    def chance(self, dataset: str) -> float | None:
        """The expected accuracy of a uniform guess among the legal answers, over the rows of the dataset.

        As the sweep recorded it; for older folders and imports, from the rows of each `max_remove`.
        """
        for run in self.runs:
            described = run.settings.get("datasets", {}).get(dataset, {})
            if described.get("chance") is not None:
                return float(described["chance"])
        rows = self.groups("max_remove")
        rows = rows[rows["dataset"] == dataset].drop_duplicates("group")
        rows = rows[pd.to_numeric(rows["group"], errors="coerce").notna()]
        if rows.empty or rows["n"].sum() == 0:
            return None
        return float((rows["n"] / (rows["group"].astype(float) + 1)).sum() / rows["n"].sum())


def names_of(experiments: Sequence[Experiment]) -> list[str]:
    """The experiments' names; those of one name are told apart by the folder above."""
    names = [experiment.name for experiment in experiments]
    above = [experiment.runs[0].folder.resolve().parent.name for experiment in experiments]
    return [f"{folder}/{name}" if names.count(name) > 1 else name for folder, name in zip(above, names, strict=True)]
