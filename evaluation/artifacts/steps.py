"""Which checkpoints to score: `--steps first 100 500-2000 every-3 last` takes what any of these words takes."""

import argparse
import re
from collections.abc import Sequence

from evaluation.artifacts.models import Checkpoint
from nim_dataset.errors import UserError

HELP = (
    "which checkpoints: those of a step (100), a range (500-2000, both included), first, last, or every-N (the first"
    " and each Nth after it); several are joined (default: all)"
)


def steps_word(text: str) -> str:
    """A word of `--steps`; raises what argparse makes an error of the option."""
    in_order = re.fullmatch(r"(\d+)-(\d+)", text)
    if not re.fullmatch(r"first|last|every-0*[1-9]\d*|\d+|\d+-\d+", text) or (
        in_order and int(in_order[1]) > int(in_order[2])
    ):
        raise argparse.ArgumentTypeError(f"expected 100, 500-2000, first, last or every-3, got '{text}'")
    return text


def choose(checkpoints: Sequence[Checkpoint], words: Sequence[str], more_to_come: bool) -> list[Checkpoint]:
    """The checkpoints, given in order of step, that any of the words takes; all where there are no words.

    Raises `UserError` for a word that takes none, unless there are `more_to_come`; the last one is then not known yet.
    """
    if not words:
        return list(checkpoints)
    chosen: set[int] = set()
    for word in words:
        taken = _taken(word, [checkpoint.step for checkpoint in checkpoints], more_to_come)
        if not taken and not more_to_come:
            there = ", ".join(str(checkpoint.step) for checkpoint in checkpoints)
            raise UserError(f"--steps {word}: no checkpoint there; the steps are {there}")
        chosen |= taken
    return [checkpoint for place, checkpoint in enumerate(checkpoints) if place in chosen]


def _taken(word: str, steps: list[int], more_to_come: bool) -> set[int]:
    """The places in `steps` that a word takes."""
    kind, _, end = word.partition("-")
    if word == "first":
        return set(range(len(steps))[:1])
    if word == "last":
        return set() if more_to_come else set(range(len(steps))[-1:])
    if kind == "every":
        return set(range(0, len(steps), int(end)))
    low, high = int(kind), int(end or kind)
    return {place for place, step in enumerate(steps) if low <= step <= high}
