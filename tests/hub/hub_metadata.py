"""What the local Hub checks in a card's metadata, with the checks and the options that huggingface_hub documents."""

import re
from typing import Any

import yaml
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import CardData, DatasetCardData, ModelCardData, SpaceCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

DATA: dict[str, type[CardData]] = {"model": ModelCardData, "dataset": DatasetCardData, "space": SpaceCardData}
DOCUMENTED = re.findall(r"^ {8}(\w+) \(((?:(?!^ {8}\w).)*)", str(DatasetCardData.__doc__), re.M | re.S)
OPTIONS = {
    **{field: set(re.findall("'([^']+)'", text)) for field, text in DOCUMENTED if "Options are:" in text},
    "base_model_relation": {"adapter", "finetune", "merge", "quantized"},
    "sdk": {"docker", "gradio", "static"},
}
REPOSITORIES = ("base_model", "datasets")
"""The fields that hold ids of repositories."""


def metadata_of(card: str) -> dict[str, Any] | None:
    """The metadata of a card, empty where it has none; None for what is no mapping."""
    block = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n?---", card.lstrip("\ufeff"), re.S)
    try:
        metadata = yaml.safe_load(block[1] if block else "") or {}
    except yaml.YAMLError:
        return None
    return metadata if isinstance(metadata, dict) else None


def problems(card: str, repo_type: str) -> list[str]:
    """What is wrong with the metadata of a card, a line each; a card without metadata is in order."""
    metadata = metadata_of(card)
    if metadata is None:
        return ["the YAML metadata is no mapping"]
    found = []
    for field in OPTIONS.keys() & metadata:
        unknown = {str(value) for value in listed(metadata[field])} - OPTIONS[field]
        found += [f'"{field}" must be one of {sorted(OPTIONS[field])}, not {value}' for value in sorted(unknown)]
    try:
        for repo_id in (repo_id for field in REPOSITORIES for repo_id in listed(metadata.get(field))):
            validate_repo_id(repo_id)
        data = DATA[repo_type](**metadata)
        if isinstance(data, DatasetCardData):
            MetadataConfigs.from_dataset_card_data(data)
            DatasetInfosDict.from_dataset_card_data(data)
    except (HFValidationError, ValueError, TypeError) as error:
        found.append(" ".join(str(error).split()))
    return found


def listed(value: Any) -> list[Any]:
    """A field of one value or several as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]
