"""The page of a study: its question, the answer in words and numbers, figures, tables, and what the paper saw."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from evaluation.report.figure_files import save
from evaluation.report.style import RC
from nim_dataset.files import write_text
from training.study import figures
from training.study.description import OUTCOMES, Study
from training.study.outcomes import NEAR_CHANCE, PART, RULE, SHORTCUT, Outcome, Plateau, outcome_of, tidy
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
        for name, title, (figure, caption) in _figures(study, results, outcomes):
            width = round(figure.get_figwidth() * 96)
            svg = save(figure, None, folder / "figures", name)
            drawn.append({"name": name, "title": title, "caption": caption, "svg": svg, "width": width})
    by_condition = group(outcomes)
    said = headline({name: ended for name, ended in by_condition.items() if name in study.answering} or by_condition)
    warnings = notes(study, outcomes, planned)
    sentences = [sentence(name, ended) for name, ended in by_condition.items()]
    loader = jinja2.PackageLoader("training.study", ".")
    template = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("study.html.j2")
    html = template.render(
        study=study,
        title=study.name.replace("_", " "),
        notes=warnings,
        headline=said,
        answers=sentences,
        beside=[
            beside_the_paper(name, study.published[name], ended)
            for name, ended in by_condition.items()
            if name in study.published
        ],
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
    return folder / "index.html", "\n".join([said, *warnings, *(f"- {text}" for text in sentences)])


def _figures(
    study: Study, results: pd.DataFrame, outcomes: Sequence[Outcome]
) -> Iterator[tuple[str, str, tuple[Figure, str]]]:
    """Name, title, drawing and caption: the main figure, the endings, then the other quantities."""
    there = set(results["condition"])
    answering = [name for name in study.answering if name in there]
    known = list(dict.fromkeys(results[results["value"].notna()]["quantity"]))
    drawn = figures.layout(study, answering or [name for name in study.conditions if name in there], known)
    for title, panels in drawn[:1]:
        yield "over_steps", title, figures.over_steps(results, outcomes, panels)
    yield "endings", "How the runs ended", figures.endings(outcomes)
    for number, (title, panels) in enumerate(drawn[1:], start=2):
        yield f"over_steps_{number}", title, figures.over_steps(results, outcomes, panels)


def notes(study: Study, outcomes: Sequence[Outcome], planned: int) -> list[str]:
    """What a reader should know before the numbers: runs and figures that are missing, and a single seed."""
    said = []
    if len(outcomes) < planned:
        said.append(f"{len(outcomes)} of {planned} runs are done; the others are missing here.")
    if len({outcome.run.seed for outcome in outcomes}) == 1:
        said.append(f"One seed ({outcomes[0].run.seed}): what another one would do is not known.")
    for name in dict.fromkeys(q.name for c in study.conditions.values() for q in c.quantities):
        if all(outcome.end(name) is None for outcome in outcomes):
            said.append(f"No run has a value of '{name}': its words are none of results.csv, or it was not measured.")
    return said


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
    some = [name for name in found if name not in (*always, *never)]
    counts = {name: f" ({found[name]} of {len(by_condition[name])})" for name in some}
    quoted = {name: f"'{name}'{counts.get(name, '')}" for name in found}
    parts = {"every run of": always, "some runs of": some, "no run of": never}
    said = [f"by {words} {', '.join(quoted[name] for name in names)}" for words, names in parts.items() if names]
    return f"The rule is found {'; '.join(said)}."


def sentence(name: str, ended: Sequence[Outcome]) -> str:
    """What became of one condition."""
    text = endings(Counter(outcome.outcome for outcome in ended))
    main = ended[0].run.condition.quantities[0].name
    text = f"{name}: {text}; {main} {span([outcome.end(main) for outcome in ended])} at the end"
    if steps := [outcome.rule_step for outcome in ended if outcome.rule_step is not None]:
        text += f", the rule by step {span(steps, digits=0)}"
        if never := len(ended) - len(steps):
            text += f" in {len(steps)} of {len(ended)}, never in {never}"
    for known in by_divisor(ended).values():
        first, onsets, lasts = known[0], [plateau.onset for plateau in known], [plateau.last for plateau in known]
        text += (
            f"; right modulo {first.divisor} but not modulo {first.modulus} from step {span(onsets, digits=0)}"
            f" to {span(lasts, digits=0)} in {len(known)} of {len(ended)}, at {span([each.level for each in known])}"
            f" (expected {first.divisor}/{first.modulus} = {first.expected:.3f})"
        )
    return text + "."


def endings(counts: Mapping[str, int]) -> str:
    """`rule 2 of 5, chance 3 of 5`."""
    runs = sum(counts.values())
    return ", ".join(f"{ending} {counts[ending]} of {runs}" for ending in OUTCOMES if counts.get(ending))


def beside_the_paper(name: str, published: Mapping[str, int], ended: Sequence[Outcome]) -> str:
    """How the runs of one condition ended there and here, and whether the commonest endings are the same."""
    here = Counter(outcome.outcome for outcome in ended)
    most_there, most_here = (
        {ending for ending, n in counts.items() if n == max(counts.values())} for counts in (published, here)
    )
    if most_there == most_here:
        judged = "the commonest ending is the same"
    elif most_there & most_here:
        judged = "one of the commonest endings is the same"
    else:
        judged = "the commonest ending is another"
    return f"{name}: there {endings(published)}; here {endings(here)}: {judged}."


def by_divisor(ended: Sequence[Outcome]) -> dict[int, list[Plateau]]:
    """Divisor -> the plateaus of one condition's runs; a seed may rest on another divisor than the next one."""
    found: dict[int, list[Plateau]] = {}
    for plateau in (outcome.plateau for outcome in ended):
        if plateau is not None:
            found.setdefault(plateau.divisor, []).append(plateau)
    return dict(sorted(found.items()))


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
        f"Coset plateau: at least {PART:.0%} are right modulo a proper divisor of the modulus, while exact match is"
        " nearer to the level expected of that, divisor / modulus, than to 100%; a run ends there if it still is.",
        f"Chance: the first quantity is at most {NEAR_CHANCE:.0%} above a uniform guess.",
    ]


# ---- In a table ----


def table(study: Study, by_condition: dict[str, list[Outcome]]) -> dict[str, Any]:
    """Condition x quantity at the end, then the milestones; median and range over the seeds."""
    names = list(dict.fromkeys(q.name for c in study.conditions.values() for q in c.quantities))
    rows = []
    for name, ended in by_condition.items():
        plateaus = by_divisor(ended).values()
        rows.append(
            [
                *(name, str(len(ended)), *(span([outcome.end(quantity) for outcome in ended]) for quantity in names)),
                _rule_by([outcome.rule_step for outcome in ended]),
                _each(plateaus, lambda known: span([plateau.onset for plateau in known], digits=0)),
                _each(plateaus, lambda known: span([plateau.last - plateau.onset for plateau in known], digits=0)),
                _each(plateaus, lambda known: span([plateau.level for plateau in known])),
                _each(plateaus, lambda known: f"{known[0].divisor}/{known[0].modulus}"),
            ]
        )
    milestones = ("rule by step", "plateau from step", "plateau, steps", "level", "expected")
    every = [outcome for ended in by_condition.values() for outcome in ended]
    heads = ["condition", "seeds", *(_head(name, every) for name in names), *milestones]
    shown = [index for index in range(len(heads)) if index < 2 or any(row[index] != "-" for row in rows)]
    return {
        "heads": [heads[index] for index in shown],
        "rows": [[row[index] for index in shown] for row in rows],
        "caption": "At each run's last checkpoint, the median over the seeds and the range; then the milestones, in"
        " steps.",
    }


def _each(plateaus: Iterable[list[Plateau]], told: Callable[[list[Plateau]], str]) -> str:
    return "; ".join(map(told, plateaus)) or "-"


def _rule_by(steps: Sequence[int | None]) -> str:
    never = sum(step is None for step in steps)
    return span(steps, digits=0) + (f"; never in {never}" if 0 < never < len(steps) else "")


def _head(quantity: str, outcomes: Sequence[Outcome]) -> str:
    """The quantity, with the chance of a guess where it is known."""
    curves = pd.concat([outcome.curves for outcome in outcomes])
    chance = span(list(curves[curves["quantity"] == quantity]["chance"].dropna().unique()))
    return quantity if chance == "-" else f"{quantity}; chance {chance}"
