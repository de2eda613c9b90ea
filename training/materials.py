"""What a run is made from: its rows, encoded by the base model's tokenizer, and that model, as far as they fit."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from evaluation.tokens import answer_budget, check_fits, encode_prompts
from nim_dataset.errors import UserError
from training.config import Config
from training.data.encoding import EncodedRows, encode_rows
from training.data.phase import Phase
from training.data.phases import SetRows
from training.data.sets import load_eval, load_train, train_sources
from training.model.base import BaseModel
from training.saving.record import load_recorded_base


@dataclass
class Materials:
    """What a run is made from."""

    base: BaseModel
    rows: EncodedRows
    """Of all sets, one after another."""
    phases: list[tuple[Phase, tuple[SetRows, ...]]]
    """Each with the places of its sets among the rows."""
    eval_sets: dict[str, Dataset]


def prepare(config: Config) -> Materials:
    """Loads and encodes the rows, loads the base model; raises `UserError` where they do not fit each other."""
    with PartialState().main_process_first():
        train_sets = load_train(config.phases)
        eval_sets = load_eval(config.data)
    base = load_recorded_base(config)
    columns = dict.fromkeys(column for objective in config.objectives.values() for column in objective.columns)
    train_rows = concatenate_datasets(list(train_sets.values()))
    computed = encode_columns(config, train_sets, base.tokenizer)
    names = ", ".join(train_sets)
    rows = encode_rows(train_rows, base.tokenizer, config.data.max_length, names, tuple(columns), computed)
    places = places_of({name: len(each) for name, each in train_sets.items()})
    phases = [(phase, tuple(places[name] for name in phase.data)) for phase in config.phases]
    materials = Materials(base, rows, phases, eval_sets)
    check_rows_fit(config, materials)
    return materials


def encode_columns(
    config: Config, train_sets: Mapping[str, Dataset], tokenizer: PreTrainedTokenizerBase
) -> dict[str, Tensor | list[Any]]:
    """What the objectives compute of the rows of all sets, one after another."""
    sources = train_sources(config.phases)
    columns: dict[str, Tensor | list[Any]] = {}
    for objective in config.objectives.values():
        of_sets = []
        for name, rows in train_sets.items():
            try:
                of_sets.append(objective.encode(rows, tokenizer, sources[name].config))
            except UserError as error:
                raise UserError(f"train_data: '{name}': {error}") from None
        for name in objective.encoded:
            parts: Any = [of_set[name] for of_set in of_sets]
            columns[name] = torch.cat(parts) if isinstance(parts[0], Tensor) else list(itertools.chain(*parts))
    return columns


def places_of(rows: Mapping[str, int]) -> dict[str, SetRows]:
    """Where the rows of each set begin, which lie one after another."""
    ends = list(itertools.accumulate(rows.values()))
    return {name: SetRows(end - n, n) for (name, n), end in zip(rows.items(), ends, strict=True)}


def check_rows_fit(config: Config, materials: Materials) -> None:
    """Raises `UserError` for rows that the model cannot hold."""
    base, rows = materials.base, materials.rows
    longest, answer = len(rows.longest_inputs()[0]), int(rows.answer_tokens.max())
    for name, objective in config.objectives.items():
        if (beside := objective.beside(config.train.seed)) is not None:
            length = len(beside.longest()) + answer
            if length > config.data.max_length:
                raise UserError(
                    f"max_length: the rows that '{name}' puts beside the others have up to {length} tokens; set"
                    f" --max_length {length}"
                )
            longest = max(longest, length - 1)
    positions = getattr(base.model.config, "max_position_embeddings", None)
    if positions is not None and longest > positions:
        raise UserError(
            f"model: '{base.name}' holds {positions} tokens, the longest row has {longest}; take another model"
        )
    for name, eval_rows in materials.eval_sets.items():
        ids = encode_prompts(base.tokenizer, eval_rows["prompt"][:])
        try:
            check_fits(base.model, ids, max(map(len, ids)) + answer_budget(base.tokenizer, eval_rows["answer"]))
        except UserError as error:  # now, and not at the first measurement
            raise UserError(f"eval_data: '{name}': {error}") from None
