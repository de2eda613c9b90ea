"""A figure is one function: here in a file outside the package, which also draws the page, as a user's own would."""

import shutil
import subprocess
import sys
from pathlib import Path

from evaluation.report.page import write_report

TOY = '''
import pandas as pd
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
    data = pd.DataFrame({"step": experiment.steps, "rows": 1})
    return drawing, "A caption of my own.", data


@figure("Broken", order=16)
def broken(experiment, looks):
    return {}["step"]


@figure("Half done", order=17)
def half_done(experiment, looks):
    return plt.figure()


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
        command = [sys.executable, tmp_path / "toy.py", folder, *more]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        first, second = run.stderr.splitlines()  # one line for each that fails, and the others are drawn
        assert first == "warning: The figure broken could not be drawn: KeyError: 'step' (toy.py, line 21)"
        assert second.startswith("warning: The figure half_done could not be drawn: TypeError: ")
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
    assert (folder / "figures" / "rows_by_step.csv").read_text().splitlines()[:2] == ["step,rows", "5,1"]
    assert "The figure broken could not be drawn" in text

    own = folder / "figures" / "my_own.png"
    own.write_bytes(b"")
    shutil.copytree(folder, tmp_path / "later", ignore=shutil.ignore_patterns("predictions", "incorrect", "*.jsonl"))
    write_report([tmp_path / "later"])  # without the plug, whose files go; what no page has shown stays
    left = {path.name.partition(".")[0] for path in (tmp_path / "later" / "figures").iterdir()}
    assert {"my_own", "accuracy_by_dataset"} <= left
    assert not {"rows_by_step", "names_of_all", "compare_last"} & left

    (folder / "metrics.jsonl").unlink()
    text = page()
    assert "Rows by step" not in text
    assert not list((folder / "figures").glob("rows_by_step.*"))
    assert not list((folder / "figures").glob("names_of_all.*"))
