"""What a study's page says and draws of runs that end in different ways, from their outcomes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from training.study.description import Study, read_study
from training.study.figures import draw_condition, layout, over_steps, plt
from training.study.outcomes import Outcome, Plateau
from training.study.page import beside_the_paper, headline, notes, sentence, table
from training.study.runs import StudyRun, runs_of


def study_of(folder: Path, conditions: dict[str, Any], **more: Any) -> Study:
    path = folder / "study.yaml"
    described = {"conditions": conditions, "evaluate": {"eval": "quickstart:eval"}, "seeds": [0, 1, 2], **more}
    path.write_text(yaml.safe_dump(described, sort_keys=False))
    return read_study(path)


def ended(run: StudyRun, value: float, ending: str, rule: int | None = None, plateau: Plateau | None = None) -> Outcome:
    curves = pd.DataFrame({"step": [50], "value": [value], "quantity": "exact match", "chance": 1 / 6})
    return Outcome(run, curves, rule, plateau, ending, 50, {})


def test_the_answer_in_words_counts_what_was_learned_and_what_never(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"all": {}, "some": {}, "none": {}})
    every: dict[str, list[StudyRun]] = {}
    for run in runs_of(study):
        every.setdefault(run.condition.name, []).append(run)
    rests = [Plateau(2, 6, 10, 30, 0.34), Plateau(2, 6, 20, 60, 0.36), Plateau(3, 6, 10, 40, 0.5)]
    by_condition = {
        "all": [ended(run, 1.0, "rule", step) for run, step in zip(every["all"], (100, 200, 300), strict=True)],
        "some": [
            ended(run, value, ending, step, rest)
            for run, value, ending, step, rest in zip(
                every["some"],
                (0.99, 0.36, 0.5),
                ("rule", "coset plateau", "coset plateau"),
                (70, None, None),
                rests,
                strict=True,
            )
        ],
        "none": [ended(run, 0.2, "chance") for run in every["none"]],
    }
    assert headline(by_condition) == (
        "The rule is found by every run of 'all'; by some runs of 'some' (1 of 3); by no run of 'none'."
    )
    assert sentence("all", by_condition["all"]) == (
        "all: rule 3 of 3; exact match 1.000 at the end, the rule by step 200 (100 to 300)."
    )
    assert sentence("some", by_condition["some"]) == (
        "some: rule 1 of 3, coset plateau 2 of 3; exact match 0.500 (0.360 to 0.990) at the end, the rule by step 70 in"
        " 1 of 3, never in 2; right modulo 2 but not modulo 6 from step 15 (10 to 20) to 45 (30 to 60) in 2 of 3, at"
        " 0.350 (0.340 to 0.360) (expected 2/6 = 0.333); right modulo 3 but not modulo 6 from step 10 to 40 in 1 of 3,"
        " at 0.500 (expected 3/6 = 0.500)."
    )
    assert sentence("none", by_condition["none"]) == "none: chance 3 of 3; exact match 0.200 at the end."
    made = table(study, by_condition)
    rows = [dict(zip(made["heads"], row, strict=True)) for row in made["rows"]]
    assert [row["exact match; chance 0.167"] for row in rows][1:] == ["0.500 (0.360 to 0.990)", "0.200"]
    assert [row["rule by step"] for row in rows] == ["200 (100 to 300)", "70; never in 2", "-"]
    assert [row["expected"] for row in rows] == ["-", "2/6; 3/6", "-"]

    assert notes(study, [one for several in by_condition.values() for one in several], 9) == []
    alone = [by_condition["all"][0]]
    assert notes(study, alone, 9) == [
        "1 of 9 runs are done; the others are missing here.",
        "One seed (0): what another one would do is not known.",
    ]
    missing = study_of(tmp_path, {"all": {}}, quantities={"exact match": "eval", "typo": "eval / overall / exactmatch"})
    assert "No run has a value of 'typo'" in notes(missing, alone, 1)[-1]


@pytest.mark.parametrize(
    ("conditions", "panels"),
    [
        ({"a": {}, "b": {}}, {"exact match": ["a", "b"], "cheats": ["a", "b"]}),
        (  # by entry
            {"up {k}": {"vary": {"k": [1, 2, 3, 4]}}, "down {k}": {"vary": {"k": [1, 2, 3, 4]}}},
            {"up …": ["k 1", "k 2", "k 3", "k 4"], "down …": ["k 1", "k 2", "k 3", "k 4"]},
        ),
        (  # by the first option that all vary; donors are left out
            {
                "d": {},
                "{k} alone": {"vary": {"k": [5, 4]}},
                "{k} from {n}": {"vary": {"k": [5, 4], "n": list("abcdef")}, "donor": {"condition": "d"}},
            },
            {title: ["… alone", *(f"… from {n}" for n in "abcdef")] for title in ("k = 5", "k = 4")},
        ),
        ({f"c{n}": {} for n in range(9)}, {f"c{n}": ["median"] for n in range(9)}),
    ],
)
def test_no_panel_has_more_lines_than_colours(
    tmp_path: Path, conditions: dict[str, Any], panels: dict[str, list[str]]
) -> None:
    quantities = {"exact match": "eval", "cheats": "eval / overall / cheat_rate"}
    study = study_of(tmp_path, conditions, quantities=quantities)
    drawn = layout(study, study.answering, list(quantities))
    assert {panel.title: list(panel.labels.values()) for panel in drawn[0][1]} == panels
    assert {panel.quantity.name for _, several in drawn for panel in several} == set(quantities)


@pytest.mark.parametrize(
    ("published", "judged"),
    [
        ({"rule": 2, "chance": 1}, "the commonest ending is the same"),
        ({"rule": 2, "chance": 2}, "one of the commonest endings is the same"),
        ({"shortcut": 1}, "the commonest ending is another"),
    ],
)
def test_how_runs_ended_is_put_beside_the_paper(tmp_path: Path, published: dict[str, int], judged: str) -> None:
    runs = runs_of(study_of(tmp_path, {"a": {}}))
    said = beside_the_paper("a", published, [ended(run, 1.0, "rule") for run in runs])
    assert said.endswith(f"; here rule 3 of 3: {judged}.")
    assert said.startswith(f"a: there {next(iter(published))} {max(published.values())} of {sum(published.values())}")


LATER = {20: "a", 70: "abc", 80: "b", 90: "a"}
"""Step -> the conditions that have it too."""


def test_panels_share_their_steps_and_the_colours_of_what_they_share(tmp_path: Path) -> None:
    conditions = {
        "{n} first": {"vary": {"n": ["a", "b", "c", "d"]}},
        "{n} second": {"vary": {"n": ["e", "f", "g", "h", "b"]}},
    }
    study = study_of(tmp_path, conditions)
    outcomes = [ended(run, 0.5, "chance") for run in runs_of(study)]
    curves = pd.concat([outcome.curves.assign(condition=outcome.run.condition.name, seed=0) for outcome in outcomes])
    later = [curves[curves["condition"].isin([f"{n} first" for n in runs])].assign(step=s) for s, runs in LATER.items()]
    ((_, panels),) = layout(study, study.answering, ["exact match"])
    figure, _ = over_steps(pd.concat([curves, *later]), outcomes, panels)
    first, second = figure.axes
    assert first.get_xlim() == second.get_xlim()
    assert list(second.get_xticks()) == [20, 50, 70, 90], "not 80, where one run was stopped"
    drawn: list[dict[str, Any]] = [
        {text.get_text(): line.get_color() for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)}
        for legend in (first.get_legend(), second.get_legend())
        if legend is not None
    ]
    assert [len(set(colors.values())) for colors in drawn] == [4, 5]
    assert drawn[0]["n b"] == drawn[1]["n b"]
    plt.close("all")


def test_a_line_ends_where_its_run_did() -> None:
    shown = pd.DataFrame({"seed": [0] * 3 + [1] * 2, "step": [1, 2, 3, 1, 2], "value": [0.1, 0.2, 0.3, 0.5, 1.0]})
    axes = plt.figure().subplots()
    draw_condition(axes, shown, "black", "a")
    lines: list[Any] = [[tuple(point) for point in np.asarray(line.get_xydata())] for line in axes.get_lines()]
    assert lines[:2] == [[(1, 0.1), (2, 0.2), (3, 0.3)], [(1, 0.5), (2, 1.0)]], "the seeds"
    assert lines[2] == [(2, 1.0)], "the dot where the second one ended"
    assert lines[3] == [(1, 0.3), (2, 0.6)], "the median of both"
    assert lines[4] == [(2, 0.6), (3, 0.3)], "and, dashed, of the one that is left"
    plt.close("all")
