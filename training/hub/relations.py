"""What a model on the Hub is related to there: its base model's license, and the dataset with the rows of its run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, HfApi, eval_result_entries_to_yaml
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.export import manifest_bytes

EVAL_RESULTS = ".eval_results/nim.yaml"
"""Where the Hub reads results from, beside `model-index`: https://huggingface.co/docs/hub/eval-results."""
LICENSE = ("license", "license_name", "license_link")
"""The last two say which license `other` is."""


@dataclass(frozen=True)
class HubDataset:
    """A dataset repository that holds the rows of a run."""

    repo_id: str
    commit: str

    @classmethod
    def find(cls, api: HfApi, repo_id: str, recipes: Mapping[str, Recipe]) -> "HubDataset":
        """Raises `UserError` unless the repository is there and holds each of `recipes` (spec -> recipe) as it is."""
        try:
            commit = api.repo_info(repo_id, repo_type="dataset").sha
        except (RepositoryNotFoundError, HFValidationError):
            raise UserError(
                f"--dataset-id: there is no dataset '{repo_id}' on the Hub, or none that you may see"
            ) from None
        assert commit is not None
        paths = [f"manifests/{recipe.name}.json" for recipe in recipes.values()]
        entries = api.get_paths_info(repo_id, paths, repo_type="dataset", revision=commit) if paths else []
        known = {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}
        for (spec, recipe), path in zip(recipes.items(), paths, strict=True):
            if known.get(path) != git_hash(manifest_bytes(recipe)):
                push = f"python -m nim_dataset push --repo-id {repo_id} --configs {spec}"
                raise UserError(f"--dataset-id: {repo_id} does not hold the rows of '{spec}'; {push}")
        return cls(repo_id, commit)


def license_of(api: HfApi, base: Mapping[str, Any], *, built_in: bool) -> dict[str, Any]:
    """The card's fields of the license under which the base model is, which is that of what is trained from it.

    `base` is the `base_model` of a run's environment.json; one that is built in is under this project's license. That
    of a folder, or of a repository that does not tell, is `unknown`, as the Hub calls it.
    """
    if not base["commit"]:
        return {"license": "mit" if built_in else "unknown"}
    try:
        card = api.model_info(base["name"], revision=base["commit"]).card_data
    except HfHubHTTPError:
        card = None
    found = {field: card.get(field) for field in LICENSE if card.get(field)} if card is not None else {}
    return found if "license" in found else {"license": "unknown"}


def eval_results_file(results: Sequence[EvalResult], dataset: HubDataset, source_url: str, notes: str | None) -> bytes:
    """The results on `dataset` in the form of `.eval_results/`; a task is `<config>_<split>`."""
    entries = [
        EvalResultEntry(
            dataset_id=dataset.repo_id,
            task_id=f"{result.dataset_config}_{result.dataset_split}",
            value=result.metric_value,
            dataset_revision=dataset.commit,
            source_url=source_url,
            source_name="metrics.jsonl",
            notes=notes,
        )
        for result in results
        if result.dataset_type == dataset.repo_id
    ]
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False).encode()
