"""The figures' rules: colours that all can tell apart, steps spaced as they were, labels that do not overlap."""

import itertools
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from evaluation.report import page
from evaluation.report.figures.coset_probability import seen
from evaluation.report.figures.mistakes_by_kind import mistake_kinds
from evaluation.report.labels import fold, fold_all, longest_line
from evaluation.report.style import LOOKS, MUTED, Looks, _spread, short_step, step_axis

# Colour blindness as linear maps of RGB light, severity 1 (Machado, Oliveira and Fernandes 2009).
BLINDNESS = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def light(color: str) -> np.ndarray:
    srgb = np.array([int(color[index : index + 2], 16) for index in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_stay_apart_for_everyone(kind: str) -> None:
    seen = {split: lab(np.array(BLINDNESS[kind]) @ light(color)) for split, (color, *_) in LOOKS.items()}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 12, (one, other)
    assert len({marker for _, marker, _ in LOOKS.values()}) == len(LOOKS)  # and a second sign beside colour


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio."""
    low, high = sorted(float(light(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_as_text() -> None:
    for color in (*(color for color, *_ in LOOKS.values()), MUTED):
        assert contrast(color, "#ffffff") >= 4.5  # WCAG AA
    html = Path(page.__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    css = dict(re.findall(r"--(\w+): (#\w{6})", html))
    for ink, paper in itertools.product(("ink", "muted", "link"), ("#ffffff", css["soft"])):
        assert contrast(css[ink], paper) >= 4.5, (ink, paper)


def test_a_regime_has_one_colour_whatever_else_is_on_the_page() -> None:
    alone = Looks(["quickstart:counter_cheat"])
    among = Looks(["a.b:eval", "quickstart:counter_cheat", "quickstart:eval", "old_eval", "cheating:counter_cheat"])
    assert alone.color("quickstart:counter_cheat") == among.color("quickstart:counter_cheat")
    assert among.color("cheating:counter_cheat") == among.color("quickstart:counter_cheat")
    assert alone.label("quickstart:counter_cheat") == alone.name("quickstart:counter_cheat") == "counter_cheat"
    assert among.name("quickstart:counter_cheat") == "quickstart:counter_cheat"
    assert among.label("quickstart:counter_cheat") == "quickstart:counter_\ncheat"
    assert among.color("old_eval") not in {among.color(name) for name in among.datasets if name != "old_eval"}


@pytest.mark.parametrize(
    "experiments",
    [
        [[f"set_{index}" for index in range(60)]],
        [["a:b:eval", "quickstart:eval", "cheating:eval", "eval", "run:3", "other"]],
        [["set_a", "set_b"], ["set_c", "quickstart:eval"], ["set_d", "cheating:eval"]],  # side by side
    ],
)
def test_every_label_has_a_look_of_its_own(experiments: list[list[str]]) -> None:
    looks = Looks(*experiments)
    seen = {looks.label(name): tuple(sorted(looks.line(name).items())) for name in looks.datasets}
    assert len(set(seen.values())) == len(seen) == len({looks.name(name) for name in looks.datasets})
    if len(experiments) > 1:  # one recipe in each: the split is what they have in common
        assert looks.line("quickstart:eval") == looks.line("cheating:eval")


LONG = "4_pairs20000_shuf5_occ4_evaluation_with_masking_of_player_names_and_reversed_moves"


@pytest.mark.parametrize(
    "names",
    [[f"{LONG}_{index}" for index in range(12)], [f"{LONG}_{index}_{LONG}" for index in range(12)], ["游戏" * 40]],
)
def test_long_names_are_folded_and_stay_apart(names: list[str]) -> None:
    folded = fold_all(names, width=21, lines=2)
    assert len(set(folded.values())) == len(names)
    for text in folded.values():
        assert len(text.split("\n")) <= 2
        assert longest_line([text]) <= 22
    assert fold("counter_cheat") == "counter_cheat"


def test_folded_names_are_no_wider_than_figures_leave_room_for() -> None:
    def width(text: str) -> float:
        return float(TextPath((0, 0), text, size=11.5, prop=FontProperties(weight="bold")).get_extents().width)

    for name in ("A" * 60, "W" * 60, "m" * 60, "n" * 60, "8_" * 30, "QUESTIONS_OF_MANY_PEOPLE_WITH_MANY_WORDS"):
        assert max(map(width, fold(name).split("\n"))) <= 1.05 * width("n" * 21), name


@pytest.mark.parametrize(
    ("steps", "scale"),
    [
        ([20, 40, 60, 80, 100, 150, 200, 300, 400, 700], "log"),
        ([0, 1, 2, 4, 8, 16, 32, 64], "symlog"),
        ([500, 1000, 1500, 2000, 2500], "linear"),
        ([5000, 15000, 35000, 45000, 55000, 75000], "linear"),
        ([100], "linear"),
    ],
)
def test_steps_are_spaced_as_the_checkpoints_are(steps: list[int], scale: str) -> None:
    figure, axes = plt.subplots()
    step_axis(axes, steps)
    ticks = list(axes.get_xticks())
    assert axes.get_xscale() == scale
    assert set(ticks) <= set(steps)
    assert (ticks[0], ticks[-1]) == (steps[0], steps[-1])
    low, high = axes.get_xlim()
    assert low < steps[0] <= steps[-1] < high
    plt.close(figure)


@pytest.mark.parametrize("first", [1, 25, 5000])
def test_step_0_stands_before_a_log_axis_behind_a_break(first: int) -> None:
    figure, axes = plt.subplots()
    step_axis(axes, [0, *(first * 2**n for n in range(9))])
    places = axes.transData.transform([(step, 0) for step in (0, first, 2 * first, 4 * first)])[:, 0]
    assert np.diff(places) == pytest.approx(places[3] - places[2], rel=1e-3)
    assert [text.get_text() for text in axes.texts] == ["//"]
    plt.close(figure)


@pytest.mark.parametrize("steps", [range(2000, 80001, 2000), range(1, 41), [10**k for k in range(7)], [148000, 148500]])
@pytest.mark.parametrize("width", [1.2, 3.0, 6.0])
def test_labels_of_steps_do_not_touch(steps: list[int], width: float) -> None:
    figure, axes = plt.subplots(figsize=(width, 2), layout="constrained")
    step_axis(axes, steps)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(right.x0 - left.x1 >= 2 for left, right in itertools.pairwise(boxes))
    plt.close(figure)


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    placed = _spread([0.2, 0.97, 0.98, 0.98, 0.99], [0.06] * 5, top=1.01)
    assert max(placed) <= 0.98
    assert all(upper - lower >= 0.06 - 1e-9 for lower, upper in itertools.pairwise(placed))
    assert placed[0] == 0.2


@pytest.mark.parametrize(
    ("step", "text"), [(60, "60"), (4000, "4000"), (15000, "15k"), (12500, "12.5k"), (1_500_000, "1.5M")]
)
def test_steps_are_short(step: int, text: str) -> None:
    assert short_step(step) == text


@pytest.mark.parametrize(
    ("gold", "generated", "kinds"),
    [
        ("take 3 coins", "take 2 coins", ["number"]),
        ("take 3 coins", "take 1 coin", ["number"]),
        ("take 1 coin", "take 1 coins", ["noun"]),
        ("take 3 coins", "grab 3 coins", ["verb"]),
        ("grab 2 stones", "take 2 coins", ["verb", "noun"]),
        ("take -1 coins", "take 1 coins", ["number"]),
        ("take 3 coins", "take coins", ["number"]),
        ("take 3 coins", "take 3", ["noun"]),
        ("take 3 coins", "", ["verb", "number", "noun"]),
        ("take 3 coins", "Take 4 coins. Now", ["number"]),
    ],
)
def test_mistakes_by_kind(gold: str, generated: str, kinds: list[str]) -> None:
    assert mistake_kinds(gold, generated) == kinds


def test_a_part_of_the_rule_is_named_where_it_stands_out() -> None:
    columns = ["panel", "step", "divisor", "accuracy", "low"]
    nothing = [("modulus=6", 1, 2, 0.52, 0.45), ("modulus=6", 1, 3, 0.30, 0.25), ("modulus=6", 1, 6, 0.15, 0.1)]
    part = [("modulus=6", 2, 2, 0.55, 0.52), ("modulus=6", 2, 3, 0.90, 0.85), ("modulus=6", 2, 6, 0.45, 0.4)]
    whole = [("modulus=6", 3, 2, 1.0, 1.0), ("modulus=6", 3, 3, 1.0, 1.0), ("modulus=6", 3, 6, 1.0, 1.0)]
    assert seen(pd.DataFrame(nothing, columns=columns)).startswith("At no step")
    assert seen(pd.DataFrame(whole, columns=columns)).startswith("At no step")
    told = seen(pd.DataFrame([*nothing, *part, *whole], columns=columns))
    assert "at step 2: right modulo 3 with 0.90 (chance 0.33), modulo 6 with 0.45 (chance 0.17)" in told
