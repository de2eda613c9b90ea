"""The rows of a split as the check sees them: all that it tells is worked out anew from the prompts.

Rows are taken in batch by batch, and only what is counted is kept: of each row a few hashes. N = rows.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nim_dataset.config import Position, Recipe
from nim_dataset.errors import UserError
from nim_dataset.files import read_jsonl
from nim_dataset.games import parse_prompts
from nim_dataset.rows import generate
from nim_dataset.sources import check_row

NUMBER = re.compile(r"-?[0-9]+")
SHOWN_LINES = 10
# Rows that are taken in at once: so many, or of so many characters.
BATCH, BATCH_CHARACTERS = 8192, 2**24

Rows = tuple[list[int], list[str], list[str]]
"""Line numbers in a file, or positions from 1 in a generated split; prompts; answers."""


@dataclass
class Lines:
    """Some lines: how many, and the first few."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, numbers: list[int]) -> None:
        self.count += len(numbers)
        self.first += numbers[: SHOWN_LINES - len(self.first)]

    def __str__(self) -> str:
        more = f" and {self.count - SHOWN_LINES:,} more" if self.count > SHOWN_LINES else ""
        return f"line{'s' if self.count > 1 else ''} {', '.join(map(str, self.first))}{more}"


@dataclass
class Split:
    """What was found in the rows of a split."""

    name: str
    rows: int = 0
    other: Lines = field(default_factory=Lines)
    """The rows whose prompt tells no game that is known."""
    wrong: Lines = field(default_factory=Lines)
    """The rows whose answer is not the generator's own, nor has the right move as its one number."""
    reworded: int = 0
    """Rows with the right move in other words than the generators', such as "take 1 coins" for "take 1 coin"."""
    pair_moves: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Rows by pair of names and right move, of the games that name their players."""
    hashes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """By level: 64-bit hashes of the prompts, games, piles, operands and so on of the rows, one array a batch."""

    @classmethod
    def of(cls, name: str, batches: Iterable[Rows], config: Recipe | None = None) -> "Split":
        """The rows of a recipe, which may have labels of its own, or of a file whose recipe is not known."""
        split = cls(name)
        for numbers, prompts, answers in batches:
            games = parse_prompts(prompts)[0]
            split.rows += len(numbers)
            # Prompts that differ in white space alone (line ends, a space at the end) are the same question.
            split._keep({"prompt": [" ".join(prompt.split()) for prompt in prompts]})
            labelled = games if config is None else config.labelled(games)
            known = [
                (number, answer.strip(), game)
                for number, answer, game in zip(numbers, answers, labelled, strict=True)
                if game is not None
            ]
            split.other.add([number for number, game in zip(numbers, games, strict=True) if game is None])
            split._judge(known)
        return split

    def _judge(self, rows: list[tuple[int, str, Position]]) -> None:
        """Takes in rows of known games."""
        other_words = [(number, answer, game) for number, answer, game in rows if answer != game.answer]
        wrong = [number for number, answer, game in other_words if NUMBER.findall(answer) != [str(game.move)]]
        self.wrong.add(wrong)
        self.reworded += len(other_words) - len(wrong)
        keys: dict[str, list[Hashable]] = {}
        for _, _, game in rows:
            for level, key in game.holdout_keys().items():
                keys.setdefault(level, []).append(key)
            told = game.columns()
            if "player_one" in told:
                self.pair_moves[f"{told['player_one']}-{told['player_two']}", told["move"]] += 1
        self._keep(keys)

    def _keep(self, keys: dict[str, list[Hashable]]) -> None:
        for level, values in keys.items():
            hashes_N = np.fromiter((hash((level, value)) for value in values), dtype=np.int64, count=len(values))
            self.hashes.setdefault(level, []).append(hashes_N)

    def distinct(self, level: str) -> np.ndarray:
        """The hashes of what differs, ascending."""
        return np.unique(np.concatenate(self.hashes.get(level, [np.empty(0, dtype=np.int64)])))

    @property
    def duplicates(self) -> int:
        """Rows whose prompt came before."""
        return self.rows - len(self.distinct("prompt"))


def generated_splits(config: Recipe) -> list[Split]:
    """All splits of a recipe."""

    def batches(name: str) -> Iterator[Rows]:
        first = 1
        for table in generate(config, name):
            numbers = list(range(first, first + len(table)))
            yield numbers, table["prompt"].to_pylist(), table["answer"].to_pylist()
            first += len(table)

    return [Split.of(name, batches(name), config) for name in config.splits]


def read_file(name: str, path: Path, config: Recipe | None) -> Split:
    """A JSONL file with prompt and answer; raises `UserError` with file and line for what is no such row."""

    def batches() -> Iterator[Rows]:
        rows: Rows = ([], [], [])
        characters = 0
        for number, row in read_jsonl(path):
            check_row(row, f"{path}, line {number}")
            numbers, prompts, answers = rows
            numbers.append(number)
            prompts.append(row["prompt"])
            answers.append(row["answer"])
            characters += len(row["prompt"]) + len(row["answer"])
            if len(numbers) == BATCH or characters > BATCH_CHARACTERS:
                yield rows
                rows, characters = ([], [], []), 0
        if rows[0]:
            yield rows

    split = Split.of(name, batches(), config)
    if not split.rows:
        raise UserError(f"{path}: the file has no rows")
    return split
