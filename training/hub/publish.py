"""A finished run as a model on the Hub.

Weights (safetensors), tokenizer, generation config, the card and the run's own files go up in one commit, so `main`
is never half-updated; nothing in the run's folder is touched. Each `checkpoint-N` may become a branch `step-N`, which
`evaluation/sweep.py` can score. Optimizer states and other pickled files are never uploaded.
"""

import re
from collections.abc import Mapping
from contextlib import nullcontext
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, get_token
from tqdm import tqdm

from evaluation.artifacts.run_folder import own_checkpoints, step_of
from nim_dataset.errors import UserError
from nim_dataset.hub.access import Destination, check_access, open_repo
from nim_dataset.hub.branches import remove_leftovers, staging_branch
from nim_dataset.hub.card import Card, changes, merge, read_card
from nim_dataset.hub.patience import attempt
from training.hub.model_card import RunFiles, make_card

MODEL_FILES = (
    "model*.safetensors",
    "model*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template.*",
)
FIGURE = "accuracy_by_dataset.png"
Content = Path | bytes
"""What a file in the repository is made from: a file on disk, or bytes."""


def check_credentials(repo_id: str | None, private: bool | None = False) -> None:
    """To be called before training starts: `UserError` in one line when `push_run` could not write to `repo_id`."""
    check_access(repo_id, "model", private)


def push_run(
    run_dir: Path, repo_id: str, *, private: bool | None = False, checkpoints: bool = False, report: Path | None = None
) -> str:
    """Publishes a run's model (and its checkpoints) and returns the address. What is on the Hub already stays as it is.

    `report` is the folder of the run's report; by default `reports/<run>` beside the runs, if there is one. Raises
    `UserError`, one line that says how to push again; the files in `run_dir` are only ever read.
    """
    run = RunFiles.read(run_dir)
    saved = {step_of(folder): model_files(folder) for folder in own_checkpoints(run_dir)} if checkpoints else {}
    figure = find_figure(report or run_dir.resolve().parent.parent / "reports" / run_dir.resolve().name)
    files: dict[str, Content] = {**model_files(run_dir), **run.published()}
    if figure:
        files[f"figures/{figure.name}"] = figure
    branches = [f"step-{step}" for step in saved]
    card = Card.parse(make_card(run, repo_id, figure=f"figures/{figure.name}" if figure else None, branches=branches))
    refuse_token(files | {"README.md": str(card).encode()})

    destination = check_access(repo_id, "model", private)
    present = attempt(f"cannot read {repo_id}", lambda: read_card(destination, "main"), repo_id)
    open_repo(destination)
    flags = (" --private" if private else "") + (" --checkpoints" if checkpoints else "")
    again = f"python -m training.push {run_dir} --repo-id {repo_id}{flags}"
    failure = f"the push failed, the run is safe in {run_dir} (again: {again})"
    title = f"Upload {run_dir.resolve().name}"
    merged = attempt(failure, lambda: commit_run(destination, files, card, title), repo_id)
    if saved:
        push_checkpoints(destination, saved, failure)
    remove_leftovers(destination)
    print(f"README.md: {changes(present, merged) or 'unchanged'}")
    return destination.url


def push_checkpoints(destination: Destination, saved: Mapping[int, Mapping[str, Path]], failure: str) -> None:
    """One branch `step-N` per checkpoint (step -> its files). A new one comes from a staging branch, all at once."""
    api, repo_id = destination.api, destination.repo_id
    refs = attempt(failure, lambda: api.list_repo_refs(repo_id), repo_id)
    known = {branch.name for branch in refs.branches}

    def push_one(step: int, files: Mapping[str, Path], staging: str) -> None:
        branch = f"step-{step}"
        if branch in known:
            commit(destination, branch, files, f"Upload {branch}")
        else:
            oid = commit(destination, staging, files, f"Upload {branch}", alone=True)
            api.create_branch(repo_id, branch=branch, revision=oid, exist_ok=True)

    is_new = any(f"step-{step}" not in known for step in saved)
    with staging_branch(destination, failure) if is_new else nullcontext("") as staging:
        for step, files in tqdm(saved.items(), desc="Pushing", unit=" checkpoints"):
            attempt(failure, partial(push_one, step, files, staging), repo_id)


def commit_run(destination: Destination, files: Mapping[str, Content], card: Card, title: str) -> Card:
    """One commit on `main` with the files and what is ours in the card; returns the card as it is then."""
    head = destination.api.repo_info(destination.repo_id).sha
    assert head is not None
    merged = merge(read_card(destination, head), card, ["model-index"])
    commit(destination, "main", {**files, "README.md": str(merged).encode()}, title, head=head)
    return merged


def commit(
    destination: Destination,
    branch: str,
    files: Mapping[str, Content],
    title: str,
    *,
    alone: bool = False,
    head: str | None = None,
) -> str:
    """One commit that leaves `branch` with these files, and returns its id; no commit when it has them already.

    Other files than those of a saved model are kept, unless the files are to be `alone`. `head` is the commit that
    `files` were made for, by default that which the branch is at.
    """
    api, repo_id = destination.api, destination.repo_id
    head = head or api.repo_info(repo_id, revision=branch).sha
    present = api.list_repo_files(repo_id, revision=head)
    others = [path for path in present if path not in files and path != ".gitattributes"]
    stale = [path for path in others if alone or is_model_file(path)]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(path, content) for path, content in files.items()),
        *(CommitOperationDelete(path) for path in stale),
    ]
    return api.create_commit(repo_id, operations, commit_message=title, revision=branch, parent_commit=head).oid


def is_model_file(name: str) -> bool:
    """Whether a path is that of a saved model's file; what lies in folders is somebody else's."""
    return "/" not in name and any(fnmatch(name, pattern) for pattern in MODEL_FILES)


def model_files(folder: Path) -> dict[str, Path]:
    """The files of a saved model in `folder`, by name. Raises `UserError` when there are no weights."""
    found = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and is_model_file(path.name)}
    if not any(name.endswith(".safetensors") for name in found):
        raise UserError(f"{folder}: no *.safetensors here, so there is no model to push; has training finished?")
    return found


def find_figure(report: Path) -> Path | None:
    """The picture of accuracy over training in a report's folder, if it has been made."""
    pictures = sorted((report / "figures").glob("*.png"), key=lambda path: (path.name != FIGURE, path.name))
    return pictures[0] if pictures else None


def refuse_token(files: Mapping[str, Content]) -> None:
    """Raises `UserError` when a text file that would be published holds a Hugging Face token."""
    token = get_token()
    for name, content in files.items():
        if name.endswith((".safetensors", ".png")):
            continue
        data = content if isinstance(content, bytes) else content.read_bytes()
        if (token and token.encode() in data) or re.search(rb"\bhf_[A-Za-z0-9]{30,}\b", data):
            raise UserError(f"{name} holds a Hugging Face token: remove it (and revoke the token) before pushing")
