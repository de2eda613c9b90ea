"""The rows of a set as questions with all their possible answers, and their share among processes and batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evaluation.measures.answer_tree import AnswerTree, Question
from evaluation.measures.measure import CannotMeasureError, Subject
from evaluation.predict import evaluating
from evaluation.tokens import check_rows, encode_answers, encode_prompts, end_tokens
from nim_dataset.config import Position

T = TypeVar("T")


@dataclass(frozen=True)
class Possible:
    """A row whose possible answers are known."""

    row: int
    """Its place in the set."""
    moves: tuple[int, ...]
    """The number of each possible answer, ascending."""
    answers: tuple[str, ...]
    """Their texts."""
    right: int
    """Which of them is the answer."""
    cheat: int | None
    """Which of them the names are bound to; None where they are bound to none."""


@dataclass(frozen=True)
class Asked(Possible):
    """The same in tokens."""

    question: Question


def possible_answers(rows: Dataset, games: Sequence[Position | None]) -> list[Possible]:
    """The rows (columns `prompt`, `answer` and, if there, `cheat_move`) whose game is known and has their answer.

    `games` are those that the prompts tell. Raises `CannotMeasureError` where there are none.
    """
    bound = rows["cheat_move"][:] if "cheat_move" in rows.column_names else [None] * len(games)
    known, kept = [], dict[tuple[Any, ...], tuple[Any, ...]]()  # of equal options one is kept
    for row, (game, answer, cheat) in enumerate(zip(games, rows["answer"][:], bound, strict=True)):
        options = game.options() if game is not None else {}
        moves, answers = (kept.setdefault(each, each) for each in (tuple(options), tuple(options.values())))
        if answer in answers:
            place = moves.index(cheat) if cheat in moves else None
            known.append(Possible(row, moves, answers, answers.index(answer), place))
    if not known:
        raise CannotMeasureError("no row is of a known game, so the possible answers are not known")
    return known


def in_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], several: Sequence[Possible]
) -> list[Asked]:
    """These rows of the set whose `prompts` are given, in tokens.

    Raises `CannotMeasureError` where the tokenizer has no end-of-text token, and `UserError` as `predict` does.
    """
    ends = end_tokens(model, tokenizer)
    if not ends:
        raise CannotMeasureError("neither the model nor the tokenizer has an end-of-text token, so no answer ends")
    texts = [prompts[each.row] for each in several]
    prompt_ids = encode_prompts(tokenizer, texts)
    lasts = [text for text, each in zip(texts, several, strict=True) for _ in each.answers]
    ids = iter(encode_answers(tokenizer, lasts, [answer for each in several for answer in each.answers])[0])
    asked = []
    for each, prompt in zip(several, prompt_ids, strict=True):
        tree = AnswerTree.of(tuple(tuple(next(ids)) for _ in each.answers))
        question = Question(tuple(prompt), tree, ends)
        asked.append(Asked(each.row, each.moves, each.answers, each.right, each.cheat, question))
    longest = max((len(path) for each in asked for path in each.question.tree.paths), default=0)
    check_rows(model, [each.row for each in asked], prompt_ids, longest)
    return asked


def ask(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Dataset, games: Sequence[Position | None]
) -> list[Asked]:
    """`possible_answers` in tokens; raises what both do."""
    return in_tokens(model, tokenizer, rows["prompt"][:], possible_answers(rows, games))


def ask_subject(subject: Subject) -> list[Asked]:
    """`ask` for the rows of the set that a measure looks at."""
    return ask(subject.model, subject.tokenizer, subject.eval_set.rows, subject.eval_set.games)


def batches(lengths: Sequence[int], rows: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """`rows` in order of length, the longest first, so that a batch holds next to no padding."""
    ordered = sorted(rows, key=lambda row: -lengths[row])
    for first in range(0, len(ordered), batch_size):
        yield ordered[first : first + batch_size]


def over_rows(
    model: torch.nn.Module,
    lengths: Sequence[int],
    run: Callable[[list[int]], Sequence[T]],
    *,
    batch_size: int,
    accelerator: Accelerator | None = None,
    label: str = "",
) -> list[T]:
    """What `run` gives for each of the rows of these lengths, asked for a batch at a time.

    Without gradients and dropout. With several processes, each runs its share of the rows, and all return everything.
    """
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    longest_first = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    longest_first += longest_first[-1:] * (-len(longest_first) % world)  # so that all run as many batches
    mine = longest_first[rank::world]
    found: dict[int, T] = {}
    hidden = not label or rank != 0 or None  # None: hidden where there is no terminal
    bar = tqdm(total=len(mine) * world, desc=label, unit="row", disable=hidden, leave=False)
    with bar, evaluating(model), torch.inference_mode():
        for rows in batches(lengths, mine, batch_size):
            found.update(zip(rows, run(rows), strict=True))
            bar.update(len(rows) * world)
    if world > 1:
        found = {row: value for share in gather_object([found]) for row, value in share.items()}
    return [found[row] for row in range(len(lengths))]
