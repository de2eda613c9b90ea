"""A finished run as a model on the Hub.

Weights (safetensors), tokenizer, generation config, the card and the run's own files go up in one commit, so `main`
is never half-updated; nothing in the run's folder is touched. Each `checkpoint-N` may become a branch `step-N`, which
`evaluation/sweep.py` can score. Optimizer states and other pickled files are never uploaded.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from tqdm import tqdm

from evaluation.artifacts.run_folder import METRICS, own_checkpoints, step_of
from nim_dataset.errors import UserError
from nim_dataset.hub.access import Destination, check_access, open_repo
from nim_dataset.hub.branches import remove_leftovers, staging_branch
from nim_dataset.hub.card import Card, merge, read_card, summary
from nim_dataset.hub.patience import attempt
from nim_dataset.hub.tokens import Content, refuse_token
from training.hub.model_card import RunFiles, make_card
from training.hub.relations import EVAL_RESULTS, HubDataset, eval_results_file, license_of

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


def check_credentials(repo_id: str | None, private: bool | None = False) -> None:
    """To be called before training starts: `UserError` in one line when `push_run` could not write to `repo_id`."""
    check_access(repo_id, "model", private)


def push_run(
    run_dir: Path,
    repo_id: str,
    *,
    private: bool | None = False,
    checkpoints: bool = False,
    report: Path | None = None,
    dataset_id: str | None = None,
    overwrite_card: bool = False,
) -> str:
    """Publishes a run's model (and its checkpoints) and returns the address. What is on the Hub already stays as it is.

    `report` is the folder of the run's report; by default `reports/<run>` beside the runs, if there is one. With
    `dataset_id`, a dataset on the Hub that holds the run's rows, the results go to `.eval_results/` too. What people
    wrote in the card stays, unless `overwrite_card`. Raises `UserError`, one line that says how to push again; the
    files in `run_dir` are only ever read.
    """
    run = RunFiles.read(run_dir)
    saved = {step_of(folder): model_files(folder) for folder in own_checkpoints(run_dir)} if checkpoints else {}
    figure = find_figure(report or run_dir.resolve().parent.parent / "reports" / run_dir.resolve().name)
    files: dict[str, Content] = {**model_files(run_dir), **run.published()}
    if figure:
        files[f"figures/{figure.name}"] = figure
    refuse_token(files)

    destination = check_access(repo_id, "model", private)
    cannot = f"cannot read {repo_id}"
    present = attempt(cannot, lambda: read_card(destination, "main"), repo_id)
    if dataset_id is not None:
        dataset = attempt(cannot, lambda: HubDataset.find(destination.api, dataset_id, run.recipes()), repo_id)
        source, limit = f"{destination.url}/blob/main/{METRICS}", run.config.get("eval_rows")
        notes = f"the first {limit:,} rows, or all" if limit else None
        files[EVAL_RESULTS] = eval_results_file(run.eval_results(dataset_id), dataset, source, notes)
    card = Card.parse(
        make_card(
            run,
            repo_id,
            license=license_of(destination.api, run.environment["base_model"], built_in=run.built_in),
            dataset=dataset_id,
            figure=f"figures/{figure.name}" if figure else None,
            branches=[f"step-{step}" for step in saved],
        )
    )
    refuse_token({"README.md": str(card).encode()})
    open_repo(destination)
    flags = (" --private" if private else "") + (" --checkpoints" if checkpoints else "")
    flags += f" --dataset-id {dataset_id}" if dataset_id else ""
    again = f"python -m training.push {run_dir} --repo-id {repo_id}{flags}"
    failure = f"the push failed, the run is safe in {run_dir} (again: {again})"
    title = f"Upload {run_dir.resolve().name}"
    merged = attempt(failure, lambda: commit_run(destination, files, card, title, overwrite_card), repo_id)
    if saved:
        push_checkpoints(destination, saved, failure)
    remove_leftovers(destination)
    print(f"README.md: {summary(present, merged)}")
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


def commit_run(
    destination: Destination, files: Mapping[str, Content], card: Card, title: str, overwrite_card: bool
) -> Card:
    """One commit on `main` with the files and what is ours in the card; returns the card as it is then."""
    head = destination.api.repo_info(destination.repo_id).sha
    assert head is not None
    present = read_card(destination, head)
    theirs = present.metadata.get("datasets") or []
    linked = [*(theirs if isinstance(theirs, list) else [theirs]), *card.metadata.get("datasets", [])]
    made = replace(card, metadata=card.metadata | {"datasets": list(dict.fromkeys(linked))})
    owned = ["model-index", *(["datasets"] if "datasets" in card.metadata else [])]
    merged = merge(present, made, owned, overwrite=overwrite_card)
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
