"""`python -m nim_dataset export CONFIG --tokenized MODEL`: rows as the tokens that training sees, for any trainer.

A row has `input_ids`: its prompt, its answer and the end-of-text token; `labels`: the same, with -100 in the place of
the prompt's; and `attention_mask`: all ones. Labels are not shifted, since models shift them.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from evaluation.artifacts.models import BrokenCheckpointError, load_tokenizer
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, suggest
from nim_dataset.export import remove_another_export
from nim_dataset.files import write_text, written_whole
from nim_dataset.rows import generate
from training.data.encoding import IGNORE, EncodedRows, encode_rows
from training.shipped import BUILT_IN

MANIFEST = "tokenized.json"
TOKENS = pa.list_(pa.int32())
SCHEMA = pa.schema([("input_ids", TOKENS), ("labels", TOKENS), ("attention_mask", pa.list_(pa.int8()))])


def file(folder: Path, split: str) -> Path:
    """Where a split is written."""
    return folder / f"{split}.parquet"


@dataclass
class Written:
    """What was written of a split."""

    rows: int = 0
    longest: int = 0
    """The tokens of its longest row."""

    def __str__(self) -> str:
        return f"{self.rows:,} rows, the longest of {self.longest} tokens"


def export_tokenized(config: Recipe, folder: Path, model: str) -> dict[str, Written]:
    """Writes `SPLIT.parquet` for each split, then `tokenized.json`, as `nim_dataset.export` writes its files.

    `model` is built in (`tiny`), a folder or a Hub id. Nothing is cut. Raises `UserError` for a tokenizer that cannot
    be loaded or has no end-of-text token, and for a folder that cannot be written.
    """
    tokenizer = find_tokenizer(model)
    found = {split: Written() for split in config.splits}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_another_export(config, folder, MANIFEST, ".parquet")
        total = sum(config.num_rows(split) for split in found)
        with tqdm(total=total, unit=" rows", desc=f"{config.name} -> {folder}") as progress:
            for split, written in found.items():
                with written_whole(file(folder, split)) as out, pq.ParquetWriter(out, SCHEMA) as parquet:
                    for encoded in encoded_blocks(config, split, tokenizer):
                        parquet.write_table(to_table(encoded))
                        written.rows += len(encoded)
                        written.longest = max(written.longest, *encoded.lengths())
                        progress.update(len(encoded))
        said = {**config.manifest(), "tokenizer": model, "eos_token_id": tokenizer.eos_token_id}
        write_text(folder / MANIFEST, json.dumps(said, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    return found


def find_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model that `train.py` takes; raises `UserError`."""
    built_in = sorted(path.parent.name for path in BUILT_IN.glob("*/config.json"))
    folder = BUILT_IN / model if model in built_in else Path(model)
    if not folder.is_dir() and (model.startswith((".", "/", "~")) or model.count("/") != 1):
        near = suggest(model, built_in)
        raise UserError(
            f"--tokenized: '{model}' is neither a folder, nor built in ({', '.join(built_in)}){near},"
            " nor a Hub id such as 'EleutherAI/pythia-70m-deduped'"
        )
    try:
        tokenizer = load_tokenizer(str(folder) if folder.is_dir() else model)
    except BrokenCheckpointError as error:
        raise UserError(f"--tokenized: could not load the tokenizer of '{model}' ({error})") from None
    if not tokenizer("take 1 coin")["input_ids"]:
        raise UserError(f"--tokenized: '{model}' has no tokenizer; save the model's own beside it (tokenizer.json)")
    return tokenizer


def encoded_blocks(config: Recipe, split: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[EncodedRows]:
    """The rows of a split, a block at a time."""
    for table in generate(config, split):
        yield encode_rows(Dataset(table), tokenizer, sys.maxsize, f"{config.name}:{split}")


def to_table(encoded: EncodedRows) -> pa.Table:
    """The columns of `SCHEMA`."""
    starts_N, tokens_T = encoded.starts.astype(np.int32), encoded.tokens.astype(np.int32)
    places_T = np.arange(len(tokens_T))
    row_T = np.repeat(np.arange(len(encoded)), np.diff(starts_N))
    answer_T = places_T >= (starts_N[1:] - encoded.answer_tokens)[row_T]
    columns = (tokens_T, np.where(answer_T, tokens_T, IGNORE), np.ones(len(tokens_T), dtype=np.int8))
    return pa.table([pa.ListArray.from_arrays(starts_N, values) for values in columns], schema=SCHEMA)
