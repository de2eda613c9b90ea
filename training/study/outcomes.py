"""What became of each run: the quantities over its steps, when the rule came, where it rested, and how it ended.

Medians hide that runs end in one way or another, so every run is given one outcome, by the thresholds below, which the
page states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from evaluation.report.scored_run import ScoredRun
from training.study.description import Quantity
from training.study.runs import StudyRun

RULE = 0.95
"""The rule counts as learned when the first quantity is at or above this, at every later checkpoint too."""
PART = 0.95
"""A run rests on a part of the rule while answers are right modulo a proper divisor of the modulus this often, and
exact match is nearer to the level of that part (divisor / modulus) than to the whole."""
SHORTCUT = 0.5
"""A run ends on the shortcut when it plays the wrong bound move in at least this share of `counter_cheat`."""
NEAR_CHANCE = 0.1
"""A run ends at chance when the first quantity is at most this far above it."""
PROBES = ("probe", "probe_mlp")
"""The measures whose own tables a quantity may be of."""


@dataclass(frozen=True)
class Plateau:
    """The checkpoints at which the answer was right modulo a divisor of the modulus, and not yet near to right."""

    divisor: int
    modulus: int
    onset: int
    """Step of its first checkpoint."""
    last: int
    level: float
    """Median of the first quantity meanwhile."""

    @property
    def expected(self) -> float:
        """The level of a model that knows the residue modulo the divisor and guesses the rest: divisor / modulus."""
        return self.divisor / self.modulus


@dataclass(frozen=True)
class Outcome:
    """One run."""

    run: StudyRun
    curves: pd.DataFrame
    """Tidy: step, quantity, role, n, value, low, high, chance (where it is known)."""
    rule_step: int | None
    plateau: Plateau | None
    """The one of the finest divisor."""
    outcome: str
    """One of `description.OUTCOMES`."""
    last_step: int
    switches: dict[int, int]
    """Phase from the second on -> the step after which it began."""

    def end(self, quantity: str) -> float | None:
        """The value at the last checkpoint at which it is known."""
        values = self.curves[self.curves["quantity"] == quantity]["value"].dropna()
        return float(values.iloc[-1]) if len(values) else None


def outcome_of(run: StudyRun) -> Outcome:
    """Judges a run that is done, from its report folder."""
    scored = ScoredRun.read(run.report_dir)
    quantities, sets = run.condition.quantities, run.condition.evaluate
    curves = pd.concat([_curve(scored, sets, each) for each in quantities], ignore_index=True)
    main = quantities[0]
    exact = curves[curves["quantity"] == main.name].set_index("step")["value"].dropna()
    kept = (exact >= RULE)[::-1].cummin()[::-1]
    rule_step = int(kept.index[kept][0]) if kept.any() else None
    plateau = _plateau(scored, sets[main.role], exact)
    ending = _ending(scored, run, exact, plateau)
    last_step = max(scored.checkpoints, default=0)
    return Outcome(run, curves, rule_step, plateau, ending, last_step, scored.switches)


def _curve(scored: ScoredRun, sets: Mapping[str, str], quantity: Quantity) -> pd.DataFrame:
    if quantity.of_log:
        rows = scored.training.rename(columns={quantity.group: "value"})
        rows = rows.dropna(subset=["value"]) if "value" in rows else pd.DataFrame(columns=["step", "value"])
    else:
        dataset = sets[quantity.role]
        if quantity.dimension in PROBES:
            rows = scored.table(quantity.dimension, ["label", "layer", "position", "n", "accuracy", "low", "high"])
            layers = rows["layer"].astype(int).astype(str)
            rows = rows.assign(group=rows["label"] + ", layer " + layers + ", " + rows["position"])
        else:
            rows = scored.groups(quantity.dimension)
        rows = rows[(rows["dataset"] == dataset) & (rows["group"].astype(str) == quantity.group)]
        rows = rows.rename(columns={"accuracy": "value"})
        if (quantity.dimension, quantity.group) == ("overall", "exact_match"):
            rows = rows.assign(chance=scored.settings.get("datasets", {}).get(dataset, {}).get("chance"))
    rows = rows.drop_duplicates("step", keep="last").reindex(columns=["step", "n", "value", "low", "high", "chance"])
    numbers = rows.astype(dict.fromkeys(("value", "low", "high", "chance"), float) | {"step": int})  # without rows too
    return numbers.assign(quantity=quantity.name, role=quantity.role)


def _plateau(scored: ScoredRun, dataset: str, exact: pd.Series) -> Plateau | None:
    """Of a set with one modulus; None where there is no checkpoint on a plateau."""
    rows = scored.groups("coset")
    rows = rows[rows["dataset"] == dataset]
    parts = rows["group"].str.extract(r"^(max_remove|modulus)=(\d+) mod (\d+)$").dropna()
    moduli = parts[1].astype(int) + (parts[0] == "max_remove")
    if moduli.nunique() != 1:
        return None
    modulus, divisors = int(moduli.iloc[0]), parts[2].astype(int)
    found = None
    for divisor in sorted(set(divisors[divisors < modulus])):
        right = rows.loc[divisors.index[divisors == divisor]].drop_duplicates("step", keep="last")
        known = right.set_index("step")["accuracy"].reindex(exact.index)
        resting = exact[(known >= PART) & (exact < (divisor / modulus + 1) / 2)]
        if len(resting):
            steps = resting.index
            found = Plateau(divisor, modulus, int(steps[0]), int(steps[-1]), float(resting.median()))
    return found


def _ending(scored: ScoredRun, run: StudyRun, exact: pd.Series, plateau: Plateau | None) -> str:
    if exact.empty:
        return "none of these"
    if exact.iloc[-1] >= RULE:
        return "rule"
    if liar := run.condition.evaluate.get("counter_cheat"):
        followed = scored.overall(liar, "cheat_rate")["accuracy"].dropna()
        if len(followed) and followed.iloc[-1] >= SHORTCUT:
            return "shortcut"
    if plateau is not None and plateau.last == exact.index[-1]:
        return "coset plateau"
    role = run.condition.quantities[0].role
    chance = scored.settings.get("datasets", {}).get(run.condition.evaluate[role], {}).get("chance")
    if chance is not None and exact.iloc[-1] <= chance + NEAR_CHANCE:
        return "chance"
    return "none of these"


def tidy(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """All runs' curves: condition, seed, step, quantity, role, n, value, low, high, chance, and how the run ended."""
    frames = [
        one.curves.assign(condition=one.run.condition.name, seed=one.run.seed, outcome=one.outcome) for one in outcomes
    ]
    columns = ["condition", "seed", "step", "quantity", "role", "n", "value", "low", "high", "chance", "outcome"]
    return pd.concat(frames, ignore_index=True)[columns]
