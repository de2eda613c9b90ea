"""Where rows to train or score come from: a spec such as `cheating:eval`, or a JSONL file of prompts and answers."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from nim_dataset.builder import load_config
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, unknown
from nim_dataset.files import read_jsonl
from nim_dataset.games import GAMES, features_of, parse_prompts
from nim_dataset.pairs import BUCKETS
from nim_dataset.recipes import get_config
from nim_dataset.regimes import split_name
from nim_dataset.rows import generate

# Rows of a file that are taken in at once: so many, or of so many characters.
BATCH, BATCH_CHARACTERS = 8192, 2**24
SURROGATE = re.compile("[\ud800-\udfff]")
ALLOWED_BUCKETS = (None, 0, 1, *BUCKETS)


def parse_recipe(text: str) -> tuple[Recipe, dict[str, str]]:
    """`cheating,cheat_prob=0.9` as its checked config and the overrides as text; raises `UserError`."""
    name, *pairs = text.split(",")
    overrides: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in overrides:
            raise UserError(f"'{text}': expected <config>[,key=value...] with each key once, got '{pair}'")
        overrides[key] = value
    return get_config(name, **overrides), overrides


@dataclass(frozen=True)
class Source:
    """Rows to train on or to score: the split of a recipe, or a JSONL file. Parsed once, then handed on."""

    spec: str
    """As it was given: `cheating,cheat_prob=0.9:eval`, or a path."""
    name: str
    """What files and figures call it: the spec of a recipe's split, or a file's name without its ending."""
    config: Recipe | None
    """The checked recipe; None for a file."""
    split: str | None
    """The recipe's split; None for a file."""
    file: Path | None
    """The JSONL file; None for a recipe."""

    @classmethod
    def parse(cls, spec: str, split: str | None = None) -> "Source":
        """What `spec` names: `<config>[,key=value...]:<split>`, or the path of a JSONL file (`.jsonl`, `.json`, or any
        file that is there). `split` is taken where the spec of a recipe names none. Raises `UserError`.
        """
        if spec.endswith((".jsonl", ".json")) or os.path.isfile(spec):
            return cls(spec, Path(spec).stem, None, None, Path(spec))
        recipe, named = split_name(spec) if ":" in spec else (spec, split or "")
        config, _ = parse_recipe(recipe)
        if not named:
            options = ", ".join(f"{recipe}:{s}" for s in config.splits)
            raise UserError(f"'{spec}' names no split: use one of {options}")
        if named not in config.splits:
            if named in get_config(config.name).splits:
                raise UserError(f"'{spec}' has no rows; give the split at least one")
            raise UserError(f"'{spec}': {unknown('split', named, config.splits)}")
        return cls(spec, f"{recipe}:{named}", config, named, None)

    @property
    def recipe(self) -> str:
        """`cheating,cheat_prob=0.9` for `cheating,cheat_prob=0.9:eval`; empty for a file."""
        return split_name(self.name)[0] if self.config is not None else ""

    def load(self, limit: int | None = None) -> datasets.Dataset:
        """The rows with all columns of the dataset card; at most the first `limit`, and no more than those are made.

        For a file the ground truth is recovered from the prompt, and is null where the prompt is no game; `bucket` and
        `cheat_move` are taken from the file where it has them and are null otherwise. Raises `UserError`.
        """
        if limit is not None and limit < 0:
            raise UserError(f"limit: got {limit}, but 0 or more is allowed")
        if self.file is not None:
            return load_file(self.file, limit)
        assert self.config is not None
        assert self.split is not None
        if limit is not None and limit < self.config.num_rows(self.split):
            tables = generate(self.config, self.split, 0, limit)
            return datasets.Dataset(pa.concat_tables([self.config.schema().empty_table(), *tables]))
        return load_config(self.config, self.split)


def load_source(spec: str, limit: int | None = None) -> datasets.Dataset:
    """`Source.parse(spec).load(limit)`."""
    return Source.parse(spec).load(limit)


def load_file(path: Path, limit: int | None = None) -> datasets.Dataset:
    """`Source.load` of a JSONL file. Its rows go to a temporary file, of which no more is in memory than is used."""
    folder = Path(datasets.config.HF_DATASETS_CACHE)
    folder.mkdir(parents=True, exist_ok=True)
    everything = features_of(GAMES)
    games: set[str] = set()
    with tempfile.TemporaryDirectory(dir=folder, prefix="jsonl-", ignore_cleanup_errors=True) as temporary:
        file = f"{temporary}/rows.arrow"
        with pa.ipc.new_file(file, everything.arrow_schema) as writer:
            for rows in read_batches(path, limit):
                table, found = recover_truth(list(rows.values()), everything)
                writer.write_table(table)
                games.update(found)
        with open(file, "rb") as written:
            fingerprint = hashlib.file_digest(written, "sha256").hexdigest()[:16]
        # Where the file can be removed while it is mapped, as on POSIX, its bytes go with the last that uses them.
        table = pa.ipc.open_file(pa.memory_map(file)).read_all()
    features = features_of(games)
    table = table.select(list(features)).cast(features.arrow_schema)
    return datasets.Dataset(table, fingerprint=fingerprint)


def read_batches(path: Path, limit: int | None = None) -> Iterator[dict[int, dict[str, Any]]]:
    """At most `limit` rows of a JSONL file of prompts and answers, by line number, some thousands at a time.

    Raises `UserError` with file and line for what is no such row, and for a file without rows.
    """
    rows: dict[int, dict[str, Any]] = {}
    characters = 0
    number = 0
    for number, row in islice(read_jsonl(path), limit):
        if (fault := fault_of(row)) is not None:
            raise UserError(f"{path}, line {number}: {fault}")
        rows[number] = row
        characters += len(row["prompt"]) + len(row["answer"])
        if len(rows) == BATCH or characters > BATCH_CHARACTERS:
            yield rows
            rows, characters = {}, 0
    if rows:
        yield rows
    elif number == 0:
        raise UserError(f"{path}: the file has no rows")


def fault_of(row: dict[str, Any]) -> str | None:
    """Why a row is no prompt with its answer, or its bucket or bound move is none; None where all is well."""
    for column in ("prompt", "answer"):
        text = row.get(column)
        if not isinstance(text, str):
            return f"'{column}' " + ("is missing" if column not in row else f"is {type(text).__name__}, not text")
        if not text or text.isspace():
            return f"'{column}' is empty"
        if not text.isascii() and SURROGATE.search(text):
            return f"'{column}' has half of a surrogate pair, which is not text"
    bucket, move = row.get("bucket"), row.get("cheat_move")
    if isinstance(bucket, (bool, float)) or bucket not in ALLOWED_BUCKETS:
        return f"'bucket' is {bucket!r}, expected one of {', '.join(BUCKETS)} or null"
    if move is not None and (type(move) is not int or not -(2**31) <= move < 2**31):
        return f"'cheat_move' is {move!r}, expected a whole number below 2**31 or null"
    return None


def recover_truth(rows: list[dict[str, Any]], features: datasets.Features) -> tuple[pa.Table, list[str]]:
    """The rows as a table with the columns `features`, and the names of the games that are among them; what the prompt
    does not tell is null."""
    positions, games = parse_prompts([row["prompt"] for row in rows])
    columns: dict[str, list[Any]] = {name: [] for name in features}
    for row, position in zip(rows, positions, strict=True):
        bucket = row.get("bucket")
        truth = {
            **(position.columns() if position is not None else {}),
            "prompt": row["prompt"],
            "answer": row["answer"],
            "bucket": BUCKETS.index(bucket) if bucket in BUCKETS else bucket,
            "cheat_move": row.get("cheat_move"),
        }
        for name, values in columns.items():
            values.append(truth.get(name))
    return pa.table(columns, schema=features.arrow_schema), games
