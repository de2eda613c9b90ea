"""From report folders to a page: figures, tables and a summary in words, without a model.

    python -m evaluation.report reports/quickstart

reads the folder's `results.csv`, `predictions/`, `incorrect/` and `metrics.jsonl` (see `report_folder.py`) and
writes each figure as `figures/*.png`, `.svg` and `.csv` (its data), and a self-contained
`index.html` beside them. Several folders are taken as runs of one experiment that differ in their seed, and drawn as
lines with bands; those after `--compare` are other experiments, drawn side by side with the first.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from evaluation.report.answer_table import answer_table, latex, markdown
from evaluation.report.experiment import Experiment
from evaluation.report.gallery import Gallery
from evaluation.report.summary import summary, thresholds
from evaluation.report.tables import at_the_end, by_checkpoint, every_group, milestones
from evaluation.report.wrong_games import wrong_games
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.files import write_text


def write_report(
    output_dirs: Sequence[Path],
    output: Path | None = None,
    compare: Sequence[Path] = (),
    only: Sequence[str] = (),
) -> Path:
    """Draws the figures and writes the page; returns the path of `index.html`.

    `output_dirs` are report folders of one experiment (several: its seeds), `compare` those of other experiments.
    `output` is the folder for `index.html` and `figures/`, by default the first report folder. `only` names the figures
    to draw, where it is not all of them. Raises `UserError` when a folder is missing, holds no readable results, or is
    given twice.
    """
    experiment, others = read_experiments(output_dirs, compare)
    return write_page(experiment, others, Path(output or output_dirs[0]), only)


def read_experiments(output_dirs: Sequence[Path], compare: Sequence[Path]) -> tuple[Experiment, list[Experiment]]:
    """The experiment of `output_dirs`, and one for each folder of `compare`; errors as for `write_report`."""
    if not output_dirs:
        raise UserError("no report folder given; pass one written by evaluation/sweep.py, such as reports/quickstart")
    seen: set[Path] = set()
    for folder in map(Path, (*output_dirs, *compare)):
        if folder.resolve() in seen:
            raise UserError(f"{folder}: given twice")
        seen.add(folder.resolve())
    experiment = Experiment.read([Path(folder) for folder in output_dirs])
    return experiment, [Experiment.read([Path(folder)]) for folder in compare]


def write_page(experiment: Experiment, others: list[Experiment], output: Path, only: Sequence[str] = ()) -> Path:
    """Draws the figures (`only` these, if any) into `output` and writes the page there; returns its path."""
    gallery = Gallery(output / "figures", only)
    figures, compared = gallery.draw_all(experiment, others)
    gallery.remove_stale(output / "index.html")
    games, answer = wrong_games(experiment), answer_table(experiment)
    tables = [by_checkpoint(experiment), at_the_end(experiment), every_group(experiment)]
    sections = [("compare", "Side by side", compared)] if others else []
    sections += [("figures", "Figures", figures)] if figures else []
    sections += [("tables", "Tables", [])]
    sections += [("wrong", "Wrong predictions", [])] if games else []
    page = _template().render(
        title=experiment.name,
        sections=[*sections, ("source", "Where this comes from", [])],
        summary=summary(experiment),
        notes=[*_notes(experiment), *gallery.broken, *_undrawn(experiment, only)],
        answer=answer,
        latex=latex(answer),
        markdown=markdown(answer),
        milestones=milestones([experiment, *others]),
        compared=compared,
        figures=figures,
        tables=[table for table in tables if table is not None],
        games=games,
        rule=any(game.lines for game in games),
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


def _notes(experiment: Experiment) -> list[str]:
    """The thresholds where they matter, and whatever the sweep or the import wants the reader to know."""
    notes = [text for text in [thresholds(experiment)] if text]
    for run in experiment.runs:
        notes += [str(note) for note in run.settings.get("notes") or []]
    return notes


def _undrawn(experiment: Experiment, only: Sequence[str]) -> list[str]:
    folders = " ".join(run.folder.as_posix() for run in experiment.runs)
    return [f"Not all figures are drawn here: python -m evaluation.report {folders} draws the others."] if only else []


NOT_FOR_READERS = {"checkpoints", "notes", "notes_by_dataset", "sha256", "spec", "chance", "process"}
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
        experiment, others = read_experiments(options.reports, options.compare)
        path = write_page(experiment, others, options.output or options.reports[0])
        print(summary(experiment)[0])
        print(f"{len(list((path.parent / 'figures').glob('*.png')))} figures in {path.parent / 'figures'}")
        print(f"report: {path}")
