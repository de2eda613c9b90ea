"""What a run's numbers mean: milestones at their thresholds, statements where all of their sets were scored."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from evaluation.artifacts.report_folder import ReportFolder
from evaluation.report.experiment import Experiment
from evaluation.report.page import write_report
from evaluation.report.scored_run import ScoredRun
from evaluation.report.story import RULE_EVAL, SHORTCUT_CONSISTENT, SHORTCUT_COUNTER, Story
from evaluation.report.summary import summary


def run_with(folder: Path, accuracies: Mapping[str, Sequence[float | None]]) -> ScoredRun:
    """A run with these accuracies on the quickstart's splits at steps 10, 20, ...; None was not scored."""
    fixed = {"dimension": "overall", "group": "exact_match", "n": 100, "low": 0, "high": 1}
    rows = [
        {**fixed, "checkpoint": f"checkpoint-{10 * at}", "step": 10 * at, "dataset": f"quickstart:{split}"}
        | {"accuracy": value}
        for split, values in accuracies.items()
        for at, value in enumerate(values, start=1)
        if value is not None
    ]
    ReportFolder(folder).write_results(rows)
    return ScoredRun.read(folder)


def test_milestones_stand_exactly_at_their_thresholds(tmp_path: Path) -> None:
    under, over = math.nextafter(SHORTCUT_CONSISTENT, 0), math.nextafter(SHORTCUT_COUNTER, 1)
    story = Story.of(
        run_with(
            tmp_path / "a",
            {
                "eval": [0.5, 0.5, 0.5, RULE_EVAL, 0.9, RULE_EVAL, 1.0],
                "cheat_consistent": [under, 0.9, 0.9, 1, 1, 1, 1],
                "counter_cheat": [0.1, over, 0.1, 0.5, 0.5, 0.75, 0.8],
                "neutral": [0.2, 0.2, 0.2, 0.9, 0.9, 0.95, 0.95],
                "unseen_names": [0.3, 0.3, 0.3, 0.9, 0.9, 0.9, 0.9],
            },
        )
    )
    assert story.shortcut_step == 30
    assert story.rule_step == 60  # at 40 it was met as well, but not held
    assert story.scar == pytest.approx(0.15)


def test_a_rule_that_is_lost_is_not_learned(tmp_path: Path) -> None:
    story = Story.of(run_with(tmp_path / "a", {"eval": [0.2, 1.0, 0.5]}))
    assert (story.rule_step, story.rule_lost, story.shortcut_judged) == (None, True, False)


def test_the_scar_is_taken_where_both_sets_were_scored(tmp_path: Path) -> None:
    run = run_with(
        tmp_path,
        {
            "eval": [0.5, 1.0, 1.0, 1.0],
            "cheat_consistent": [1.0, 1.0, 1.0, 1.0],
            "counter_cheat": [0.0, 0.5, 0.7, None],
            "neutral": [0.3, None, 0.9, 1.0],
        },
    )
    story = Story.of(run)
    assert (story.scar, story.scar_step, story.last_step) == (pytest.approx(0.2), 30, 40)
    headline, *sentences = summary(Experiment([run]))
    assert headline == "Shortcut learned by step 10; rule by step 20; scar at step 30: 0.20."
    assert any(
        "At step 30, the last with both sets, a pair of names" in sentence
        and "costs 0.20 of accuracy" in sentence
        and sentence.endswith("counter_cheat 0.70, neutral 0.90.")
        for sentence in sentences
    )
    page = write_report([tmp_path]).read_text(encoding="utf-8")
    assert "<td>counter_cheat, step 30</td>" in page  # the table of the last checkpoint


def test_a_scar_from_before_the_rule_is_no_scar(tmp_path: Path) -> None:
    """There the names cost accuracy because the shortcut is all there is."""
    run = run_with(tmp_path, {"eval": [0.5, 1.0], "counter_cheat": [0.0, 0.9], "neutral": [0.8, None]})
    assert Story.of(run).scar == pytest.approx(0.8)
    assert summary(Experiment([run]))[0] == "Rule by step 20."


def test_sets_without_a_common_step_are_not_combined(tmp_path: Path) -> None:
    run = run_with(
        tmp_path,
        {
            "eval": [1.0, None, 1.0, None],
            "unseen_names": [None, 1.0, None, 1.0],
            "cheat_consistent": [1.0, None, 1.0, None],
            "counter_cheat": [None, 0.0, None, 0.0],
            "neutral": [1.0, None, 1.0, None],
        },
    )
    story = Story.of(run)
    assert (story.rule_judged, story.shortcut_judged, story.scar) == (False, False, None)
    assert summary(Experiment([run]))[0] == "Shortcut not judged."
    assert any("share no step" in sentence for sentence in summary(Experiment([run])))


def test_the_rule_is_judged_where_its_sets_were_scored(tmp_path: Path) -> None:
    run = run_with(tmp_path, {"eval": [0.5, 0.6, 1.0], "unseen_names": [0.1, 0.2, None]})
    headline, *sentences = summary(Experiment([run]))
    assert headline == "Rule not learned by step 20."
    assert sentences[0] == "The rule was not there at step 20, the last with its sets: eval 0.60, unseen_names 0.20."


@pytest.mark.parametrize(
    ("before", "headline"),
    [
        ([], "Shortcut not judged; rule by step {step}."),
        ([(0.5, 0.5, 0.5)], "Shortcut not learned; rule by step {step}."),
        ([(0.5, 1.0, 0.0)], "Shortcut learned by step 10; rule by step {step}."),
    ],
)
def test_a_shortcut_is_judged_by_a_checkpoint_before_the_rule(
    before: list[tuple[float, float, float]], headline: str, tmp_path: Path
) -> None:
    held_out, consistent, counter = (list(values) for values in zip(*before, (1.0, 1.0, 1.0), strict=True))
    run = run_with(tmp_path, {"eval": held_out, "cheat_consistent": consistent, "counter_cheat": counter})
    said = summary(Experiment([run]))
    assert said[0] == headline.format(step=10 * (len(before) + 1))
    assert any("The shortcut is not judged" in sentence for sentence in said) is (not before)


def test_one_late_checkpoint_does_not_tell_whether_the_shortcut_was_there(tmp_path: Path) -> None:
    alone = {
        "eval": [0.6],
        "cheat_consistent": [0.8],
        "counter_cheat": [0.4],
        "unseen_names": [0.5],
    }
    said = summary(Experiment([run_with(tmp_path / "one", alone)]))
    assert said[0] == "Shortcut not judged; rule not learned by step 10."
    assert said[1].startswith("The shortcut is not judged: step 10 was scored, and nothing before it (cheat_consistent")
    followed = {**alone, "cheat_consistent": [0.95], "counter_cheat": [0.05], "unseen_names": [0.2]}
    assert summary(Experiment([run_with(tmp_path / "two", followed)]))[0].startswith("Shortcut learned by step 10;")


def test_a_seed_without_a_set_at_some_step_does_not_bend_the_mean(tmp_path: Path) -> None:
    one = run_with(tmp_path / "one", {"eval": [0.2, 0.4], "neutral": [0.2, 0.4]})
    two = run_with(tmp_path / "two", {"eval": [0.4, 0.6], "neutral": [0.6, None]})
    curve = Experiment([one, two]).curve("quickstart:neutral")
    assert list(curve["step"]) == [10]
    assert list(curve["accuracy"]) == [pytest.approx(0.4)]
