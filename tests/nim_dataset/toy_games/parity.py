"""A game in a single file outside the package: is a number even or odd?"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets
import numpy as np
import pyarrow as pa

from nim_dataset.config import Games, Recipe
from nim_dataset.draws import Draws
from nim_dataset.games import register
from nim_dataset.holdout import mix
from nim_dataset.phrases import Layout

ANSWERS = ["even", "odd"]


@dataclass
class Numbers(Games):
    """N numbers."""

    number_N: np.ndarray


@dataclass(frozen=True)
class Number:
    """One number as its prompt tells it."""

    number: int

    @property
    def move(self) -> int:
        return self.number % 2

    @property
    def answer(self) -> str:
        return ANSWERS[self.move]

    def columns(self) -> dict[str, Any]:
        return {"number": self.number, "move": self.move}

    def holdout_keys(self) -> dict[str, Hashable]:
        return {"number": self.number}

    def options(self) -> dict[int, str]:
        return dict(enumerate(ANSWERS))

    def spans(self, prompt: str) -> dict[str, list[tuple[int, int]]]:
        return {"number": [(len("Is "), len("Is ") + len(str(self.number)))]}


@register("parity")
@dataclass(eq=False)
class ParityConfig(Recipe[Numbers]):
    """Drawn at random: a number may occur twice."""

    features: ClassVar[datasets.Features] = datasets.Features(
        {
            "prompt": datasets.Value("string"),
            "answer": datasets.Value("string"),
            "move": datasets.Value("int32"),
            "number": datasets.Value("int32"),
        }
    )
    holdouts: ClassVar[tuple[str, ...]] = ("number",)

    below: int = 1_000
    n_train: int = 500
    n_eval: int = 50
    holdout: str = "number"

    @classmethod
    def recipes(cls) -> Sequence["ParityConfig"]:
        return [cls(name="parity")]

    def check(self) -> None:
        self.require(2 <= self.below <= 1_000_000, "below", "2 to 1000000 is allowed")
        super().check()

    def draw(self, draws: Draws, turn_N: np.ndarray) -> Numbers:
        number_N = draws.below(self.below, len(turn_N))
        return Numbers(move_N=number_N % 2, number_N=number_N)

    def key(self, games: Numbers) -> np.ndarray:
        return mix(games.number_N.astype(np.uint64))

    def columns(self, games: Numbers) -> dict[str, Any]:
        return {"number": games.number_N}

    def lay_out(self, games: Numbers, *players_N: pa.Array) -> Layout:
        text = Layout(len(games.move_N))
        text.add(text.phrase(["Is "]), text.own(pa.array(games.number_N).cast(pa.string())), text.phrase([" odd?"]))
        return text

    def answers(self, games: Numbers) -> tuple[list[str], np.ndarray]:
        return ANSWERS, games.move_N

    @classmethod
    def parse(cls, prompts: Sequence[str]) -> list[Number | None]:
        found = [re.fullmatch("Is ([0-9]{1,9}) odd\\?", prompt) for prompt in prompts]
        return [Number(int(match[1])) if match else None for match in found]

    @classmethod
    def chance(cls, rows: pa.Table) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(np.full(len(rows), 0.5))])
