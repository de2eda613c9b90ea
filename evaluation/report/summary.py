"""The sentences at the top of the page: what a reader should know before looking at figures. Numbers only."""

from collections.abc import Sequence

from evaluation.report.experiment import Experiment
from evaluation.report.story import (
    RULE_EVAL,
    RULE_UNSEEN,
    SHORTCUT_CONSISTENT,
    SHORTCUT_COUNTER,
    SHORTCUT_UNSEEN,
    Story,
)
from nim_dataset.regimes import REGIMES, SCAR_TWINS

SHORTCUT_SPLITS = ("cheat_consistent", "counter_cheat", "unseen_names")


def summary(experiment: Experiment) -> list[str]:
    """At least one sentence; the first is the headline."""
    stories = experiment.stories
    names = "; unseen_names was not scored" if experiment.about_nim else ""
    sentences = [headline(stories), _shortcut(stories), _rule(stories, names), _scar(stories)]
    known = [sentence for sentence in sentences if sentence]
    said = known + _last_accuracies(experiment, regimes=not known) + _no_scar(stories)
    return said or [f"No answers were scored in {experiment.name}."]


def headline(stories: list[Story]) -> str:
    """One sentence: shortcut, rule, scar, as far as each is known; empty when nothing is known of them."""
    parts = []
    shortcut = [story.shortcut_step for story in stories if story.shortcut_step is not None]
    rule = [story.rule_step for story in stories if story.rule_step is not None]
    # Before the rule is there, names still cost accuracy, but that is the shortcut itself and no scar.
    scarred = [story for story in stories if story.has_scar]
    if shortcut:
        parts.append(f"shortcut learned by {say_steps(shortcut)}{_share(shortcut, stories)}")
    elif any(story.shortcut_judged for story in stories):
        parts.append("shortcut not learned")
    elif any(story.shortcut_scored for story in stories):
        parts.append("shortcut not judged")
    if rule:
        parts.append(f"rule by {say_steps(rule)}{_share(rule, stories)}")
    elif last := [story.rule_last for story in stories if story.rule_last is not None]:
        parts.append(f"rule not learned by {say_steps(last)}")
    if scarred:
        at_the_end = all(story.scar_step == story.last_step for story in scarred)
        when = "the end" if at_the_end else say_steps([story.scar_step or 0 for story in scarred])
        parts.append(f"scar at {when}: {_range([story.scar or 0.0 for story in scarred])}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def thresholds(experiment: Experiment) -> str:
    """What `learned` and `scar` mean, as far as the sentences above speak of them; may be empty."""
    stories, sentences = experiment.stories, []
    rule = f"eval stays at or above {RULE_EVAL:.2f}"
    if experiment.about_nim:
        rule += f" and unseen_names (if scored) at or above {RULE_UNSEEN:.2f}"
    first = f"at the first checkpoint from which, up to the last one, {rule}"
    if not any(story.shortcut_scored or story.rule_judged for story in stories):
        return ""
    if experiment.about_nim:
        sentences.append(
            f"The shortcut counts as learned at the first checkpoint with cheat_consistent at or above "
            f"{SHORTCUT_CONSISTENT:.2f}, counter_cheat at or below {SHORTCUT_COUNTER:.2f} and unseen_names (if scored) "
            f"at or below {SHORTCUT_UNSEEN:.2f}; the rule {first}."
        )
    else:
        sentences.append(f"The rule counts as learned {first}.")
    if twins := scar_twins([experiment]):
        sentences.append(
            f"The scar is the accuracy on {twins} minus that on counter_cheat, which holds the same games, at the last "
            "checkpoint at which both were scored."
        )
    return " ".join(sentences)


def scar_twins(experiments: Sequence[Experiment]) -> str:
    """The split that counter_cheat is compared with, or several joined by "or"; empty where no scar is known."""
    stories = [story for experiment in experiments for story in experiment.stories]
    return " or ".join(
        dict.fromkeys(story.scar_twin for story in stories if story.scar_twin and story.scar is not None)
    )


def say_steps(steps: list[int]) -> str:
    """`"step 80"`, or `"steps 20 to 40"` of several runs."""
    return f"step {steps[0]:,}" if min(steps) == max(steps) else f"steps {min(steps):,} to {max(steps):,}"


def _share(reached: Sequence[object], stories: list[Story]) -> str:
    return "" if len(stories) == 1 else f" ({len(reached)} of {len(stories)} runs)"


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _accuracies(stories: list[Story], splits: tuple[str, ...], steps: list[int]) -> str:
    """`"cheat_consistent 0.97, counter_cheat 0.01"`: one step per story, ranges over several of them."""
    parts = []
    for split in splits:
        curves = [story.run.accuracy(split) for story in stories]
        values = [float(curve.loc[step]) for curve, step in zip(curves, steps, strict=True) if step in curve.index]
        if values:
            parts.append(f"{split} {_range(values)}")
    return ", ".join(parts)


def _when(stories: list[Story], steps: list[int], sets: str) -> str:
    """`"the last checkpoint, step 80"`, or an earlier step where not all of the sets were scored at the last one."""
    if steps == [story.last_step for story in stories]:
        return f"the last checkpoint, {say_steps(steps)}"
    return f"{say_steps(steps)}, the last with {sets}"


def _shortcut(stories: list[Story]) -> str:
    judged = [story for story in stories if story.shortcut_judged]
    if not judged:
        scored = [story for story in stories if story.shortcut_scored]
        if not scored:
            return ""
        if all(story.rule_step is None and story.shortcut_last is not None for story in scored):
            last = [story.shortcut_last or 0 for story in scored]
            values = _accuracies(scored, SHORTCUT_SPLITS, last)
            return f"The shortcut is not judged: {say_steps(last)} was scored, and nothing before it ({values})."
        return "The shortcut is not judged: no checkpoint from before the rule was scored on all of its sets."
    reached = [story for story in judged if story.shortcut_step is not None]
    if not reached:
        steps = [story.shortcut_last or 0 for story in judged]
        at_the_end = steps == [story.last_step for story in judged]
        values = _accuracies(judged, SHORTCUT_SPLITS, steps)
        return f"No checkpoint followed the names alone (at {'the end' if at_the_end else say_steps(steps)}: {values})."
    steps = [story.shortcut_step for story in reached if story.shortcut_step is not None]
    values = _accuracies(reached, SHORTCUT_SPLITS, steps)
    return f"At {say_steps(steps)}{_share(steps, stories)} the model followed the names, not the game: {values}."


def _rule(stories: list[Story], without_names: str) -> str:
    judged = [story for story in stories if story.rule_judged]
    if not judged:
        return ""
    unseen = "" if any(story.run.regime("unseen_names") for story in judged) else without_names
    reached = [story for story in judged if story.rule_step is not None]
    if not reached:
        last = [story.rule_last or 0 for story in judged]
        lost = " It was there for a while, and lost again." if any(story.rule_lost for story in judged) else ""
        values = _accuracies(judged, ("eval", "unseen_names"), last)
        return f"The rule was not there at {_when(judged, last, 'its sets')}: {values}{unseen}.{lost}"
    steps = [story.rule_step for story in reached if story.rule_step is not None]
    last = [story.rule_last or 0 for story in reached]
    end = "the end" if last == [story.last_step for story in reached] else say_steps(last)
    values = _accuracies(reached, ("eval", "unseen_names"), last)
    return f"From {say_steps(steps)}{_share(steps, stories)} on it played by the rule (at {end}: {values}{unseen})."


def _scar(stories: list[Story]) -> str:
    judged = [story for story in stories if story.scar is not None]
    if not judged:
        return ""
    steps = [story.scar_step or 0 for story in judged]
    twins = dict.fromkeys(story.scar_twin for story in judged if story.scar_twin)
    values = _accuracies(judged, ("counter_cheat", *twins), steps)
    return (
        f"At {_when(judged, steps, 'both sets')}, a pair of names that is bound to a wrong move costs "
        f"{_range([story.scar or 0.0 for story in judged])} of accuracy against neutral names in "
        f"the same games: {values}."
    )


def _no_scar(stories: list[Story]) -> list[str]:
    """Why there is no scar, where counter_cheat was scored and one could be asked for; at most one sentence."""
    scored = [story for story in stories if len(story.run.accuracy("counter_cheat"))]
    if not scored or any(story.scar is not None for story in stories):
        return []
    if any(story.scar_twin for story in scored):
        return ["The scar is not measured: counter_cheat and the same games under neutral names share no step."]
    why = "no set is known to hold the games of counter_cheat under neutral names"
    if any(story.run.regime("neutral") for story in scored):
        why += f"; neutral holds other games, or cannot be told to hold the same ({SCAR_TWINS[0]} does)"
    return [f"The scar is not measured: {why}."]


def _last_accuracies(experiment: Experiment, regimes: bool) -> list[str]:
    """Where each dataset stands, and the gap between its buckets; that of regimes only where the story is silent."""
    told = () if regimes else ("eval", *REGIMES, *SCAR_TWINS)
    sentences = []
    for dataset in experiment.datasets:
        if any(dataset == run.regime(split) for run in experiment.runs for split in told):
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
