"""The branch on which a push prepares commits, and the branches that pushes left behind when they were killed."""

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from huggingface_hub.errors import RevisionNotFoundError

from nim_dataset.errors import UserError
from nim_dataset.hub.access import Destination
from nim_dataset.hub.patience import attempt

STAGING = "nim-testbed-staging"
"""One name, so that a push takes up and removes what a killed one left."""
LEFTOVER = re.compile(rf"{STAGING}|push-[0-9a-f]{{8}}")
"""Also the names that earlier versions gave, each push its own."""
LEFTOVER_TITLE = re.compile(r"Upload (dataset|step-\d+)\b.*")
UNDER_WAY = timedelta(days=1)
"""A branch with a younger commit may belong to a push that is still going on."""


@contextlib.contextmanager
def staging_branch(destination: Destination, failure: str) -> Iterator[str]:
    """A branch to prepare commits on; it is removed in the end, whatever happens. It may hold anything at first."""
    api, repo_id, kind = destination.api, destination.repo_id, destination.repo_type
    attempt(failure, lambda: api.create_branch(repo_id, branch=STAGING, repo_type=kind, exist_ok=True), repo_id)
    try:
        yield STAGING
    finally:
        try:
            remove(destination, STAGING)
        except UserError as error:  # worth a line, not the loss of the error that may be under way
            print(error)


def remove(destination: Destination, branch: str) -> None:
    """Removes a branch if it is there. Raises `UserError`."""
    api, repo_id, kind = destination.api, destination.repo_id, destination.repo_type

    def delete() -> None:
        with contextlib.suppress(RevisionNotFoundError):
            api.delete_branch(repo_id, branch=branch, repo_type=kind)

    attempt(f"note: the branch '{branch}' of {repo_id} could not be removed", delete, repo_id)


def remove_leftovers(destination: Destination) -> None:
    """Removes the branches that killed pushes left behind, and prints which; one that may be in use is only mentioned.

    Such a branch has a name that a push gives, and commits that are not on `main`, all with titles that a push gives.
    """
    api, repo_id, kind = destination.api, destination.repo_id, destination.repo_type
    if not destination.exists:
        return

    def look() -> dict[str, datetime]:
        branches = [branch.name for branch in api.list_repo_refs(repo_id, repo_type=kind).branches]
        found, on_main = {}, None
        for branch in filter(LEFTOVER.fullmatch, branches):
            on_main = on_main or {commit.commit_id for commit in api.list_repo_commits(repo_id, repo_type=kind)}
            commits = api.list_repo_commits(repo_id, repo_type=kind, revision=branch)
            own = [commit for commit in commits if commit.commit_id not in on_main]
            if own and all(LEFTOVER_TITLE.fullmatch(commit.title) for commit in own):
                found[branch] = own[0].created_at
        return found

    for branch, date in attempt(f"cannot read the branches of {repo_id}", look, repo_id).items():
        if datetime.now(UTC) - date > UNDER_WAY:
            remove(destination, branch)
            print(f"removed the branch '{branch}', left behind by a push of {date:%Y-%m-%d}")
        else:
            until = f"{date + UNDER_WAY:%Y-%m-%d %H:%M} UTC"
            print(
                f"note: the branch '{branch}' is of a push under way, or left behind: a push after {until} removes it"
            )
