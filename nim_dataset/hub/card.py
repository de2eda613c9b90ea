"""The dataset card on the Hub: this package's own text, with the configs that the Hub really holds.

`datasets`' `push_to_hub` describes each config that it uploads (`configs`, `dataset_info`) in the card of the branch it
pushes to. Here those entries are joined with the entries that the card already has for other configs, and with the text
and the other metadata of `nim_dataset/README.md`, whose own `configs` name generated `nim://` files.
"""

from importlib import resources
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData, HfApi

Entries = dict[str, dict[str, Any]]


def make_card(api: HfApi, repo_id: str, revision: str, staging: str | None = None, names: tuple[str, ...] = ()) -> str:
    """The card for `main` after `names` have been pushed to the branch `staging`, on top of that of `revision`."""
    own = DatasetCard((resources.files("nim_dataset") / "README.md").read_text(encoding="utf-8"))
    kept = {key: value for key, value in own.data.to_dict().items() if key not in ("configs", "dataset_info")}
    present = read_card(api, repo_id, revision)
    staged = read_card(api, repo_id, staging) if staging else ""
    for field in ("configs", "dataset_info"):
        joined = entries(present, field) | {k: v for k, v in entries(staged, field).items() if k in names}
        if joined:
            kept[field] = [joined[name] for name in sorted(joined)]
    default = next((name for name, entry in entries(str(own), "configs").items() if entry.get("default")), None)
    for entry in kept.get("configs", []):
        entry.pop("default", None)
        if entry["config_name"] == default:
            entry["default"] = True
    return f"---\n{DatasetCardData(**kept).to_yaml()}\n---\n{own.text.replace('./nim_dataset', repo_id)}"


def entries(card: str, field: str) -> Entries:
    """Config name -> entry of a card's `configs` or `dataset_info`; a single `dataset_info` is written as a mapping."""
    found = DatasetCard(card).data.to_dict().get(field, []) if card else []
    return {entry["config_name"]: entry for entry in ([found] if isinstance(found, dict) else found)}


def read_card(api: HfApi, repo_id: str, revision: str) -> str:
    """The card of a revision as text; empty when there is none."""
    if not api.file_exists(repo_id, "README.md", repo_type="dataset", revision=revision):
        return ""
    path = api.hf_hub_download(repo_id, "README.md", repo_type="dataset", revision=revision)
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()
