"""A figure is one function: here in a file outside the package, which also draws the page, as a user's own would."""

import shutil
import subprocess
import sys
from pathlib import Path

TOY = '''
from evaluation.report.figures.figure import comparison, figure
from evaluation.report.page import main
from evaluation.report.style import plt


@figure("Rows by step", order=15)
def rows_by_step(experiment, looks):
    """Drawn where the training log is there."""
    if experiment.runs[0].training.empty:
        return None
    drawing, axes = plt.subplots()
    axes.plot(experiment.steps, [1] * len(experiment.steps))
    return drawing, "A caption of my own."


@comparison("Names of all", order=15)
def names_of_all(experiments):
    drawing, axes = plt.subplots()
    axes.set_title(" & ".join(experiment.name for experiment in experiments))
    return drawing, "Side by side."


main()
'''


def test_a_figure_from_a_single_file(story: Path, tmp_path: Path) -> None:
    folder = tmp_path / "story"
    shutil.copytree(story, folder)
    other = shutil.copytree(story, tmp_path / "other")
    (tmp_path / "toy.py").write_text(TOY)

    def page(*more: str | Path) -> str:
        subprocess.run([sys.executable, tmp_path / "toy.py", folder, *more], check=True, capture_output=True)
        return (folder / "index.html").read_text(encoding="utf-8")

    text = page("--compare", other)
    places = [text.index(f'<figure id="{name}">') for name in ("accuracy_by_dataset", "rows_by_step", "loss")]
    assert places == sorted(places)
    assert "<h3>Rows by step</h3>" in text
    assert "A caption of my own." in text
    both = [text.index(f'<figure id="{name}">') for name in ("compare_accuracy", "names_of_all", "compare_last")]
    assert both == sorted(both)
    for name in ("rows_by_step", "names_of_all"):
        for ending in ("png", "svg"):
            assert (folder / "figures" / f"{name}.{ending}").is_file()

    (folder / "metrics.jsonl").unlink()
    text = page()
    assert "Rows by step" not in text
    assert not list((folder / "figures").glob("rows_by_step.*"))
    assert not list((folder / "figures").glob("names_of_all.*"))
