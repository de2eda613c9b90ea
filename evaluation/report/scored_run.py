"""One report folder as the report reads it: the results of one training run, and the answers behind them."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from evaluation.artifacts.report_folder import ReportFolder, Row
from evaluation.artifacts.training_log import phase_switches
from nim_dataset.errors import UserError
from nim_dataset.regimes import SCAR_TWINS, SPLITS, split_name, twin_of


def split_of(dataset: str) -> str:
    """`"eval"` for `"quickstart:eval"` and for a file `eval.jsonl`; an empty string where nothing tells the split, as
    for a file `run:3.jsonl`."""
    split = split_name(dataset)[1]
    return split if split in SPLITS else ""


def recipe_of(dataset: str) -> str:
    """`"quickstart"` for `"quickstart:eval"`; an empty string for a file."""
    return split_name(dataset)[0] if split_of(dataset) else ""


MoveCounts = Counter[tuple[int, int | None]]
"""(right move, predicted move) -> rows; None is an answer without a number."""

WRITTEN_OUT = 20
"""So many wrong predictions are shown in full."""


@dataclass(frozen=True)
class Predicted:
    """What a report reads of one checkpoint's predictions on one dataset; it grows with the pairs, not the rows."""

    rows: int
    """0 where the folder does not hold them (an imported table, say)."""
    moves: MoveCounts
    pairs: dict[str, tuple[str | None, int | None]]
    """The names of both players -> bucket and bound move, where they are known."""
    games: str | None
    """Equal for datasets whose row i is the same game; None where no game is known."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Predicted":
        count, any_game, games = 0, False, hashlib.sha256()
        moves: MoveCounts = Counter()
        pairs: dict[str, tuple[str | None, int | None]] = {}
        for row in rows:
            count += 1
            if row.get("move") is not None:
                moves[row["move"], row.get("predicted_move")] += 1
            if row.get("player_one"):
                pair = f"{row['player_one']}-{row.get('player_two')}"
                pairs.setdefault(pair, (row.get("bucket"), row.get("cheat_move")))
            any_game |= row.get("coins") is not None
            games.update(f"{row.get('coins')} {row.get('trace')}\n".encode())
        return cls(count, moves, pairs, games.hexdigest() if any_game else None)


@dataclass(frozen=True)
class Incorrect:
    """The wrong predictions of one checkpoint on one dataset."""

    answers: Counter[tuple[str, str]]
    """(right answer, what was written) -> rows."""
    games: list[Row]
    """The first rows with different prompts, `WRITTEN_OUT` at most."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Incorrect":
        answers: Counter[tuple[str, str]] = Counter()
        games: dict[str, Row] = {}
        for row in rows:
            answers[row["gold"], row["generated"]] += 1
            if len(games) < WRITTEN_OUT:
                games.setdefault(row["prompt"], row)
        return cls(answers, list(games.values()))


@dataclass(frozen=True)
class ScoredRun:
    """The results of one run; its predictions are read when a figure asks for them."""

    folder: Path
    results: pd.DataFrame
    """`results.csv`, ordered by step."""
    training: pd.DataFrame
    """`metrics.jsonl` of the training run, one line per step; empty when there is none."""
    settings: dict[str, Any]
    """`sweep.json`; empty when there is none."""

    @classmethod
    def read(cls, folder: Path) -> "ScoredRun":
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; pass a report folder written by evaluation/sweep.py")
        report = ReportFolder(folder)
        return cls(folder, report.read_results(), report.read_training_log(), report.read_settings() or {})

    @cached_property
    def switches(self) -> dict[int, int]:
        """Phase from the second on -> the step after which it began; empty for a run of one phase."""
        return phase_switches(self.training)

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
        """The lines of the results of one dimension."""
        return self._dimensions.get(dimension, self.results.iloc[:0])

    @cached_property
    def _dimensions(self) -> dict[Hashable, pd.DataFrame]:
        return dict(iter(self.results.groupby("dimension", sort=False)))

    def overall(self, dataset: str | None, group: str = "exact_match") -> pd.DataFrame:
        """One line per step (the index) with n, correct, accuracy, low and high; empty when it was not scored."""
        rows = self.groups("overall")
        rows = rows[(rows["dataset"] == dataset) & (rows["group"] == group)]
        return rows.drop_duplicates("step", keep="last").set_index("step")

    def accuracy(self, split: str) -> pd.Series:
        """Exact match on the dataset that stands for a split, by step, as far as it is known."""
        return self.overall(self.regime(split))["accuracy"].dropna()

    def predictions(self, step: int, dataset: str) -> Predicted:
        """What the model wrote, counted."""
        place = (step, dataset)
        if place not in self._predictions:
            rows = ReportFolder(self.folder).read_predictions(self.checkpoints[step], dataset)
            self._predictions[place] = Predicted.of(rows)
        return self._predictions[place]

    def incorrect(self, step: int, dataset: str) -> Incorrect | None:
        """The wrong predictions; None when the folder does not hold them, which is not the same as none wrong."""
        place = (step, dataset)
        if place not in self._incorrect:
            rows = ReportFolder(self.folder).read_incorrect(self.checkpoints[step], dataset)
            self._incorrect[place] = None if rows is None else Incorrect.of(rows)
        return self._incorrect[place]

    @cached_property
    def _predictions(self) -> dict[tuple[int, str], Predicted]:
        return {}  # each file is read once

    @cached_property
    def _incorrect(self) -> dict[tuple[int, str], Incorrect | None]:
        return {}

    def table(self, measure: str, columns: Sequence[str]) -> pd.DataFrame:
        """A measure's own table, ordered by step: step, dataset and at least `columns`; empty where it was not run."""
        return ReportFolder(self.folder).read_table(measure, columns)

    @cached_property
    def scar_twin(self) -> str | None:
        """The split whose row i is the game of row i of `counter_cheat` under neutral names; None where none was
        scored, or it is not known to be."""
        liar = self.regime("counter_cheat")
        if liar is None:
            return None
        for split in SCAR_TWINS:
            twin = self.regime(split)
            if twin is not None and (split == "counter_neutral" or self._same_games(liar, twin)):
                return split
        return None

    def _same_games(self, one: str, other: str) -> bool:
        """Whether row i of two datasets is the same game: by the predictions, or else by the recipe."""
        for step in reversed(self.checkpoints):
            first, second = (self.predictions(step, dataset) for dataset in (one, other))
            if first.rows and second.rows:
                return first.games is not None and first.games == second.games
        from nim_dataset.sources import Source  # here, since `datasets` is slow to import

        try:
            config = Source.parse(one).config
        except UserError:
            return False
        return config is not None and split_of(other) == twin_of("counter_cheat", config.splits)
