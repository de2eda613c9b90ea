"""The page of a study: its question, the answer in words and numbers, figures, tables, and what the paper saw."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import pandas as pd

from evaluation.report.figure_files import save
from evaluation.report.style import RC
from nim_dataset.files import write_text
from training.study import figures
from training.study.description import Study
from training.study.outcomes import NEAR_CHANCE, OUTCOMES, PART, RULE, SHORTCUT, Outcome, outcome_of, tidy
from training.study.runs import REPORTS, StudyRun


def write_page(study: Study, done: Sequence[StudyRun], planned: int) -> tuple[Path, str]:
    """Writes `index.html`, `results.csv` and the figures; returns the page's path and its answer in words."""
    folder = REPORTS / study.folder
    order = list(study.conditions)
    outcomes = [outcome_of(run) for run in sorted(done, key=lambda run: (order.index(run.condition.name), run.seed))]
    results = tidy(outcomes)
    write_text(folder / "results.csv", results.to_csv(index=False))
    drawn = []
    rc: Any = RC
    with matplotlib.rc_context(rc):
        for name, title, (figure, caption) in (
            ("over_steps", "Over training", figures.over_steps(results, outcomes)),
            ("endings", "How the runs ended", figures.endings(outcomes)),
        ):
            width = round(figure.get_figwidth() * 96)
            svg = save(figure, None, folder / "figures", name)
            drawn.append({"name": name, "title": title, "caption": caption, "svg": svg, "width": width})
    by_condition = group(outcomes)
    sentences = [sentence(name, ended) for name, ended in by_condition.items()]
    loader = jinja2.PackageLoader("training.study", ".")
    template = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("study.html.j2")
    html = template.render(
        study=study,
        title=study.name.replace("_", " "),
        notes=[f"{len(done)} of {planned} runs are done; the others are missing here."] if len(done) < planned else [],
        headline=headline(by_condition),
        answers=sentences,
        figures=drawn,
        table=table(study, by_condition),
        runs=[
            {
                "name": outcome.run.name,
                "outcome": outcome.outcome,
                "page": os.path.relpath(outcome.run.report_dir / "index.html", folder),
            }
            for outcome in outcomes
        ],
        thresholds=thresholds(),
    )
    write_text(folder / "index.html", html)
    return folder / "index.html", "\n".join([headline(by_condition), *(f"- {text}" for text in sentences)])


def group(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Condition -> its runs."""
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.run.condition.name, []).append(outcome)
    return grouped


# ---- In words ----


def headline(by_condition: dict[str, list[Outcome]]) -> str:
    """Which conditions always, sometimes and never end with the rule."""
    found = {name: sum(one.outcome == "rule" for one in ended) for name, ended in by_condition.items()}
    always = [name for name, n in found.items() if n == len(by_condition[name])]
    never = [name for name, n in found.items() if n == 0]
    some = [f"{name}: {n} of {len(by_condition[name])}" for name, n in found.items() if name not in (*always, *never)]
    parts = {"every run of": always, "some of": some, "none of": never}
    said = [f"by {words} {quoted(names)}" for words, names in parts.items() if names]
    return f"The rule is found {'. It is found '.join(said)}."


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def sentence(name: str, ended: Sequence[Outcome]) -> str:
    """What became of one condition."""
    counts = {kind: sum(outcome.outcome == kind for outcome in ended) for kind in OUTCOMES}
    text = ", ".join(f"{kind} {n} of {len(ended)}" for kind, n in counts.items() if n)
    main = ended[0].run.condition.quantities[0].name
    text = f"{name}: {text}; {main} {span([outcome.end(main) for outcome in ended])} at the end"
    if steps := [outcome.rule_step for outcome in ended if outcome.rule_step is not None]:
        text += f", the rule by step {span(steps, digits=0)}"
    plateaus = [outcome.plateau for outcome in ended if outcome.plateau is not None]
    if plateaus:
        first = plateaus[0]
        onsets, lasts = (span(steps, digits=0) for steps in zip(*((p.onset, p.last) for p in plateaus), strict=True))
        text += (
            f"; right modulo {first.divisor} but not modulo {first.modulus} from step {onsets} to {lasts}"
            f" in {len(plateaus)} of {len(ended)}, at {span([each.level for each in plateaus])}"
            f" (expected {first.divisor}/{first.modulus} = {first.expected:.3f})"
        )
    return text + "."


def span(values: Sequence[float | None], digits: int = 3) -> str:
    """`0.985 (0.970 to 1.000)`: the median and the range; the value alone where there is one, a dash where none."""
    known = pd.Series([value for value in values if value is not None], dtype=float)
    if known.empty:
        return "-"
    low, median, high = (f"{value:,.{digits}f}" for value in (known.min(), known.median(), known.max()))
    return median if low == high else f"{median} ({low} to {high})"


def thresholds() -> list[str]:
    return [
        f"Rule: the first quantity is at least {RULE:.0%} at the end; its step is the first from which it stays so.",
        f"Shortcut: the wrong bound move is played in at least {SHORTCUT:.0%} of counter_cheat at the end.",
        f"Part of the rule: at the end at least {PART:.0%} are right modulo a proper divisor of the modulus, and the"
        " rule is not there. The expected level is divisor / modulus.",
        f"Chance: the first quantity is at most {NEAR_CHANCE:.0%} above a uniform guess.",
    ]


# ---- In a table ----


def table(study: Study, by_condition: dict[str, list[Outcome]]) -> dict[str, Any]:
    """Condition x quantity at the end, then the milestones; median and range over the seeds."""
    names = list(dict.fromkeys(q.name for c in study.conditions.values() for q in c.quantities))
    rows = []
    for name, ended in by_condition.items():
        plateaus = [outcome.plateau for outcome in ended]
        known = [each for each in plateaus if each is not None]
        rows.append(
            [
                *(name, str(len(ended)), *(span([outcome.end(quantity) for outcome in ended]) for quantity in names)),
                span([outcome.rule_step for outcome in ended], digits=0),
                span([each.onset for each in known], digits=0),
                span([each.last - each.onset for each in known], digits=0),
                span([each.level for each in known]),
                f"{known[0].divisor}/{known[0].modulus}" if known else "-",
            ]
        )
    milestones = ("rule by step", "plateau from step", "plateau, steps", "level", "expected")
    heads = ["condition", "seeds", *names, *milestones]
    shown = [index for index in range(len(heads)) if index < 2 or any(row[index] != "-" for row in rows)]
    return {
        "heads": [heads[index] for index in shown],
        "rows": [[row[index] for index in shown] for row in rows],
        "caption": "At the last checkpoint, the median over the seeds and the range; then the milestones, in steps.",
    }
