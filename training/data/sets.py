"""The rows of a run: what is trained on, mixed if there are several sets, and what exact match is measured on."""

from collections.abc import Sequence

from datasets import Dataset

from nim_dataset.errors import UserError
from nim_dataset.sources import Source
from training.data.phase import Phase
from training.fields import DataConfig


def parse_sources(field: str, specs: Sequence[str], split: str) -> list[Source]:
    """The sets that an option names; of a recipe without a split, its `split`. Raises `UserError`."""
    sources = []
    for spec in specs:
        try:
            sources.append(Source.parse(spec, split))
        except UserError as error:
            if "=" in spec.partition(",")[0]:
                quoted = "in YAML, quote one with options: ['cheating,seed=1']"
                raise UserError(f"{field}: '{spec}' names no recipe; {quoted}") from None
            raise UserError(f"{field}: {error}") from None
    return sources


def train_sources(phases: Sequence[Phase]) -> dict[str, Source]:
    """Each set that some phase names, by that name."""
    specs = tuple(dict.fromkeys(spec for phase in phases for spec in phase.data))
    return dict(zip(specs, parse_sources("train_data", specs, "train"), strict=True))


def load_train(phases: Sequence[Phase]) -> dict[str, Dataset]:
    """All rows of these sets."""
    return {name: _load("train_data", source) for name, source in train_sources(phases).items()}


def load_eval(config: DataConfig) -> dict[str, Dataset]:
    """The first `eval_rows` rows of each set to measure on, by the name that its figures are logged under.

    For the splits of the first recipe trained on, the name is the split's: `eval`, `cheat_consistent`, ... Unless told
    otherwise, those that are not trained on are measured.
    """
    if config.eval_rows == 0:
        return {}
    train = parse_sources("train_data", config.train_data, "train")
    home = next((source for source in train if source.config is not None), None)
    wanted = parse_sources("eval_data", config.eval_data, "eval")
    if not wanted and home is not None and home.config is not None:
        trained_on = {source.name for source in train} | {f"{home.recipe}:train"}
        names = [f"{home.recipe}:{split}" for split in home.config.splits]
        wanted = [Source.parse(name) for name in names if name not in trained_on]
    sets = {}
    for source in wanted:
        rows = _load("eval_data", source, limit=config.eval_rows)
        if len(rows) == 0:
            raise UserError(f"eval_data: '{source.spec}' has no rows; leave it out, or give a set with at least one")
        name = source.name.removeprefix(f"{home.recipe}:") if home is not None else source.name
        if name in sets:
            raise UserError(f"eval_data: two sets are named '{name}', and their figures would be too; rename one")
        sets[name] = rows
    return sets


def _load(field: str, source: Source, limit: int | None = None) -> Dataset:
    try:
        return source.load(limit)
    except UserError as error:
        raise UserError(f"{field}: {error}") from None
