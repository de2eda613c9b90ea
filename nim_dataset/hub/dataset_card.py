"""The dataset card on the Hub: which configs are there (`configs`, `dataset_info`), and a section about each.

A section says what was pushed: rows, options, an example, how to make it again. The fields' meanings and the general
metadata are those of `nim_dataset/README.md`, whose own `configs` are generated and not on the Hub.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import datasets
import jinja2
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

import nim_dataset
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.hub.card import Card, dump, merge
from nim_dataset.regimes import EVAL, REGIMES
from nim_dataset.rows import generate

MEANINGS = {"train": "for training", "eval": EVAL, **REGIMES}
DEFAULT = "quickstart"
LARGEST = 12
"""The Hub's size categories end at 10**12 rows."""


@dataclass(frozen=True)
class Entry:
    """What the card's metadata says of one config."""

    config: dict[str, Any]
    """Its item of `configs`."""
    info: dict[str, Any]
    """Its item of `dataset_info`."""

    @classmethod
    def describe(cls, name: str, splits: datasets.DatasetDict, patterns: Mapping[str, str], size: int) -> "Entry":
        """`patterns` are split -> path in the repository, `size` is the bytes of all files."""
        info = next(iter(splits.values())).info.copy()
        info.download_size = size
        data = DatasetCardData()
        DatasetInfosDict({name: info}).to_dataset_card_data(data)
        files = [{"split": split, "path": pattern} for split, pattern in patterns.items()]
        return cls({"config_name": name, "data_files": files}, data["dataset_info"])


def items(card: Card, field: str, repo_id: str) -> dict[str, dict[str, Any]]:
    """Config name -> item of `configs` or `dataset_info`; one without a name is that of the config `default`.

    `dataset_info` may also be a single item. Raises `UserError` for anything else.
    """
    value = card.metadata.get(field) or []
    found = [value] if field == "dataset_info" and isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        said = " ".join(repr(value).split())
        said = said if len(said) <= 40 else said[:37] + "..."
        raise UserError(f"README.md of {repo_id}: '{field}' is {said}, expected a list of configs; mend it on the Hub")
    names = [str(item.get("config_name", "default")) for item in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"README.md of {repo_id}: '{field}' has the config '{twice}' twice; mend it on the Hub")
    return {name: {"config_name": name} | item | {"config_name": name} for name, item in zip(names, found, strict=True)}


def read_infos(
    configs: Mapping[str, Mapping[str, Any]], infos: Mapping[str, Mapping[str, Any]], repo_id: str
) -> DatasetInfosDict:
    """The items of `dataset_info` as `datasets` reads them. Raises `UserError` where it can read no config."""
    data = DatasetCardData(configs=list(configs.values()), dataset_info=list(infos.values()))
    try:
        MetadataConfigs.from_dataset_card_data(data)
        return DatasetInfosDict.from_dataset_card_data(data)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())[:80]
        raise UserError(
            f"README.md of {repo_id}: `datasets` cannot read its configs or dataset_info ({said}); mend it on the Hub"
        ) from None


def refuse_other_formats(configs: Mapping[str, Mapping[str, Any]], repo_id: str) -> None:
    """Raises `UserError` when a config is made of other files than Parquet: no config could be read beside it."""
    for name, item in configs.items():
        for path in paths(item.get("data_files")):
            if PurePosixPath(path).suffix not in ("", ".parquet"):
                raise UserError(
                    f"README.md of {repo_id}: the config '{name}' is made of {path}, and `datasets` reads one format "
                    "in a repository: push to another one"
                )


def paths(data_files: Any) -> Iterator[str]:
    """The paths and patterns in the `data_files` of a config, in any of its forms."""
    if isinstance(data_files, str):
        yield data_files
    for part in data_files if isinstance(data_files, list) else []:
        yield from paths(part.get("path") if isinstance(part, dict) else part)


def update(
    present: Card,
    repo_id: str,
    chosen: Mapping[str, tuple[Recipe, str]],
    entries: Mapping[str, Entry],
    *,
    overwrite: bool = False,
) -> Card:
    """The card after a push of `chosen` (name -> config and its spec), of which `entries` have been uploaded.

    In a repository without configs, what loads without a name, and the viewer shows first, is `quickstart` or else the
    first of `entries`. `overwrite` drops what people wrote. Raises `UserError` where `present` cannot be merged.
    """
    configs, infos = (items(present, field, repo_id) for field in ("configs", "dataset_info"))
    refuse_other_formats(configs, repo_id)
    size = size_category(read_infos(configs, infos, repo_id))
    is_default = any(name == "default" or item.get("default") for name, item in configs.items())
    first = next(iter(entries), None) if not configs and DEFAULT not in entries else DEFAULT
    for name in sorted(entries):
        is_first = name == first and name not in configs and not is_default
        configs[name] = configs.get(name, {}) | entries[name].config | ({"default": True} if is_first else {})
        infos[name] = entries[name].info
    known = read_infos(configs, infos, repo_id)
    metadata = general_metadata() | {"size_categories": [size_category(known)]}
    metadata |= {"configs": list(configs.values()), "dataset_info": list(infos.values())}
    # A size that somebody corrected is theirs.
    owned = ["size_categories"] if present.metadata.get("size_categories") == [size] else []
    owned += ["configs", "dataset_info"] if entries else []
    ours = [name for name in (*present.sections(), *sorted(chosen)) if name != "about"]
    columns = [column for name in known if name in ours for column in known[name].features or ()]
    example = DEFAULT if DEFAULT in ours else ours[0]
    return merge(present, render(repo_id, metadata, columns, example, chosen), owned, overwrite=overwrite)


def render(
    repo_id: str,
    metadata: Mapping[str, Any],
    columns: Iterable[str],
    example: str,
    chosen: Mapping[str, tuple[Recipe, str]],
) -> Card:
    """The whole card, as it is where there was none. `example` is the config whose loading is shown."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    source = resources.files("nim_dataset.hub") / "dataset_card.md.jinja"
    described = field_meanings()
    text = environment.from_string(source.read_text(encoding="utf-8")).render(
        metadata=dump(dict(metadata), "\n"),
        title=metadata["pretty_name"],
        repo_id=repo_id,
        example=example,
        fields=[(name, *described[name]) for name in dict.fromkeys(columns) if name in described],
        configs=[section(name, config, spec) for name, (config, spec) in sorted(chosen.items())],
        version=nim_dataset.__version__,
        citation=own_card().partition("## Citation\n")[2].strip(),
    )
    return Card.parse(text)


def section(name: str, config: Recipe, spec: str) -> dict[str, Any]:
    """What the template says about one config."""
    row = next(iter(generate(config, config.splits[0], 0, 1))).to_pylist()[0]
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in config.content().items()]
    return {
        "name": name,
        "splits": [(split, config.num_rows(split), MEANINGS.get(split, "")) for split in config.splits],
        "prompt": row["prompt"],
        "answer": row["answer"],
        "options": "{\n" + ",\n".join(lines) + "\n}",
        "command": f"python -m nim_dataset export {shlex.quote(spec)}",
    }


def own_card() -> str:
    return (resources.files("nim_dataset") / "README.md").read_text(encoding="utf-8")


def general_metadata() -> dict[str, Any]:
    """License, language and so on, as in this package's own card."""
    metadata = Card.parse(own_card()).metadata
    return {key: value for key, value in metadata.items() if key not in ("configs", "dataset_info", "size_categories")}


def field_meanings() -> dict[str, tuple[str, str]]:
    """Column -> its type and what it is, from the tables of this package's own card."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", own_card(), re.M)
    return {name: (kind, meaning) for name, kind, meaning in rows}


def size_category(infos: DatasetInfosDict) -> str:
    """The Hub's category for all rows that `infos` tell of: `n<1K`, `1K<n<10K`, ..., `n>1T`."""
    counts = [split.num_examples for info in infos.values() for split in (info.splits or {}).values()]
    rows = sum(count for count in counts if isinstance(count, int))
    exponent = max(2, len(str(rows)) - 1)
    units = {n + d: f"{10**d}{unit}" for n, unit in ((3, "K"), (6, "M"), (9, "B")) for d in (0, 1, 2)} | {LARGEST: "1T"}
    if exponent < 3:
        return "n<1K"
    return f"{units[exponent]}<n<{units[exponent + 1]}" if exponent < LARGEST else "n>1T"
