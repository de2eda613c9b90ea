"""The rows of a split as the check sees them: all that it tells is worked out anew from the prompts."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nim_dataset.config import Position, Recipe
from nim_dataset.games import parse_prompts
from nim_dataset.rows import generate
from nim_dataset.sources import read_rows

NUMBER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class Split:
    """The rows of a split with the games that their prompts tell; None where a prompt tells no game."""

    name: str
    numbers: list[int]
    """Line numbers in a file; positions from 1 in a generated split."""
    prompts: list[str]
    answers: list[str]
    games: Sequence[Position | None]

    @staticmethod
    def of(
        name: str, numbers: Sequence[int], prompts: list[str], answers: list[str], config: Recipe | None = None
    ) -> "Split":
        """The rows of a recipe, which may have labels of its own, or of a file whose recipe is not known."""
        games = parse_prompts(prompts)[0]
        return Split(name, list(numbers), prompts, answers, games if config is None else config.labelled(games))

    def duplicates(self) -> int:
        """Rows whose prompt came before."""
        return len(self.prompts) - len(set(self.prompts))

    def unparsable(self) -> list[int]:
        """Line numbers of the rows whose prompt tells no game."""
        return [number for number, game in zip(self.numbers, self.games, strict=True) if game is None]

    def wrong_labels(self) -> list[int]:
        """Line numbers of the rows whose answer names another move than the rule."""
        rows = zip(self.numbers, self.games, self.answers, strict=True)
        return [number for number, game, answer in rows if game is not None and not is_right(answer, game)]

    def reworded(self) -> int:
        """Rows with the right move in other words than the generators', such as "take 1 coins" for "take 1 coin"."""
        rows = zip(self.games, self.answers, strict=True)
        return sum(game is not None and answer != game.answer and is_right(answer, game) for game, answer in rows)

    def levels(self) -> list[str]:
        """By what overlap can be measured: whole prompts, and what the games of this split may hold out."""
        held = [level for game in self.games if game is not None for level in game.holdout_keys()]
        return list(dict.fromkeys(["prompt", *held]))

    def keys(self, level: str) -> set[Hashable]:
        """The prompts, games, piles, operands and so on that occur."""
        if level == "prompt":
            return set(self.prompts)
        told = [game.holdout_keys() for game in self.games if game is not None]
        return {keys[level] for keys in told if level in keys}

    def pairs_and_moves(self) -> tuple[list[str], np.ndarray]:
        """The pair of names and the right move of each row that names its players."""
        told = [game.columns() for game in self.games if game is not None]
        named = [columns for columns in told if "player_one" in columns]
        pairs = [f"{columns['player_one']}-{columns['player_two']}" for columns in named]
        return pairs, np.array([columns["move"] for columns in named])


def is_right(answer: str, game: Position) -> bool:
    """Whether an answer is the generator's own, or has the right move as its one number."""
    return answer == game.answer or NUMBER.findall(answer) == [str(game.move)]


def generated_splits(config: Recipe) -> list[Split]:
    """All splits of a recipe."""
    splits = []
    for name in config.splits:
        tables = list(generate(config, name))
        prompts = [prompt for table in tables for prompt in table["prompt"].to_pylist()]
        answers = [answer for table in tables for answer in table["answer"].to_pylist()]
        splits.append(Split.of(name, range(1, len(prompts) + 1), prompts, answers, config))
    return splits


def read_file(name: str, path: Path, config: Recipe | None) -> Split:
    """A JSONL file with prompt and answer; raises `UserError` with file and line for what is no such row."""
    rows = read_rows(path)
    prompts, answers = ([row[column] for row in rows.values()] for column in ("prompt", "answer"))
    return Split.of(name, list(rows), prompts, answers, config)
