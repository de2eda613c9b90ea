"""Remainders: "What is 4821 mod 3?", with the bare residue as answer; nobody plays, so there are no names and regimes.

It has the rule of Nim without its text, and labels that follow another rule, or none.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nim_dataset.blocks import check_filled
from nim_dataset.config import Games, Position, Recipe
from nim_dataset.draws import Draws
from nim_dataset.games.registry import register
from nim_dataset.holdout import is_held_out, mix
from nim_dataset.phrases import Layout

LABELS = ("true", "reversed", "scrambled")
MAX_MODULUS = 1000
MAX_OPERAND_LIMIT = 1_000_000
PROMPT = re.compile(r"What is (0|[1-9][0-9]{0,8}) mod ([1-9][0-9]{0,8})\?")


@dataclass
class Questions(Games):
    """N questions of one modulus."""

    operand_N: np.ndarray


@dataclass(frozen=True)
class Question:
    """One question as its prompt tells it."""

    operand: int
    modulus: int
    label: int | None = None
    """The residue that a recipe gives as its answer; None means the true one."""

    @property
    def move(self) -> int:
        return self.operand % self.modulus if self.label is None else self.label

    @property
    def answer(self) -> str:
        return str(self.move)

    def columns(self) -> dict[str, Any]:
        return {"operand": self.operand, "modulus": self.modulus, "move": self.move}

    def holdout_keys(self) -> dict[str, Hashable]:
        return {"operand": self.operand}

    def options(self) -> dict[int, str]:
        """Each residue."""
        return {residue: str(residue) for residue in range(self.modulus if self.modulus <= MAX_MODULUS else 0)}

    def spans(self, prompt: str) -> dict[str, list[tuple[int, int]]]:
        """Of the operand and the modulus."""
        match = PROMPT.fullmatch(prompt)
        assert match is not None
        return {"operand": [match.span(1)], "modulus": [match.span(2)]}


@register("modulo")
@dataclass(eq=False)
class ModuloConfig(Recipe[Questions]):
    """The options of a modulo recipe. Each operand occurs once in its split, as long as there are enough."""

    about: ClassVar[str] = (
        'remainders ("What is 4821 mod 3?"), to see when it learns the rule, and what it knows before: the residues of'
        " divisors of the modulus."
    )
    features: ClassVar[datasets.Features] = datasets.Features(
        {
            "prompt": datasets.Value("string"),
            "answer": datasets.Value("string"),
            "move": datasets.Value("int32"),
            "operand": datasets.Value("int32"),
            "modulus": datasets.Value("int32"),
        }
    )
    holdouts: ClassVar[tuple[str, ...]] = ("operand",)
    """An operand that is in eval is never in train, in no recipe of this game."""

    modulus: int = 3
    """What the operand is divided by."""
    max_operand: int = 10_000
    """The largest operand; the smallest is 0."""
    labels: str = "true"
    """`true`: the residue; `reversed`: `modulus - 1 - residue`; `scrambled`: random, fixed for each operand."""

    n_train: int = 8_754
    """Rows in train; by default all operands up to 10,000 that are not held out."""
    n_eval: int = 1_000
    """Rows in eval."""
    holdout: str = "operand"
    """What eval never shares with train."""
    seed: int = 0
    """Of the order of the rows, and of scrambled labels."""

    @classmethod
    def recipes(cls) -> Sequence["ModuloConfig"]:
        return [cls(name=f"mod{modulus}", modulus=modulus) for modulus in range(2, 10)]

    def check(self) -> None:
        self.require(2 <= self.modulus <= MAX_MODULUS, "modulus", f"2 to {MAX_MODULUS} is allowed")
        self.require(1 <= self.max_operand <= MAX_OPERAND_LIMIT, "max_operand", f"1 to {MAX_OPERAND_LIMIT} is allowed")
        self.one_of("labels", LABELS)
        super().check()
        held_out = int(is_held_out(self.key(self.all_games())).sum())
        operands = f"of the {self.max_operand + 1} operands {held_out} are held out"
        self.require(self.n_eval <= held_out, "n_eval", f"{operands}: at most {held_out} is allowed")
        check_filled(self)

    def all_games(self) -> Questions:
        """One question for each operand, ascending."""
        operand_N = np.arange(self.max_operand + 1, dtype=np.int32)
        residue_N = operand_N % self.modulus
        if self.labels == "reversed":
            residue_N = self.modulus - 1 - residue_N
        elif self.labels == "scrambled":
            residue_N = Draws("modulo", "labels", self.modulus, self.seed).below(self.modulus, len(operand_N))
        return Questions(move_N=residue_N.astype(np.int32), operand_N=operand_N)

    def key(self, games: Questions) -> np.ndarray:
        return mix(games.operand_N.astype(np.uint64))

    def columns(self, games: Questions) -> dict[str, Any]:
        return {"operand": games.operand_N, "modulus": np.full(len(games.move_N), self.modulus, dtype=np.int32)}

    def lay_out(self, games: Questions, *players_N: pa.Array) -> Layout:
        text = Layout(len(games.move_N))
        operands = text.own(pa.array(games.operand_N).cast(pa.string()))
        text.add(text.phrase(["What is "]), operands, text.phrase([f" mod {self.modulus}?"]))
        return text

    def answers(self, games: Questions) -> tuple[list[str], np.ndarray]:
        return [str(residue) for residue in range(self.modulus)], games.move_N

    @classmethod
    def parse(cls, prompts: Sequence[str]) -> list[Question | None]:
        found = [PROMPT.fullmatch(prompt) for prompt in prompts]
        return [Question(int(match[1]), int(match[2])) if match else None for match in found]

    def labelled(self, positions: Sequence[Position | None]) -> list[Position | None]:
        labels = self.all_games().move_N.tolist()

        def label(position: Position | None) -> Position | None:
            if not isinstance(position, Question) or position.modulus != self.modulus:
                return position
            return replace(position, label=labels[position.operand]) if position.operand < len(labels) else position

        return [label(position) for position in positions]

    @classmethod
    def chance(cls, rows: pa.Table) -> pa.ChunkedArray:
        return pc.divide(1.0, rows["modulus"])

    def overview(self) -> dict[str, str]:
        return {"modulus": str(self.modulus), "max_operand": f"{self.max_operand:,}", "labels": self.labels}
