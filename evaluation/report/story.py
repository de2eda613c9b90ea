"""The milestones of one run: when the shortcut was learned, when the rule, and which scar stayed. Numbers only.

Every milestone that combines sets looks at steps at which all of them were scored. The thresholds below are stated on
the page wherever a sentence depends on them.
"""

from dataclasses import dataclass

import pandas as pd

from evaluation.report.scored_run import ScoredRun

SHORTCUT_CONSISTENT = 0.9
"""The shortcut counts as learned when `cheat_consistent` is at or above this ..."""
SHORTCUT_COUNTER = 0.1
"""... while `counter_cheat` is at or below this ..."""
SHORTCUT_UNSEEN = 0.3
"""... and `unseen_names`, if scored, at or below this."""
RULE_EVAL = 0.99
"""The rule counts as learned when `eval` is at or above this ..."""
RULE_UNSEEN = 0.9
"""... and `unseen_names`, if scored, at or above this, at every later checkpoint too."""


@dataclass(frozen=True)
class Story:
    """The milestones of one run. Steps are None when the milestone was not reached or could not be judged."""

    run: ScoredRun
    last_step: int
    """The last step at which any set was scored."""
    shortcut_step: int | None
    shortcut_scored: bool
    """Whether `cheat_consistent` and `counter_cheat` were scored, without which nothing is known of a shortcut."""
    shortcut_judged: bool
    """Whether they, and `unseen_names` if scored, were so at a checkpoint from before the rule; where the rule never
    came, whether they were at several, for one alone says nothing of those before it."""
    shortcut_last: int | None
    """The last step at which these sets were scored together."""
    rule_step: int | None
    rule_judged: bool
    """Whether `eval`, and `unseen_names` if scored, were scored at the same step."""
    rule_last: int | None
    """The last step at which they were."""
    rule_lost: bool
    """The rule's thresholds were met at some checkpoint, but not held to the end."""
    scar: float | None
    """Accuracy on `scar_twin` minus that on `counter_cheat` at `scar_step`: what a wrong bound pair costs in the same
    games. None where they have no step in common, or there is no twin."""
    scar_step: int | None
    """The last step at which both were scored."""
    scar_twin: str | None
    """The split that holds the games of `counter_cheat` under neutral names; None where none was scored."""

    @property
    def has_scar(self) -> bool:
        """Whether the scar was measured with the rule there: before it, what names cost is the shortcut itself."""
        return self.scar_step is not None and self.rule_step is not None and self.scar_step >= self.rule_step

    @classmethod
    def of(cls, run: ScoredRun) -> "Story":
        """Judges a run. It may read predictions; an `Experiment` does it once."""
        consistent, counter = run.accuracy("cheat_consistent"), run.accuracy("counter_cheat")
        unseen, held_out = run.accuracy("unseen_names"), run.accuracy("eval")
        overall = run.groups("overall").dropna(subset=["accuracy"])

        knows = _all_hold([held_out >= RULE_EVAL], [unseen >= RULE_UNSEEN])
        kept = knows[::-1].cummin()[::-1].astype(bool)  # true from the step on after which it never fails again
        rule_step = _first(kept)
        follows = _all_hold(
            [consistent >= SHORTCUT_CONSISTENT, counter <= SHORTCUT_COUNTER], [unseen <= SHORTCUT_UNSEEN]
        )
        before_rule = len(follows) > 1 if rule_step is None else len(follows) > 0 and int(follows.index[0]) < rule_step

        twin = run.scar_twin
        drop = (run.accuracy(twin) - counter).dropna() if twin is not None else pd.Series(dtype=float)
        return cls(
            run=run,
            last_step=int(overall["step"].max()) if len(overall) else max(run.checkpoints),
            shortcut_step=_first(follows),
            shortcut_scored=len(consistent) > 0 and len(counter) > 0,
            shortcut_judged=before_rule or bool(follows.any()),
            shortcut_last=_last(follows),
            rule_step=rule_step,
            rule_judged=len(knows) > 0,
            rule_last=_last(knows),
            rule_lost=bool(knows.any() and not kept.any()),
            scar=float(drop.iloc[-1]) if len(drop) else None,
            scar_step=_last(drop),
            scar_twin=twin,
        )


def _all_hold(needed: list[pd.Series], if_scored: list[pd.Series]) -> pd.Series:
    """Where every condition holds, on the steps they share; empty where a needed set was not scored."""
    if not all(map(len, needed)):
        return pd.Series(dtype=bool)
    conditions = [*needed, *(condition for condition in if_scored if len(condition))]
    return pd.concat(conditions, axis=1, join="inner").all(axis=1).sort_index()


def _first(condition: pd.Series) -> int | None:
    return int(condition.index[condition][0]) if condition.any() else None


def _last(values: pd.Series) -> int | None:
    return int(values.index[-1]) if len(values) else None
