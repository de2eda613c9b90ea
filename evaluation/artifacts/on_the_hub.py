"""Models on the Hub, or with `HF_HUB_OFFLINE=1` in its cache: a repository's branches, and the commit of each.

Offline, a branch counts when the cache knows its commit and holds weights of it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name

from nim_dataset.errors import UserError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""What a saved model's weights may be called, in the order in which they are looked for."""


@dataclass(frozen=True)
class Branch:
    """A branch of a repository, and the commit that it is at."""

    name: str
    commit: str


def branches_by_step(repo_id: str) -> tuple[list[tuple[int, Branch]], str | None]:
    """A repository's branches `stepN` and `step-N` (which `training.push` makes) by step, and the commit of main.

    Of `step3` and `step-3`, the latter is taken. Raises what `huggingface_hub` raises where the repository or the Hub
    is not there, and `UserError` where the repository is not in the cache, offline.
    """
    branches = sorted(_branches(repo_id), key=lambda branch: branch.name, reverse=True)
    named = [(re.fullmatch(r"step-?(0|[1-9][0-9]*)", branch.name), branch) for branch in branches]
    by_step = {int(match[1]): branch for match, branch in named if match}  # "step-3" comes after "step3", and stays
    return sorted(by_step.items()), next((branch.commit for branch in branches if branch.name == "main"), None)


def _branches(repo_id: str) -> list[Branch]:
    if not constants.is_offline_mode():
        return [Branch(ref.name, ref.target_commit) for ref in HfApi().list_repo_refs(repo_id).branches]
    refs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model") / "refs"
    known = [
        Branch(str(file.relative_to(refs)), file.read_text().strip()) for file in refs.rglob("*") if file.is_file()
    ]
    cached = [branch for branch in known if weights_file(cached_snapshot(repo_id, branch.commit))]
    if not cached:
        raise UserError(f"'{repo_id}' is not in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE is set")
    return cached


def commit_of(repo_id: str, revision: str) -> str:
    """The commit of a branch, tag or commit, which the cache then knows; raises what `hf_hub_download` raises."""
    config = hf_hub_download(repo_id, "config.json", revision=revision)
    return Path(config).parent.name  # .../snapshots/<commit>/config.json


def cached_snapshot(repo_id: str, commit: str) -> str | None:
    """The folder of the cache that holds a commit's files, as far as they were downloaded."""
    config = try_to_load_from_cache(repo_id, "config.json", revision=commit)
    return str(Path(config).parent) if isinstance(config, str) else None


def weights_file(folder: str | Path | None) -> str | None:
    """The name of the file in `folder` that weights are read from (of shards, their index); None without one."""
    return next((name for name in WEIGHTS if folder is not None and (Path(folder) / name).is_file()), None)
