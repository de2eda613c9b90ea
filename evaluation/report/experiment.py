"""Report folders as the report reads them: a `Run` per folder, an `Experiment` of runs that differ in their seed."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.artifacts.report_folder import incorrect_path, predictions_path, read_results
from nim_dataset.errors import UserError
from nim_dataset.files import read_jsonl
from nim_dataset.regimes import SPLITS


def split_of(dataset: str) -> str:
    """`"eval"` for `"quickstart:eval"` and for a file `eval.jsonl`; an empty string where nothing tells the split."""
    split = dataset.rsplit(":", 1)[-1]
    return split if ":" in dataset or split in SPLITS else ""


def recipe_of(dataset: str) -> str:
    """`"quickstart"` for `"quickstart:eval"`; an empty string for a file."""
    return dataset.rpartition(":")[0]


@dataclass(frozen=True)
class Run:
    """One report folder: the results, and the predictions read when a figure asks for them."""

    folder: Path
    results: pd.DataFrame
    """`results.csv`, ordered by step."""
    training: pd.DataFrame
    """`metrics.jsonl` of the training run, one line per step; empty when there is none."""
    settings: dict[str, Any]
    """`sweep.json`; empty when there is none."""

    @classmethod
    def read(cls, folder: Path) -> "Run":
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; pass a report folder written by evaluation/sweep.py")
        settings: dict[str, Any] = {}
        if (folder / "sweep.json").is_file():
            try:
                settings = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise UserError(f"{folder / 'sweep.json'}: not JSON ({error.msg})") from None
        metrics = folder / "metrics.jsonl"
        training = pd.DataFrame(row for _, row in read_jsonl(metrics)) if metrics.is_file() else pd.DataFrame()
        return cls(folder, read_results(folder), training, settings)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @cached_property
    def datasets(self) -> list[str]:
        """The datasets in the order in which they were scored, known splits first and in their usual order."""
        names = list(dict.fromkeys(self.results["dataset"]))
        return sorted(names, key=lambda name: SPLITS.index(split_of(name)) if split_of(name) in SPLITS else len(SPLITS))

    @cached_property
    def checkpoints(self) -> dict[int, str]:
        """Step -> checkpoint name, in order of step."""
        return {
            int(step): str(name) for step, name in zip(self.results["step"], self.results["checkpoint"], strict=True)
        }

    def regime(self, split: str) -> str | None:
        """The dataset that stands for a split (`eval`, ...): that of the recipe of which most splits were scored."""
        recipes = [recipe_of(name) for name in self.datasets if split_of(name)]
        main = max(dict.fromkeys(recipes), key=recipes.count, default="")
        name = f"{main}:{split}" if main else split
        return name if name in self.datasets else None

    def groups(self, dimension: str) -> pd.DataFrame:
        return self.results[self.results["dimension"] == dimension]

    def overall(self, dataset: str | None, group: str = "exact_match") -> pd.DataFrame:
        """One line per step (the index) with n, correct, accuracy, low and high; empty when it was not scored."""
        rows = self.groups("overall")
        rows = rows[(rows["dataset"] == dataset) & (rows["group"] == group)]
        return rows.drop_duplicates("step", keep="last").set_index("step")

    def predictions(self, step: int, dataset: str) -> list[dict[str, Any]]:
        """What the model wrote for every row; empty when the folder does not hold it (an imported table, say)."""
        path = predictions_path(self.folder, self.checkpoints[step], dataset)
        return [row for _, row in read_jsonl(path)] if path.is_file() else []

    def incorrect(self, step: int, dataset: str) -> list[dict[str, Any]] | None:
        """The wrong predictions; None when the folder does not hold them, which is not the same as none wrong."""
        path = incorrect_path(self.folder, self.checkpoints[step], dataset)
        return [row for _, row in read_jsonl(path)] if path.is_file() else None


@dataclass(frozen=True)
class Experiment:
    """Runs of one experiment. Several are taken as seeds of the same thing: lines are means, bands reach from the
    lowest to the highest run; of a single run, bands are the 95% Wilson interval."""

    runs: list[Run]

    @classmethod
    def read(cls, folders: list[Path]) -> "Experiment":
        return cls([Run.read(folder) for folder in folders])

    @property
    def name(self) -> str:
        first = self.runs[0].name
        return first if len(self.runs) == 1 else f"{first} and {len(self.runs) - 1} more"

    @property
    def datasets(self) -> list[str]:
        """Every dataset that all runs, or some, have scored."""
        return list(dict.fromkeys(name for run in self.runs for name in run.datasets))

    @property
    def steps(self) -> list[int]:
        return sorted({step for run in self.runs for step in run.checkpoints})

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """`results.csv` over all runs: n and correct summed, accuracy averaged, low and high as the class says."""
        if len(self.runs) == 1:
            return self.runs[0].results
        # A seed that was not scored at some step would bend the mean there: only steps that every run has are kept.
        shared = set.intersection(*(set(run.checkpoints) for run in self.runs))
        together = pd.concat([run.results[run.results["step"].isin(shared)] for run in self.runs])
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
        return self.pooled[self.pooled["dimension"] == dimension]

    def curve(self, dataset: str, group: str = "exact_match", dimension: str = "overall") -> pd.DataFrame:
        """One line per step with accuracy, low and high, without the steps where the accuracy is unknown."""
        rows = self.groups(dimension)
        rows = rows[(rows["dataset"] == dataset) & (rows["group"] == group)]
        return rows.drop_duplicates("step", keep="last").dropna(subset=["accuracy"])

    def chance(self, dataset: str) -> float | None:
        """The accuracy of a uniform guess among the `max_remove + 1` answers, over the rows of the dataset."""
        rows = self.groups("max_remove")
        rows = rows[rows["dataset"] == dataset].drop_duplicates("group")
        rows = rows[pd.to_numeric(rows["group"], errors="coerce").notna()]
        if rows.empty or rows["n"].sum() == 0:
            return None
        return float((rows["n"] / (rows["group"].astype(float) + 1)).sum() / rows["n"].sum())
