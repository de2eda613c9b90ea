"""`python -m nim_dataset push --repo-id USER/NAME`: the generated splits as a real Parquet dataset on the Hub.

Afterwards `load_dataset("USER/NAME", "cheating")` needs nothing of this repository. The Parquet files are uploaded one
config after the other, and belong to nothing until one commit brings everything to `main`: the files, the card that
names them, and `manifests/<config>.json`. So `main` is never half-updated, and a manifest that is on `main` proves that
the rows it describes are there too: nothing is generated for them again.
"""

import argparse
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import datasets
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars
from huggingface_hub.utils.sha import git_hash
from tqdm import tqdm

from nim_dataset.builder import load
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError
from nim_dataset.export import manifest_bytes
from nim_dataset.hub.access import OVERWRITE_CARD, Destination, check_access, open_repo
from nim_dataset.hub.branches import remove_leftovers
from nim_dataset.hub.card import Card, changes, kept, read_card, summary
from nim_dataset.hub.dataset_card import Entry, items, update
from nim_dataset.hub.patience import attempt, exit_on_interrupt
from nim_dataset.recipes import recipe_names
from nim_dataset.regimes import SPLITS
from nim_dataset.sources import parse_recipe

SHARD_BYTES = 500_000_000
"""The rows of one Parquet file, in Arrow's memory."""


@dataclass(frozen=True)
class Chosen:
    """One config to push."""

    config: Recipe
    overrides: Mapping[str, Any]
    """The options that differ from the recipe's, as they were given."""
    manifest: bytes

    @property
    def spec(self) -> str:
        return ",".join([self.config.name, *(f"{key}={value}" for key, value in self.overrides.items())])


@dataclass(frozen=True)
class State:
    """What the Hub holds on `main`."""

    head: str | None
    """The commit; None when there is no repository yet."""
    files: Mapping[str, str]
    """Path -> git id."""
    card: Card
    configs: Mapping[str, Any]
    """Config name -> item of `configs` in the card."""
    infos: Mapping[str, Any]
    """Config name -> item of `dataset_info`."""

    @classmethod
    def read(cls, destination: Destination) -> "State":
        """Raises `UserError` when the card there is one that a push cannot keep."""
        api, repo_id = destination.api, destination.repo_id
        if not destination.exists:
            return cls(None, {}, Card.parse(""), {}, {})
        head = api.repo_info(repo_id, repo_type="dataset", revision="main").sha
        assert head is not None
        entries = api.list_repo_tree(repo_id, repo_type="dataset", revision=head, recursive=True)
        files = {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}
        card = read_card(destination, head)
        return cls(head, files, card, items(card, "configs", repo_id), items(card, "dataset_info", repo_id))

    def parquet(self, name: str) -> dict[str, str]:
        """Path -> split of the files that a push of the config `name` made, or would make."""
        pattern = re.compile(rf"{re.escape(name)}/({'|'.join(SPLITS)})-\d{{5}}-of-\d{{5}}\.parquet")
        return {path: found[1] for path in self.files if (found := pattern.fullmatch(path))}

    def holds(self, chosen: Chosen) -> bool:
        """Whether this very manifest is there, with Parquet files for each split, and the card names the config."""
        name = chosen.config.name
        same = self.files.get(f"manifests/{name}.json") == git_hash(chosen.manifest)
        named = name in self.configs and name in self.infos
        return same and named and set(self.parquet(name).values()) >= set(chosen.config.splits)

    def refuse_others(self, name: str, repo_id: str) -> None:
        """Raises `UserError` when a config of this name is there that no push of this package made."""
        is_there = name in self.configs or name in self.infos or self.parquet(name)
        if is_there and f"manifests/{name}.json" not in self.files:
            raise UserError(
                f"{repo_id} has a config '{name}' that was not made here: push to another repository, "
                "or remove its files and its entries in the card on the Hub first"
            )


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
    parser.add_argument("--overwrite-card", action="store_true", help=OVERWRITE_CARD)


def run(args: argparse.Namespace) -> None:
    """Pushes what `args` asks for and prints what was uploaded. Raises `UserError`."""
    chosen: dict[str, tuple[Recipe, dict[str, Any]]] = {}
    for text in args.configs or recipe_names():
        config, overrides = parse_recipe(text)
        if config.name in chosen:
            raise UserError(f"--configs: '{config.name}' is named twice, but one repository holds it once")
        chosen[config.name] = config, overrides
    # One bar over the configs says more than several for each split.
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    disable_progress_bars()
    with exit_on_interrupt():
        push(chosen, args.repo_id, private=args.private, overwrite_card=args.overwrite_card)


def push(
    recipes: Mapping[str, tuple[Recipe, Mapping[str, Any]]],
    repo_id: str,
    *,
    private: bool = False,
    overwrite_card: bool = False,
) -> bool:
    """Brings the recipes (name -> config and the overrides that made it) to the Hub; False when nothing had changed.

    What people wrote in the card stays, unless `overwrite_card`.

    Credentials, and what the Hub holds already, are checked before anything is generated. Raises `UserError`; `main` is
    then as it was.
    """
    destination = check_access(repo_id, "dataset", private)
    all_chosen = {name: Chosen(config, made, manifest_bytes(config)) for name, (config, made) in recipes.items()}
    specs = {name: (chosen.config, chosen.spec) for name, chosen in all_chosen.items()}
    found = attempt(f"cannot read {repo_id}", lambda: State.read(destination), repo_id)
    for name in all_chosen:
        found.refuse_others(name, repo_id)
    stale = {name: chosen for name, chosen in all_chosen.items() if not found.holds(chosen)}
    expected = update(found.card, repo_id, specs, {}, overwrite=overwrite_card)  # or an error, before any upload
    remove_leftovers(destination)
    if not stale and not changes(found.card, expected):
        print(f"{destination.url} is up to date: nothing to upload")
        if edited := kept(found.card):
            print(f"  README.md      {edited}")
        return False
    open_repo(destination)
    failure = f"the push to {repo_id} failed"
    uploads = Uploads({}, {})
    for name, chosen in tqdm(stale.items(), desc="Pushing", unit=" configs"):
        additions = uploads.add(name, chosen)
        attempt(failure, partial(destination.api.preupload_lfs_files, repo_id, additions, repo_type="dataset"), repo_id)
    card = attempt(failure, lambda: commit(destination, found, specs, stale, uploads, overwrite_card), repo_id)
    for name, chosen in all_chosen.items():
        rows = ", ".join(f"{split} {chosen.config.num_rows(split):,}" for split in chosen.config.splits)
        print(f"  {name:<14} {'uploaded' if name in stale else 'unchanged':<10} {rows}")
    print(f"  {'README.md':<14} {summary(found.card, card)}")
    return True


@dataclass(frozen=True)
class Uploads:
    """What has been uploaded, by config."""

    files: dict[str, list[CommitOperationAdd]]
    entries: dict[str, Entry]

    def add(self, name: str, chosen: Chosen) -> list[CommitOperationAdd]:
        """Generates the rows of one config, and returns their Parquet files: a few for each split, most often one."""
        splits = load(name, **chosen.overrides)
        assert isinstance(splits, datasets.DatasetDict)
        contents: dict[str, bytes] = {}
        patterns: dict[str, str] = {}
        for split, rows in splits.items():
            shards = max(1, math.ceil(rows.data.nbytes / SHARD_BYTES))
            patterns[str(split)] = f"{name}/{split}-*-of-{shards:05d}.parquet"
            for shard in range(shards):
                buffer = io.BytesIO()
                rows.shard(shards, shard, contiguous=True).to_parquet(buffer)
                contents[f"{name}/{split}-{shard:05d}-of-{shards:05d}.parquet"] = buffer.getvalue()
        self.entries[name] = Entry.describe(name, splits, patterns, sum(map(len, contents.values())))
        self.files[name] = [CommitOperationAdd(path, content) for path, content in contents.items()]
        return self.files[name]


def commit(
    destination: Destination,
    found: State,
    specs: Mapping[str, tuple[Recipe, str]],
    stale: Mapping[str, Chosen],
    uploads: Uploads,
    overwrite_card: bool,
) -> Card:
    """One commit on top of what is on `main` now, none when `main` has all of it already; returns the card."""
    repo_id = destination.repo_id
    present = State.read(replace(destination, exists=True))
    card = update(present.card, repo_id, specs, uploads.entries, overwrite=overwrite_card)
    if all(present.holds(chosen) for chosen in stale.values()) and not changes(present.card, card):
        return card
    operations: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationAdd("README.md", str(card).encode())]
    for name, chosen in stale.items():
        manifest, added = f"manifests/{name}.json", uploads.files[name]
        if present.files.get(manifest) != found.files.get(manifest):
            raise UserError(f"somebody else has pushed '{name}' to {repo_id} in the meantime: push again")
        old = present.parquet(name).keys() - {operation.path_in_repo for operation in added}
        operations += [CommitOperationAdd(manifest, chosen.manifest), *added, *map(CommitOperationDelete, sorted(old))]
    destination.api.create_commit(
        repo_id,
        operations,
        commit_message=f"Upload {', '.join(stale)}" if stale else "Update the dataset card",
        repo_type="dataset",
        parent_commit=present.head,
    )
    return card
