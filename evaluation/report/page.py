"""From report folders to a page: figures, tables and a summary in words, without a model.

    python -m evaluation.report reports/quickstart

reads the folder's `results.csv`, `predictions/`, `incorrect/` and `metrics.jsonl` (see `report_folder.py`) and
writes `figures/*.png`, `figures/*.svg` and a self-contained `index.html` beside them. Several folders are taken as runs
of one experiment that differ in their seed, and drawn as lines with bands; those after `--compare` are other
experiments, drawn side by side with the first.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from evaluation.report.experiment import Experiment
from evaluation.report.figures.of_answers import ANSWER_FIGURES
from evaluation.report.figures.over_steps import OVER_STEPS, Drawing
from evaluation.report.figures.side_by_side import COMPARED
from evaluation.report.story import Story, summary, thresholds
from evaluation.report.style import RC, Looks, plt, save
from evaluation.report.wrong_games import wrong_games
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.files import write_text

TITLES = {
    "accuracy_by_dataset": "Accuracy over training",
    "accuracy_by_bucket": "Bound and unbound names",
    "accuracy_by_max_remove": "Accuracy by max_remove",
    "accuracy_by_coset": "A part of the rule",
    "cheat_rate": "Following the names into a mistake",
    "accuracy_by_pair": "Accuracy by name pair",
    "gold_by_predicted": "Right move by predicted move",
    "mistakes_by_kind": "Mistakes by kind",
    "answer_distribution": "Distribution of answers",
    "loss": "Loss and distance",
    "compare_accuracy": "Accuracy over training, side by side",
    "compare_last": "Accuracy at the end, side by side",
}


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page shows it; `width` is its natural width in CSS pixels."""

    name: str
    title: str
    caption: str
    svg: str
    width: int

    @property
    def wide(self) -> bool:
        """Too wide to shrink to a phone and stay readable: it scrolls in its own box."""
        return self.width > 760


@dataclass(frozen=True)
class Cell:
    text: str
    sort: float | None = None
    """A number sorts by this and stands at the right; text sorts by itself."""


@dataclass(frozen=True)
class Table:
    title: str
    caption: str
    heads: list[str]
    rows: list[list[Cell]]
    folded: bool = False


def write_report(output_dirs: Sequence[Path], output: Path | None = None, compare: Sequence[Path] = ()) -> Path:
    """Draws the figures and writes the page; returns the path of `index.html`.

    `output_dirs` are report folders of one experiment (several: its seeds), `compare` those of other experiments.
    `output` is the folder for `index.html` and `figures/`, by default the first report folder. Raises `UserError` when
    a folder is missing, holds no readable results, or is given twice.
    """
    folders = [Path(folder) for folder in (*output_dirs, *compare)]
    if not output_dirs:
        raise UserError("no report folder given; pass one written by evaluation/sweep.py, such as reports/quickstart")
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UserError(f"{folder}: given twice")
        seen.add(folder.resolve())
    experiment = Experiment.read([Path(folder) for folder in output_dirs])
    others = [Experiment.read([Path(folder)]) for folder in compare]
    output = Path(output) if output else folders[0]

    with plt.style.context(RC):
        looks = Looks(experiment.datasets)
        figures = [
            _page_figure(draw.__name__, draw(experiment, looks), output) for draw in (*OVER_STEPS, *ANSWER_FIGURES)
        ]
        compared = (
            [_page_figure(draw.__name__, draw([experiment, *others]), output) for draw in COMPARED] if others else []
        )
    figures_drawn = sorted((f for f in figures if f), key=lambda figure: list(TITLES).index(figure.name))
    compared_drawn = [figure for figure in compared if figure]
    _remove_stale(output / "figures", {figure.name for figure in (*figures_drawn, *compared_drawn)})

    games = wrong_games(experiment)
    sections = [("compare", "Side by side")] if others else []
    sections += [("figures", "Figures")] if figures_drawn else []
    sections += [("tables", "Tables")]
    sections += [("wrong", "Wrong predictions")] if games else []
    page = _template().render(
        title=experiment.name,
        sections=[*sections, ("source", "Where this comes from")],
        summary=summary(experiment),
        notes=_notes(experiment),
        milestones=milestones([experiment, *others]),
        compared=compared_drawn,
        figures=figures_drawn,
        tables=[_by_checkpoint(experiment), _at_the_end(experiment), _groups(experiment)],
        games=games,
        source=_source(experiment, others),
    )
    write_text(output / "index.html", page)
    return output / "index.html"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2")


def _page_figure(name: str, drawing: Drawing | None, output: Path) -> PageFigure | None:
    if drawing is None:
        return None
    figure, caption = drawing
    width = round(96 * figure.get_figwidth())
    return PageFigure(name, TITLES[name], caption, save(figure, output / "figures", name), width)


def _remove_stale(folder: Path, drawn: set[str]) -> None:
    """Removes the figures of an earlier report for which there is no data any more."""
    for name in TITLES.keys() - drawn:
        for ending in ("png", "svg"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)


def _number(value: Any, digits: int = 3) -> Cell:
    if value is None or pd.isna(value):
        return Cell("-", -1.0)
    return Cell(f"{value:,.{digits}f}", float(value))


def milestones(experiments: list[Experiment]) -> Table:
    """One line per run: the steps at which shortcut and rule were learned, and the scar."""
    rows = []
    for experiment in experiments:
        for run in experiment.runs:
            story = Story.of(run)
            ends = [run.overall(run.regime(split))["accuracy"].dropna() for split in ("eval", "counter_cheat")]
            rows.append(
                [
                    Cell(run.name),
                    _number(story.shortcut_step, 0),
                    _number(story.rule_step, 0),
                    _number(story.scar),
                    *(_number(end.iloc[-1] if len(end) else None) for end in ends),
                    _number(story.last_step, 0),
                ]
            )
    heads = [
        "run",
        "shortcut by step",
        "rule by step",
        "scar",
        "eval at the end",
        "counter_cheat at the end",
        "last step",
    ]
    return Table("Milestones", "When each run learned the shortcut and the rule, and the scar at the end.", heads, rows)


def _by_checkpoint(experiment: Experiment) -> Table:
    rows = []
    curves = {name: experiment.curve(name).set_index("step")["accuracy"] for name in experiment.datasets}
    for step in experiment.steps:
        rows.append([_number(step, 0), *(_number(curve.get(step)) for curve in curves.values())])
    mean = "" if len(experiment.runs) == 1 else f", mean of {len(experiment.runs)} runs"
    heads = ["step", *(Looks(experiment.datasets).label(name) for name in curves)]
    return Table("By checkpoint", f"Exact match at each checkpoint{mean}.", heads, rows)


def _at_the_end(experiment: Experiment) -> Table:
    """One line per dataset at its last checkpoint: n, interval, and the other measures."""
    rows = []
    for name in experiment.datasets:
        curve = experiment.curve(name)
        if curve.empty:
            continue
        end = curve.iloc[-1]
        others = [experiment.curve(name, group) for group in ("move_accuracy", "valid_move_rate", "cheat_rate")]
        rows.append(
            [
                Cell(name),
                _number(end["n"], 0),
                *(_number(end[column]) for column in ("accuracy", "low", "high")),
                *(_number(other["accuracy"].iloc[-1] if len(other) else None) for other in others),
            ]
        )
    heads = ["dataset", "n", "exact match", "low", "high", "move accuracy", "valid moves", "cheat rate"]
    band = "95% Wilson interval" if len(experiment.runs) == 1 else "lowest and highest run"
    return Table("At the last checkpoint", f"Low and high: {band}. Cheat rate: wrong bound moves played.", heads, rows)


def _groups(experiment: Experiment) -> Table:
    """Every group of every dataset at the last checkpoint."""
    last = experiment.pooled[experiment.pooled["step"] == experiment.pooled["step"].max()]
    rows = [
        [
            *(Cell(str(row[column])) for column in ("dataset", "dimension", "group")),
            _number(row["n"], 0),
            *(_number(row[column]) for column in ("accuracy", "low", "high")),
        ]
        for _, row in last[last["dimension"] != "overall"].iterrows()
    ]
    heads = ["dataset", "dimension", "group", "n", "accuracy", "low", "high"]
    return Table("By group", "Every group at the last checkpoint.", heads, rows, folded=True)


def _notes(experiment: Experiment) -> list[str]:
    """The thresholds where they matter, and whatever the sweep or the import wants the reader to know."""
    stories = [Story.of(run) for run in experiment.runs]
    notes = [thresholds()] if any(story.shortcut_judged or story.rule_judged for story in stories) else []
    for run in experiment.runs:
        notes += [str(note) for note in run.settings.get("notes") or []]
    return notes


NOT_FOR_READERS = {"checkpoints", "notes", "notes_by_dataset", "sha256", "spec"}
"""Settings that are shown elsewhere, or serve only to recognise files."""


def _source(experiment: Experiment, others: list[Experiment]) -> list[tuple[str, str]]:
    source = []
    for run in (run for each in (experiment, *others) for run in each.runs):
        settings = {name: value for name, value in run.settings.items() if name not in NOT_FOR_READERS}
        words = [f"{name}: {_words(value)}" for name, value in settings.items() if value is not None]
        source.append((run.folder.as_posix(), "; ".join(words) or "results.csv alone; no settings were kept"))
    return source


def _words(value: Any) -> str:
    if isinstance(value, dict):
        shown = {name: item for name, item in value.items() if name not in NOT_FOR_READERS}
        return ", ".join(
            f"{name} ({_words(item)})" if isinstance(item, dict) else f"{name} {item}" for name, item in shown.items()
        )
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.report",
        description="Draw the figures and the page of one or more report folders; no model is needed.",
    )
    parser.add_argument(
        "reports",
        nargs="+",
        type=Path,
        metavar="reports/NAME",
        help="report folders written by evaluation/sweep.py or evaluation.import_logs; several are runs of the same "
        "experiment (seeds), drawn as mean lines with bands from the lowest to the highest run",
    )
    parser.add_argument(
        "--compare", nargs="+", type=Path, default=[], metavar="reports/X", help="other experiments, put side by side"
    )
    parser.add_argument(
        "--output", type=Path, help="folder for index.html and figures/ (default: the first report folder)"
    )
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        path = write_report(options.reports, options.output, options.compare)
        print(summary(Experiment.read(options.reports))[0])
        print(f"{len(list((path.parent / 'figures').glob('*.png')))} figures in {path.parent / 'figures'}")
        print(f"report: {path}")
