"""The rows of a run: what is trained on, mixed if there are several sets, and what exact match is measured on."""

from pathlib import Path

from datasets import Dataset, concatenate_datasets, interleave_datasets

from nim_dataset import load_source
from nim_dataset.errors import UserError
from nim_dataset.sources import parse_recipe
from training.config import DataConfig


def is_file(source: str) -> bool:
    return source.endswith((".jsonl", ".json")) or Path(source).is_file()


def load_train(config: DataConfig, seed: int) -> Dataset:
    """All training rows. `seed` decides in what order the sets of a weighted mixture take turns."""
    sets = [_load("train_data", _with_split(source, "train")) for source in config.train_data]
    if not config.train_weights:
        return concatenate_datasets(sets)
    total = sum(config.train_weights)
    shares = [weight / total for weight in config.train_weights]
    return interleave_datasets(sets, probabilities=shares, seed=seed, stopping_strategy="first_exhausted")


def load_eval(config: DataConfig) -> dict[str, Dataset]:
    """The first `eval_rows` rows of each set to measure on, by the name that its figures are logged under.

    For the splits of the first recipe trained on, the name is the split's: `eval`, `cheat_consistent`, ... Unless told
    otherwise, those that are not trained on are measured.
    """
    if config.eval_rows == 0:
        return {}
    home = next((source.partition(":")[0] for source in config.train_data if not is_file(source)), None)
    wanted = [_with_split(source, "eval") for source in config.eval_data]
    if not wanted and home is not None:
        trained_on = {_with_split(source, "train") for source in config.train_data} | {f"{home}:train"}
        wanted = [f"{home}:{split}" for split in parse_recipe(home)[0].splits if f"{home}:{split}" not in trained_on]
    sets = {}
    for source in wanted:
        name = Path(source).name if is_file(source) else source
        rows = _load("eval_data", source, limit=config.eval_rows)
        if len(rows) == 0:
            raise UserError(f"eval_data: '{source}' has no rows; leave it out, or give a set with at least one")
        name = name.removeprefix(f"{home}:")
        if name in sets:
            raise UserError(f"eval_data: two sets are named '{name}', and their figures would be too; rename one")
        sets[name] = rows
    return sets


def _load(field: str, source: str, limit: int | None = None) -> Dataset:
    if "=" in source.partition(",")[0] and not is_file(source):
        raise UserError(f"{field}: '{source}' names no recipe; in YAML, quote one with options: ['cheating,seed=1']")
    try:
        return load_source(source, limit)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None


def _with_split(source: str, split: str) -> str:
    return source if is_file(source) or ":" in source else f"{source}:{split}"
