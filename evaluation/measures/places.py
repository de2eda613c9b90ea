"""The kinds of positions that `probe` and `patch` look at: places in the prompt, and the start of the answer."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from evaluation.measures.positions import positions
from evaluation.measures.questions import Asked
from nim_dataset.config import Position
from nim_dataset.errors import UserError

ANSWER_START = "answer start"
"""What all possible answers begin with, such as " take": after it, the move is decided."""
PLACES = (
    "coins",
    "operand",
    "player_one first",
    "player_two first",
    "max_remove",
    "modulus",
    "player_one last",
    "moves",
    "player_two last",
    "names",
    "decision",
    ANSWER_START,
)
"""In about the order of the text; a game has some of them. `names` are all occurrences of both players."""


def places(
    asked: Sequence[Asked],
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    games: Sequence[Position | None],
) -> list[dict[str, list[range]]]:
    """For each row, kind of position -> the tokens of each occurrence, from the start of the prompt; those that it has.

    `prompts` and `games` are those of the whole set. Raises as `positions` does.
    """
    found = positions([prompts[each.row] for each in asked], tokenizer, [games[each.row] for each in asked])
    before = [len(each.question.prompt) - len(ids) for each, ids in zip(asked, found.ids, strict=True)]  # such as BOS
    tokens: list[dict[str, list[range]]] = [{} for _ in asked]
    for place in PLACES:
        try:
            spans_NK2 = found.at(place) if place != ANSWER_START else None
        except UserError:
            continue  # another game's
        for row, each in enumerate(asked):
            if spans_NK2 is None:
                length, stem = len(each.question.prompt), each.question.tree.stem
                mine = [range(length, length + stem)] if stem else []
            else:
                mine = [
                    range(first, last + 1)
                    for first, last in (spans_NK2[row] + before[row]).tolist()
                    if first >= before[row]
                ]
            if mine:
                tokens[row][place] = mine
    return tokens
