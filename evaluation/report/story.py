"""What a sweep shows, in words: when the shortcut was learned, when the rule, and which scar stayed. Numbers only.

The thresholds below are stated on the page wherever a sentence depends on them.
"""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from evaluation.report.experiment import Experiment, Run
from nim_dataset.regimes import REGIMES

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

SHORTCUT_SPLITS = ("cheat_consistent", "counter_cheat", "unseen_names")


@dataclass(frozen=True)
class Story:
    """The milestones of one run. Steps are None when the milestone was not reached or could not be judged."""

    run: Run
    last_step: int
    shortcut_step: int | None
    shortcut_judged: bool
    """Whether `cheat_consistent` and `counter_cheat` were scored, without which nothing is known of a shortcut."""
    rule_step: int | None
    rule_judged: bool
    rule_lost: bool
    """The rule's thresholds were met at some checkpoint, but not held to the end."""
    scar: float | None
    """Neutral minus counter_cheat accuracy at the last step: what a wrong bound pair costs on the same games."""

    @classmethod
    def of(cls, run: Run) -> "Story":
        curve = {split: run.overall(run.regime(split))["accuracy"].dropna() for split in ("eval", *REGIMES)}
        last_step = max(run.checkpoints)

        shortcut_judged = not (curve["cheat_consistent"].empty or curve["counter_cheat"].empty)
        follows = _all_hold(
            curve["cheat_consistent"] >= SHORTCUT_CONSISTENT,
            curve["counter_cheat"] <= SHORTCUT_COUNTER,
            curve["unseen_names"] <= SHORTCUT_UNSEEN,
        )
        knows = _all_hold(curve["eval"] >= RULE_EVAL, curve["unseen_names"] >= RULE_UNSEEN)
        kept = knows[::-1].cummin()[::-1].astype(bool)  # true from the step on after which it never fails again

        scar = None
        if len(curve["neutral"]) and len(curve["counter_cheat"]):
            scar = float(curve["neutral"].iloc[-1] - curve["counter_cheat"].iloc[-1])
        return cls(
            run=run,
            last_step=last_step,
            shortcut_step=_first(follows) if shortcut_judged else None,
            shortcut_judged=shortcut_judged,
            rule_step=_first(kept) if not curve["eval"].empty else None,
            rule_judged=not curve["eval"].empty,
            rule_lost=bool(knows.any() and not kept.any()),
            scar=scar,
        )


def _all_hold(*conditions: pd.Series) -> pd.Series:
    """Where every condition holds, on the steps they share; conditions on splits that were not scored are left out."""
    scored = [condition for condition in conditions if len(condition)]
    return pd.concat(scored, axis=1, join="inner").all(axis=1) if scored else pd.Series(dtype=bool)


def _first(condition: pd.Series) -> int | None:
    return int(condition.index[condition][0]) if condition.any() else None


def _steps(steps: list[int]) -> str:
    return f"step {steps[0]:,}" if min(steps) == max(steps) else f"steps {min(steps):,} to {max(steps):,}"


def summary(experiment: Experiment) -> list[str]:
    """The sentences at the top of the page, at least one; the first is the headline."""
    stories = [Story.of(run) for run in experiment.runs]
    sentences = [headline(stories), _shortcut(stories), _rule(stories), _scar(stories)]
    known = [sentence for sentence in sentences if sentence]
    return known + _last_accuracies(experiment, regimes=not known)


def headline(stories: list[Story]) -> str:
    """One sentence: shortcut, rule, scar, as far as each is known; empty when nothing is known of them."""
    parts = []
    shortcut = [story.shortcut_step for story in stories if story.shortcut_step is not None]
    rule = [story.rule_step for story in stories if story.rule_step is not None]
    # Before the rule is there, names still cost accuracy, but that is the shortcut itself and no scar.
    scars = [story.scar for story in stories if story.scar is not None and story.rule_step is not None]
    if shortcut:
        parts.append(f"shortcut learned by {_steps(shortcut)}{_share(shortcut, stories)}")
    elif any(story.shortcut_judged for story in stories):
        parts.append("shortcut not learned")
    if rule:
        parts.append(f"rule by {_steps(rule)}{_share(rule, stories)}")
    elif any(story.rule_judged for story in stories):
        parts.append(f"rule not learned by {_steps([story.last_step for story in stories])}")
    if scars:
        parts.append(f"scar at the end: {_range(scars)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _share(reached: list[int], stories: list[Story]) -> str:
    return "" if len(stories) == 1 else f" ({len(reached)} of {len(stories)} runs)"


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _accuracies(stories: list[Story], splits: tuple[str, ...], steps: list[int]) -> str:
    """`"cheat_consistent 0.97, counter_cheat 0.01"`: one step per story, ranges over several of them."""
    parts = []
    for split in splits:
        values = []
        for story, step in zip(stories, steps, strict=True):
            curve = story.run.overall(story.run.regime(split))["accuracy"]
            if step in curve.index:
                values.append(float(curve.loc[step]))
        if values:
            parts.append(f"{split} {_range(values)}")
    return ", ".join(parts)


def thresholds() -> str:
    """The sentence that says what `learned` means."""
    return (
        f"The shortcut counts as learned at the first checkpoint with cheat_consistent at or above "
        f"{SHORTCUT_CONSISTENT:.2f}, counter_cheat at or below {SHORTCUT_COUNTER:.2f} and unseen_names (if scored) at "
        f"or below {SHORTCUT_UNSEEN:.2f}; the rule at the first checkpoint from which, up to the last one, eval stays "
        f"at or above {RULE_EVAL:.2f} and unseen_names (if scored) at or above {RULE_UNSEEN:.2f}. The scar is the "
        f"accuracy on neutral minus that on counter_cheat at the last checkpoint."
    )


def _shortcut(stories: list[Story]) -> str:
    judged = [story for story in stories if story.shortcut_judged]
    if not judged:
        return ""
    reached = [story for story in judged if story.shortcut_step is not None]
    if not reached:
        values = _accuracies(judged, SHORTCUT_SPLITS, [story.last_step for story in judged])
        return f"No checkpoint followed the names alone (at the end: {values})."
    steps = [story.shortcut_step for story in reached if story.shortcut_step is not None]
    values = _accuracies(reached, SHORTCUT_SPLITS, steps)
    return f"At {_steps(steps)}{_share(steps, stories)} the model followed the names, not the game: {values}."


def _rule(stories: list[Story]) -> str:
    judged = [story for story in stories if story.rule_judged]
    if not judged:
        return ""
    unseen = "" if any(story.run.regime("unseen_names") for story in judged) else "; unseen_names was not scored"
    reached = [story for story in judged if story.rule_step is not None]
    if not reached:
        last = [story.last_step for story in judged]
        lost = " It was there for a while, and lost again." if any(story.rule_lost for story in judged) else ""
        values = _accuracies(judged, ("eval", "unseen_names"), last)
        return f"The rule was not there at the last checkpoint, {_steps(last)}: {values}{unseen}.{lost}"
    steps = [story.rule_step for story in reached if story.rule_step is not None]
    values = _accuracies(reached, ("eval", "unseen_names"), [story.last_step for story in reached])
    return f"From {_steps(steps)}{_share(steps, stories)} on it played by the rule (at the end: {values}{unseen})."


def _scar(stories: list[Story]) -> str:
    judged = [story for story in stories if story.scar is not None]
    if not judged:
        return ""
    steps = [story.last_step for story in judged]
    values = _accuracies(judged, ("counter_cheat", "neutral"), steps)
    return (
        f"At the last checkpoint, {_steps(steps)}, a pair of names that is bound to a wrong move costs "
        f"{_range([story.scar for story in judged if story.scar is not None])} of accuracy against neutral names in "
        f"the same games: {values}."
    )


def _last_accuracies(experiment: Experiment, regimes: bool) -> list[str]:
    """Where each dataset stands, and the gap between its buckets; that of regimes only where the story is silent."""
    sentences = []
    for dataset in experiment.datasets:
        if not regimes and any(dataset == run.regime(split) for run in experiment.runs for split in ("eval", *REGIMES)):
            continue
        curve = experiment.curve(dataset)
        if curve.empty:
            continue
        best, last = curve.iloc[int(curve["accuracy"].to_numpy().argmax())], curve.iloc[-1]
        text = f"{dataset}: {last['accuracy']:.2f} at step {int(last['step']):,}"
        if best["accuracy"] > last["accuracy"]:
            text += f", at its best {best['accuracy']:.2f} at step {int(best['step']):,}"
        buckets = {group: experiment.curve(dataset, group, "bucket") for group in ("cheat", "neutral")}
        if all(len(bucket) for bucket in buckets.values()):
            ends = [f"{bucket['accuracy'].iloc[-1]:.2f} on {group} pairs" for group, bucket in buckets.items()]
            text += f" ({', '.join(ends)})"
        sentences.append(text + ".")
    return sentences


@dataclass(frozen=True)
class Moment:
    """A checkpoint worth a look, which may be another step in each run."""

    label: str
    steps: list[tuple[Run, int]]

    def answers(self, dataset: str) -> Counter[tuple[int, int | None]]:
        """How often each (gold move, predicted move) occurs, over the runs; None is an answer without a number."""
        rows = (row for run, step in self.steps for row in run.predictions(step, dataset))
        return Counter((row["move"], row.get("predicted_move")) for row in rows if row.get("move") is not None)


def moments(experiment: Experiment) -> list[Moment]:
    """Where the shortcut was learned (or else half-way to what was reached), and the last checkpoint."""
    stories = [Story.of(run) for run in experiment.runs]
    last = Moment(
        _label("last checkpoint", stories, [story.last_step for story in stories]), _pairs(stories, "last_step")
    )
    if any(story.shortcut_step is not None for story in stories):
        steps = _pairs(stories, "shortcut_step")
        return [Moment(_label("shortcut", stories, [step for _, step in steps]), steps), last]
    halfway = []
    for story in stories:
        overall = story.run.groups("overall")
        means = overall[overall["group"] == "exact_match"].groupby("step")["accuracy"].mean().dropna()
        if len(means):
            halfway.append((story.run, int((means - (means.min() + means.max()) / 2).abs().idxmin())))
    if not halfway or halfway == last.steps:
        return [last]
    return [Moment(_label("half-way", stories, [step for _, step in halfway]), halfway), last]


def _pairs(stories: list[Story], field: str) -> list[tuple[Run, int]]:
    return [(story.run, getattr(story, field)) for story in stories if getattr(story, field) is not None]


def _label(text: str, stories: list[Story], steps: list[int]) -> str:
    span = f"step {steps[0]:,}" if min(steps) == max(steps) else f"steps {min(steps):,}-{max(steps):,}"
    return f"{text}, {span}"
