"""The rows of a split as the check sees them: all that it tells is worked out anew from the prompts.

Rows are taken in batch by batch, and only what is counted is kept: of each row a few hashes. N = rows.
"""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nim_dataset.config import Position, Recipe
from nim_dataset.games import parse_prompts
from nim_dataset.rows import generate
from nim_dataset.sources import read_batches

NUMBER = re.compile(r"-?[0-9]+")
SHOWN_LINES = 10
SPACES = bytes.maketrans(b"\t\n\v\f\r\x1c\x1d\x1e\x1f", b" " * 9)
"""All white space of ASCII -> a space."""

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
    names_moves: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """Rows by both names and the right move, of the games that name their players."""
    hashes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """By level: 64-bit hashes of the prompts, games, piles, operands and so on of the rows, one array a
    batch, until `distinct` is asked for."""
    _distinct: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, batches: Iterable[Rows], config: Recipe | None = None) -> "Split":
        """The rows of a recipe, which may have labels of its own, or of a file whose recipe is not known."""
        split = cls(name)
        for numbers, prompts, answers in batches:
            games = parse_prompts(prompts)[0]
            split.rows += len(numbers)
            split._keep({"prompt": [hash(question(prompt)) for prompt in prompts]})
            split.other.add([number for number, game in zip(numbers, games, strict=True) if game is None])
            split._judge(numbers, answers, games if config is None else config.labelled(games))
        return split

    def _judge(self, numbers: list[int], answers: list[str], games: Sequence[Position | None]) -> None:
        """Takes in rows, of which those of no known game are passed over."""
        wrong: list[int] = []
        names_moves: list[tuple[str, str, int]] = []
        hashes: defaultdict[str, list[int]] = defaultdict(list)
        for number, answer, game in zip(numbers, answers, games, strict=True):
            if game is None:
                continue
            answer = answer.strip()
            if answer != game.answer:
                if NUMBER.findall(answer) == [str(game.move)]:
                    self.reworded += 1
                else:
                    wrong.append(number)
            for level, key in game.holdout_keys().items():
                hashes[level].append(hash(key))
            told = game.columns()
            if "player_one" in told:
                names_moves.append((told["player_one"], told["player_two"], told["move"]))
        self.wrong.add(wrong)
        self.names_moves.update(names_moves)
        self._keep(hashes)

    def _keep(self, hashes: dict[str, list[int]]) -> None:
        for level, values in hashes.items():
            self.hashes.setdefault(level, []).append(np.array(values, dtype=np.int64))

    @functools.cached_property
    def pair_moves(self) -> Counter[tuple[str, int]]:
        """Rows by pair, such as `Leo-Sultan`, and right move; asked for when all rows are taken in."""
        rows: Counter[tuple[str, int]] = Counter()
        for (one, two, move), count in self.names_moves.items():
            rows[f"{one}-{two}", move] += count
        return rows

    def distinct(self, level: str) -> np.ndarray:
        """The hashes of what differs, ascending."""
        if level not in self._distinct:
            hashes_N = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *self.hashes.get(level, [])]))
            self.hashes[level] = []
            differs_N = np.ones(len(hashes_N), dtype=bool)
            differs_N[1:] = hashes_N[1:] != hashes_N[:-1]
            self._distinct[level] = hashes_N[differs_N]
        return self._distinct[level]

    def shared(self, other: "Split", level: str) -> int:
        """How many of what differs are in another split too."""
        mine, theirs = self.distinct(level), other.distinct(level)
        place = np.searchsorted(theirs, mine)
        inside = place < len(theirs)
        return int((theirs[place[inside]] == mine[inside]).sum())

    @property
    def duplicates(self) -> int:
        """Rows whose prompt came before."""
        return self.rows - len(self.distinct("prompt"))


def question(prompt: str) -> bytes:
    """The same for prompts that differ in white space alone (line ends, a space at the end): one question."""
    if prompt.isascii():  # in half the time of `split`
        text = prompt.encode().translate(SPACES).replace(b"  ", b" ")
        if b"  " not in text:
            return text.strip()
    return " ".join(prompt.split()).encode()


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

    batches = (
        (list(rows), [row["prompt"] for row in rows.values()], [row["answer"] for row in rows.values()])
        for rows in read_batches(path)
    )
    return Split.of(name, batches, config)
