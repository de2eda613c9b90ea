"""The table beside the words: what each set was at with the shortcut, at the switch and at the end, to be copied."""

from collections.abc import Callable
from pathlib import Path

from evaluation.report.answer_table import answer_table, latex, markdown
from evaluation.report.experiment import Experiment

HEADS = ["set", "shortcut, step 20", "switch to the rule, step 40", "end, step 80"]


def test_the_answer_in_numbers(story: Path) -> None:
    experiment = Experiment.read([story])
    table = answer_table(experiment)
    assert table.heads == HEADS
    assert table.caption == "Exact match; chance is 0.200."
    lines = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    run = experiment.runs[0]
    for split, values in lines.items():
        assert values == [f"{run.accuracy(split)[step]:.3f}" for step in (20, 40, 80)]
    assert lines["counter_cheat"] == ["0.000", "0.750", "0.750"]
    assert markdown(table).splitlines()[:2] == [f"| {' | '.join(HEADS)} |", "| --- | ---: | ---: | ---: |"]
    assert r"| counter\_cheat | 0.000 | 0.750 | 0.750 |" in markdown(table)
    assert latex(table).startswith("\\begin{tabular}{lrrr}\n\\toprule\nset & shortcut, step 20 & switch to the rule")
    assert "counter\\_cheat & 0.000 & 0.750 & 0.750 \\\\\n" in latex(table)


def test_seeds_are_taken_each_at_its_own_step(make_folder: Callable[..., Path], story: Path, tmp_path: Path) -> None:
    later = make_folder(tmp_path / "later", {5: "guess", 40: "names", 80: "rule"})
    table = answer_table(Experiment.read([story, later]))
    assert table.heads[1:] == ["shortcut, steps 20 to 40", "switch to the rule, steps 40 to 80", "end, step 80"]
    counter = next(row for row in table.rows if row[0].text == "counter_cheat")
    assert counter[1].text == "0.000 (0.000 to 0.000)"
