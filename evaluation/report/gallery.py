"""The figures of a page: drawn, saved as files, and put into the page; what is not drawn now leaves no file."""

import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.report.drawing import draw_phases
from evaluation.report.experiment import Experiment
from evaluation.report.figure_files import ENDINGS, save
from evaluation.report.figures.figure import Plot, all_comparisons, all_figures, find_figures, import_figures
from evaluation.report.style import HALF, RC, Looks, plt
from nim_dataset.errors import UserError


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page shows it; `width` is its natural width in CSS pixels."""

    name: str
    title: str
    caption: str
    svg: str
    width: int
    files: list[str]
    """The names of its files in `figures/`."""

    @property
    def wide(self) -> bool:
        """Wider than one of the two columns of a page."""
        return self.width > round(96 * HALF)


@dataclass
class Gallery:
    """Draws figures into `folder`."""

    folder: Path
    only: Sequence[str] = ()
    """The names of the figures to draw; all, where it is empty."""
    broken: list[str] = field(default_factory=list)
    """A sentence for each figure that could not be drawn."""
    drawn: set[str] = field(default_factory=set)
    """The names of the others."""

    def draw_all(self, experiment: Experiment, others: list[Experiment]) -> tuple[list[PageFigure], list[PageFigure]]:
        """The figures of the experiment, and those of all side by side, which are drawn where there are others.

        A figure that fails is named on the error stream, and the rest are drawn.
        """
        for module, error in import_figures().items():
            self._report(module.rpartition(".")[2], error)
        with plt.style.context(RC), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            looks = Looks(experiment.datasets)
            alone = [self._draw(plot, experiment, looks) for plot in find_figures(self.only)]
            together = [self._draw(plot, [experiment, *others]) for plot in all_comparisons() if others]
        _pass_on(caught)
        return [each for each in alone if each], [each for each in together if each]

    def remove_stale(self, page: Path) -> None:
        """Removes the files of figures that are not drawn now: those registered, and those of the earlier `page`."""
        known = {plot.name for plot in all_figures()} | {plot.name for plot in all_comparisons()}
        if page.is_file():
            known |= set(re.findall(r'<figure id="(\w+)">', page.read_text(encoding="utf-8", errors="replace")))
        for name in known - self.drawn:
            for ending in ENDINGS:
                (self.folder / f"{name}.{ending}").unlink(missing_ok=True)

    def _draw(self, plot: Plot[Any], *arguments: Any) -> PageFigure | None:
        try:
            drawing = plot.draw(*arguments)
            if drawing is None:
                return None
            figure, caption, *data = drawing
            if isinstance(arguments[0], Experiment):
                draw_phases(figure, arguments[0])
        except UserError:
            raise
        except Exception as error:
            self._report(plot.name, error)
            return None
        try:
            svg = save(figure, data[0] if data else None, self.folder, plot.name)
        except OSError:  # of the disk, not of the figure
            raise
        except Exception as error:
            self._report(plot.name, error)
            return None
        self.drawn.add(plot.name)
        files = [f"{plot.name}.{ending}" for ending in ENDINGS if data or ending != "csv"]
        return PageFigure(plot.name, plot.title, caption, svg, round(96 * figure.get_figwidth()), files)

    def _report(self, name: str, error: Exception) -> None:
        plt.close("all")
        words = (str(error).splitlines() or [""])[0]
        where = traceback.extract_tb(error.__traceback__)[-1]
        sentence = f"The figure {name} could not be drawn: {type(error).__name__}: {words}"
        self.broken.append(sentence)
        print(f"warning: {sentence} ({Path(where.filename).name}, line {where.lineno})", file=sys.stderr)


def _pass_on(caught: Iterable[warnings.WarningMessage]) -> None:
    """Shows the warnings, those of letters that no font holds as one."""
    missing: set[str] = set()
    for warning in caught:
        glyph = re.match(r"Glyph (\d+) .*missing from font", str(warning.message))
        if glyph:
            missing.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        letters = "".join(sorted(missing))
        print(
            f"note: no installed font of figures has {letters}: PNG files show boxes there (SVG files and the page "
            "take the reader's fonts); Noto Sans CJK has Chinese, Japanese and Korean",
            file=sys.stderr,
        )
