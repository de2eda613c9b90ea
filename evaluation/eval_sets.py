"""The evaluation sets of a sweep, from the specs of `--datasets`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from datasets import Dataset

from evaluation.artifacts.report_folder import file_name
from nim_dataset.config import Position
from nim_dataset.errors import UserError
from nim_dataset.games import chance, parse_prompts
from nim_dataset.sources import Source


@dataclass(frozen=True)
class EvalSet:
    """The rows of one `--datasets` entry."""

    name: str
    """How results and files call it: the spec of a recipe (`cheating:eval`), or a JSONL file's name without ending."""
    spec: str
    """As given on the command line."""
    rows: Dataset
    """All columns of its game: prompt and answer, then the ground truth."""
    sha256: str
    """Of all prompts and answers: tells whether a file or recipe still is what was scored before."""

    @property
    def answers(self) -> set[str]:
        """Every gold answer once."""
        return set(self.rows.unique("answer"))

    @cached_property
    def games(self) -> list[Position | None]:
        """The game that each prompt tells; None where it tells none."""
        return parse_prompts(self.rows["prompt"][:])[0]

    def describe(self) -> dict[str, Any]:
        """What `sweep.json` keeps of it; `chance` is the expected accuracy of a uniform guess, None if unknown."""
        return {"spec": self.spec, "rows": len(self.rows), "sha256": self.sha256, "chance": chance(self.rows)}


def load_eval_sets(specs: Sequence[str], limit: int | None) -> list[EvalSet]:
    """The sets of a sweep, of each at most the first `limit` rows; `UserError` for what is not there or there twice."""
    sources = [Source.parse(spec) for spec in specs]
    files = [file_name(source.name) for source in sources]
    for index, source in enumerate(sources):
        first = files.index(files[index])
        if first < index:
            both = specs[index] if specs[first] == specs[index] else f"{specs[first]} and {specs[index]}"
            raise UserError(
                f"--datasets: the name '{source.name}' comes twice ({both}): give each set once, with its own name"
            )
    return [_load(source, limit) for source in sources]


def _load(source: Source, limit: int | None) -> EvalSet:
    rows = source.load(limit)
    digest = hashlib.sha256()
    for batch in rows.select_columns(["prompt", "answer"]).iter(batch_size=1000):
        for prompt, answer in zip(batch["prompt"], batch["answer"], strict=True):
            digest.update(f"{prompt}\0{answer}\0".encode())
    return EvalSet(source.name, source.spec, rows, digest.hexdigest())
