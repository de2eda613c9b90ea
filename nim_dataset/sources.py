"""Where rows to train or score come from: a spec such as `cheating:eval`, or a JSONL file of prompts and answers."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from nim_dataset.builder import load
from nim_dataset.config import NimConfig
from nim_dataset.errors import UserError, unknown
from nim_dataset.features import BUCKETS, FEATURES, SCHEMA
from nim_dataset.parsing import parse_prompts
from nim_dataset.recipes import get_config


def parse_recipe(text: str) -> tuple[NimConfig, dict[str, str]]:
    """`cheating,cheat_prob=0.9` as its checked config and the overrides as text; raises `UserError`."""
    name, *pairs = text.split(",")
    overrides: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in overrides:
            raise UserError(f"'{text}': expected <config>[,key=value...] with each key once, got '{pair}'")
        overrides[key] = value
    return get_config(name, **overrides), overrides


def load_source(spec: str, limit: int | None = None) -> datasets.Dataset:
    """The rows that `spec` names, with all columns of the dataset card; at most the first `limit`.

    `spec` is `<config>[,key=value...]:<split>` or the path of a JSONL file with `prompt` and `answer`. For a file the
    ground truth is recovered from the prompt, and is null where the prompt is no Nim game; `bucket` and `cheat_move`
    are taken from the file where it has them and are null otherwise. Raises `UserError`.
    """
    if spec.endswith((".jsonl", ".json")) or Path(spec).is_file():
        return datasets.Dataset(recover_truth(list(read_jsonl(Path(spec), limit).values())))
    recipe, colon, split = spec.rpartition(":")
    if not colon:
        config, _ = parse_recipe(spec)
        raise UserError(f"'{spec}' names no split: use one of {', '.join(f'{spec}:{s}' for s in config.splits)}")
    config, overrides = parse_recipe(recipe)
    if split not in config.splits:
        if split in get_config(config.name).splits:
            raise UserError(f"'{spec}' has no rows; give the split at least one")
        raise UserError(f"'{spec}': {unknown('split', split, config.splits)}")
    dataset = load(config.name, split, num_proc=None, **overrides)
    return dataset if limit is None else dataset.select(range(min(limit, len(dataset))))


def read_jsonl(path: Path, limit: int | None = None) -> dict[int, dict[str, Any]]:
    """At most `limit` rows of a JSONL file, by line number; raises `UserError` with file and line."""
    rows: dict[int, dict[str, Any]] = {}
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if limit is not None and len(rows) >= limit:
                    break
                if line.strip():
                    rows[number] = read_row(line, f"{path}, line {number}")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not rows:
        raise UserError(f"{path}: the file has no rows")
    return rows


def read_row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig").rstrip())
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: invalid UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: invalid JSON at column {error.colno} ({error.msg})") from None
    except RecursionError:
        raise UserError(f"{where}: invalid JSON (nested too deeply)") from None
    if not isinstance(row, dict):
        raise UserError(f"{where}: a row is an object with 'prompt' and 'answer', got {type(row).__name__}")
    for column in ("prompt", "answer"):
        if not isinstance(row.get(column), str):
            what = "is missing" if column not in row else f"is {type(row[column]).__name__}, not text"
            raise UserError(f"{where}: '{column}' {what}")
        if not row[column].strip():
            raise UserError(f"{where}: '{column}' is empty")
        if any("\ud800" <= character <= "\udfff" for character in row[column]):
            raise UserError(f"{where}: '{column}' has half of a surrogate pair, which is not text")
    if row.get("bucket") not in (None, 0, 1, *BUCKETS):
        raise UserError(f"{where}: 'bucket' is {row['bucket']!r}, expected one of {', '.join(BUCKETS)} or null")
    if not isinstance(row.get("cheat_move"), (int, type(None))):
        raise UserError(f"{where}: 'cheat_move' is {row['cheat_move']!r}, expected a whole number or null")
    return row


def recover_truth(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table with all columns; what the prompt does not tell is null."""
    columns: dict[str, list[Any]] = {name: [] for name in FEATURES}
    for row, game in zip(rows, parse_prompts([row["prompt"] for row in rows]), strict=True):
        truth: dict[str, Any] = {}
        if game is not None:
            truth = {
                "coins": game.coins, "max_remove": game.max_remove, "trace": list(game.trace), "pile": game.pile,
                "move": game.move, "player_one": game.player_one, "player_two": game.player_two,
            }  # fmt: skip
        bucket = row.get("bucket")
        truth["bucket"] = BUCKETS.index(bucket) if bucket in BUCKETS else bucket
        truth["cheat_move"] = row.get("cheat_move")
        for name, values in columns.items():
            values.append(row[name] if name in ("prompt", "answer") else truth.get(name))
    return pa.table(columns, schema=SCHEMA)
