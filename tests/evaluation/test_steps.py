"""`--steps` takes the checkpoints that its words name, or says in one line why not."""

import pytest

from evaluation.artifacts.models import Checkpoint
from evaluation.artifacts.steps import choose
from evaluation.sweep_options import parse_args
from nim_dataset.errors import UserError

STEPS = [0, 1, 2, 4, 8, 500, 1000]
CHECKPOINTS = [Checkpoint(f"checkpoint-{step}", step, "runs/x") for step in STEPS]
REQUIRED = ["--checkpoints-dir", "runs/x", "--datasets", "357", "--output", "reports/x"]


def chosen(*words: str, more_to_come: bool = False) -> list[int]:
    args = parse_args([*REQUIRED, *(("--steps", *words) if words else ())])
    return [checkpoint.step for checkpoint in choose(CHECKPOINTS, args.steps, more_to_come)]


def test_words_take_steps_ranges_the_ends_and_every_nth() -> None:
    assert chosen() == STEPS
    assert chosen("500") == [500]
    assert chosen("8", "0", "8") == [0, 8]
    assert chosen("1-4") == [1, 2, 4]
    assert chosen("first") == [0]
    assert chosen("last") == [1000]
    assert chosen("every-3") == [0, 4, 1000]
    assert chosen("every-100", "last", "2-7") == [0, 2, 4, 1000]


def test_while_a_run_goes_on_what_is_not_there_is_waited_for() -> None:
    assert chosen("2000", "first", "last", more_to_come=True) == [0]
    assert choose([], ["first", "last", "100"], more_to_come=True) == []


@pytest.mark.parametrize("word", ["lst", "10-5", "every-0", "every", "1.5", "1-"])
def test_a_word_that_means_nothing_is_one_line(word: str) -> None:
    with pytest.raises(UserError, match=rf"argument --steps: expected 100, .*, got '{word}'$"):
        chosen(word)


@pytest.mark.parametrize("word", ["3", "9-499"])
def test_steps_without_a_checkpoint_are_one_line(word: str) -> None:
    with pytest.raises(
        UserError, match=rf"--steps {word}: no checkpoint there; the steps are 0, 1, 2, 4, 8, 500, 1000"
    ):
        chosen("first", word)
