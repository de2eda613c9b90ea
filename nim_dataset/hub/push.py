"""`python -m nim_dataset push --repo-id USER/NAME`: the generated splits as a real Parquet dataset on the Hub.

Afterwards `load_dataset("USER/NAME", "cheating")` needs nothing of this repository. `datasets`' own `push_to_hub` makes
one commit per config, so it pushes to a staging branch; one commit then brings everything to `main`: new Parquet files
(copied on the server), the card that names them, and `manifests/<config>.json`. So `main` is never half-updated, and a
manifest that is on `main` proves that the rows it describes are there too: nothing is generated for them again.
"""

import argparse
from collections.abc import Mapping

import datasets
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils.sha import git_hash
from tqdm import tqdm

from nim_dataset.builder import load_config
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.export import manifest_bytes
from nim_dataset.hub.access import Destination, check_access, open_repo, staging_branch
from nim_dataset.hub.card import make_card, read_card
from nim_dataset.hub.patience import attempt
from nim_dataset.recipes import recipe_names
from nim_dataset.sources import parse_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m nim_dataset push`."""
    parser.add_argument("--repo-id", required=True, metavar="USER/NAME", help="the dataset repository on the Hub")
    parser.add_argument(
        "--configs",
        nargs="+",
        metavar="CONFIG[,KEY=VALUE...]",
        help="the recipes to push (default: all); a changed recipe keeps its name on the Hub",
    )
    parser.add_argument("--private", action="store_true", help="create the repository as private (default: public)")


def run(args: argparse.Namespace) -> None:
    """Pushes what `args` asks for and prints what was uploaded. Raises `UserError`."""
    chosen: dict[str, Recipe] = {}
    for text in args.configs or recipe_names():
        config, _ = parse_recipe(text)
        if config.name in chosen:
            raise UserError(f"--configs: '{config.name}' is named twice, but one repository holds it once")
        chosen[config.name] = config
    # One bar over the configs says more than several for each split.
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    disable_progress_bars()
    push(chosen, args.repo_id, private=args.private)


def push(chosen: Mapping[str, Recipe], repo_id: str, *, private: bool = False) -> bool:
    """Brings checked recipes, by name, to the Hub; False when nothing had changed.

    Credentials are checked before anything is generated. Raises `UserError`; `main` is then as it was.
    """
    destination = check_access(repo_id, "dataset", private)
    api = destination.api
    manifests = {name: manifest_bytes(config) for name, config in chosen.items()}
    on_hub, card_is_new = attempt(f"cannot read {repo_id}", lambda: state_on_hub(destination), repo_id)
    stale = [name for name, config in chosen.items() if not is_on_hub(config, manifests[name], on_hub)]
    if not stale and not card_is_new:
        print(f"{destination.url} is up to date: nothing to upload")
        return False
    open_repo(destination)
    failure = f"the push to {repo_id} failed"
    added = {f"manifests/{name}.json": manifests[name] for name in stale}
    with staging_branch(destination, failure) as staging:
        for name in tqdm(stale, desc="Pushing", unit=" configs"):
            stage(destination, staging, chosen[name], failure)
        attempt(failure, lambda: commit_to_main(api, repo_id, staging, stale, added), repo_id)
    for name, config in chosen.items():
        rows = ", ".join(f"{split} {config.num_rows(split):,}" for split in config.splits)
        print(f"  {name:<14} {'uploaded' if name in stale else 'unchanged':<10} {rows}")
    return True


def stage(destination: Destination, staging: str, config: Recipe, failure: str) -> None:
    """Generates one config and pushes it to the staging branch."""
    splits = load_config(config)
    assert isinstance(splits, datasets.DatasetDict)
    repo_id = destination.repo_id
    attempt(failure, lambda: splits.push_to_hub(repo_id, config_name=config.name, revision=staging), repo_id)


def state_on_hub(destination: Destination) -> tuple[dict[str, str], bool]:
    """The files on `main` (path -> git id), and whether the card there would change by being made again."""
    if not destination.exists:
        return {}, True
    api, repo_id = destination.api, destination.repo_id
    return list_files(api, repo_id, "main"), read_card(api, repo_id, "main") != make_card(api, repo_id, "main")


def list_files(api: HfApi, repo_id: str, revision: str) -> dict[str, str]:
    """Path -> git id of every file of a revision."""
    entries = api.list_repo_tree(repo_id, repo_type="dataset", revision=revision, recursive=True)
    return {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}


def is_on_hub(config: Recipe, content: bytes, on_hub: Mapping[str, str]) -> bool:
    """Whether the Hub holds this very manifest, with a Parquet file for each split."""
    splits = [any(path.startswith(f"{config.name}/{split}-") for path in on_hub) for split in config.splits]
    return all(splits) and on_hub.get(f"manifests/{config.name}.json") == git_hash(content)


def commit_to_main(api: HfApi, repo_id: str, staging: str, names: list[str], added: Mapping[str, bytes]) -> None:
    """One commit on `main`, on top of what is there now; it does nothing when `main` has all of it already."""
    head = api.repo_info(repo_id, repo_type="dataset", revision="main").sha
    assert head is not None
    staged, present = (list_files(api, repo_id, revision) for revision in (staging, head))
    folders = tuple(f"{name}/" for name in names)
    new = [path for path in staged if path.startswith(folders)]
    old = [path for path in present if path.startswith(folders) and path not in new]
    card = make_card(api, repo_id, head, staging, tuple(names))
    api.create_commit(
        repo_id,
        [
            *(CommitOperationCopy(path, path, src_revision=staging) for path in new),
            *(CommitOperationDelete(path) for path in old),
            *(CommitOperationAdd(path, content) for path, content in added.items()),
            CommitOperationAdd("README.md", card.encode()),
        ],
        commit_message=f"Upload {', '.join(names)}" if names else "Update the dataset card",
        repo_type="dataset",
        parent_commit=head,
    )
