"""Share of all rows whose answer has a wrong verb, number or noun, over training."""

import re
from collections import Counter

import numpy as np
import pandas as pd

from evaluation.report.drawing import draw_curve, intervals, shared_legend
from evaluation.report.experiment import Experiment
from evaluation.report.figures.figure import Drawing, figure
from evaluation.report.style import Looks, accuracy_axis, grid, step_axis

ANSWER = re.compile(r"\s*([^\s\d-]*)\s*(-?\d+)?\s*([^\s.,]*)")
KINDS = (("verb", "#c05000", "^"), ("number", "#1a1a1a", "o"), ("noun", "#0072d6", "s"))


def mistake_kinds(gold: str, generated: str) -> list[str]:
    """Which of `verb`, `number` and `noun` a wrong answer gets wrong; what is missing is wrong.

    A noun that follows a wrong number is compared without its plural s: "take 1 coin" for "take 3 coins" is a mistake
    of the number alone.
    """
    verb, number, noun = _parts(generated)
    gold_verb, gold_number, gold_noun = _parts(gold)
    if number != gold_number:
        noun, gold_noun = noun.rstrip("s"), gold_noun.rstrip("s")
    wrong = {"verb": verb != gold_verb, "number": number != gold_number, "noun": noun != gold_noun}
    return [kind for kind, _, _ in KINDS if wrong[kind]]


def _parts(text: str) -> tuple[str, str, str]:
    found = ANSWER.match(text.lower())
    return (found[1], found[2] or "", found[3]) if found else ("", "", "")


@figure("Mistakes by kind", order=80)
def mistakes_by_kind(experiment: Experiment, looks: Looks) -> Drawing | None:
    """Share of all rows whose answer has a wrong verb, number or noun, over training."""
    shares = _kind_shares(experiment)
    if shares.empty or not (shares["accuracy"] > 0).any():
        return None
    names = [name for name in experiment.datasets if (shares["dataset"] == name).any()][:6]
    drawing, panels = grid(len(names), height=2.5)
    for axes, name in zip(panels, names, strict=True):
        mine = shares[shares["dataset"] == name]
        for index, (kind, color, marker) in enumerate(KINDS):
            look = {"color": color, "marker": marker, "label": f"wrong {kind}"}
            draw_curve(axes, mine[mine["kind"] == kind], beside=(index, len(KINDS)), **look)
        accuracy_axis(axes, "share of all answers" if axes is panels[0] else "")
        step_axis(axes, mine["step"])
        axes.set_title(looks.label(name))
    shared_legend(drawing, panels)
    data = shares.rename(columns={"accuracy": "share"})
    bands = f" {intervals(experiment)}" if len(experiment.runs) > 1 else ""
    caption = (
        "Mistakes by kind: the share of all answers with a wrong verb, number or noun (an answer may have several; "
        f"what is missing counts as wrong; a plural that follows a wrong number does not).{bands}"
    )
    return drawing, caption, data[data["dataset"].isin(names)]


def _kind_shares(experiment: Experiment) -> pd.DataFrame:
    """Columns dataset, step, kind, accuracy (the share), low and high (over runs; missing for a single one)."""
    lines = []
    for run in experiment.runs:
        for name in run.datasets:
            for step, n in run.overall(name)["n"].dropna().items():
                wrong = run.incorrect(int(step), name) if n else None  # type: ignore[call-overload]
                if wrong is None:
                    continue
                if wrong.answers and not any(all(_parts(gold)) for gold, _ in wrong.answers):
                    continue  # not of the form "take 3 coins"
                kinds: Counter[str] = Counter()
                for (gold, generated), count in wrong.answers.items():
                    kinds.update(dict.fromkeys(mistake_kinds(gold, generated), count))
                lines += [(name, step, kind, kinds[kind] / n) for kind, _, _ in KINDS]
    shares = pd.DataFrame(lines, columns=["dataset", "step", "kind", "share"])
    grouped = shares.groupby(["dataset", "step", "kind"], sort=False)["share"]
    result = grouped.agg(accuracy="mean", low="min", high="max").reset_index().sort_values("step", kind="stable")
    if len(experiment.runs) == 1:
        result[["low", "high"]] = np.nan
    return result
