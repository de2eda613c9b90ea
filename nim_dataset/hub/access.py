"""What every push to the Hugging Face Hub shares: who may write where, and to which repository.

`check_access` finds missing or insufficient credentials before anything slow starts; `open_repo` creates the
repository and prints who will see it.
"""

from dataclasses import dataclass

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HFValidationError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from nim_dataset.errors import UserError
from nim_dataset.hub.patience import attempt, describe, one_line

OVERWRITE_CARD = "write the card anew, and lose what was edited in it on the Hub (its history keeps that)"
"""The help of `--overwrite-card`, which every push has."""


@dataclass(frozen=True)
class Destination:
    """A repository that the caller may write to, or create."""

    api: HfApi
    repo_id: str
    repo_type: str
    """`model`, `dataset` or `space`."""
    private: bool | None
    """As it is, or as it was asked for when it does not exist yet; None leaves a new one to the namespace's default."""
    exists: bool

    @property
    def url(self) -> str:
        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"{self.api.endpoint}/{prefix}{self.repo_id}"


def check_access(repo_id: str | None, repo_type: str, private: bool | None = False) -> Destination:
    """Finds out, without writing anything, whether `repo_id` can be pushed to.

    Raises:
        UserError: one line, when `repo_id` is no USER/NAME, there is no token, it is invalid, expired, read-only or for
            another namespace, the Hub cannot be reached, or `private` is asked for and the repository is public.
    """
    if not repo_id or repo_id.count("/") != 1:
        raise UserError(f"repo id {repo_id!r}: expected USER/NAME, the name of a repository on the Hub")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"repo id {repo_id!r}: {one_line(error)}") from None
    api = HfApi()
    if get_token() is None:
        raise UserError(describe(LocalTokenNotFoundError(), repo_id))
    account = attempt(f"cannot push to {repo_id}", api.whoami, repo_id)
    check_token(account, repo_id)

    def look() -> bool | None:
        try:
            found = api.repo_info(repo_id, repo_type=repo_type)
        except RepositoryNotFoundError:
            return None
        api.auth_check(repo_id, repo_type=repo_type, write=True)
        return bool(found.private)

    is_private = attempt(f"cannot push to {repo_id}", look, repo_id)
    if private and is_private is False:
        raise UserError(
            f"{repo_id} is public on the Hub already: make it private in its settings, or push without --private"
        )
    return Destination(
        api, repo_id, repo_type, (private or None) if is_private is None else is_private, is_private is not None
    )


def check_token(account: dict, repo_id: str) -> None:
    """Raises `UserError` when what `whoami` says about the token rules out writing to `repo_id`."""
    namespace = repo_id.split("/")[0]
    token = account.get("auth", {}).get("accessToken", {})
    orgs = {org["name"]: org.get("roleInOrg") for org in account.get("orgs", [])}
    if token.get("role") == "read":
        raise UserError(f"cannot push to {repo_id}: the token is read-only, a token with write access is needed")
    if namespace != account["name"] and namespace not in orgs:
        allowed = ", ".join([account["name"], *orgs])
        raise UserError(
            f"cannot push to {repo_id}: the token belongs to {account['name']}, who may write to: {allowed}"
        )
    if orgs.get(namespace) == "read":
        raise UserError(f"cannot push to {repo_id}: {account['name']} may only read in the organization {namespace}")
    if token.get("role") == "fineGrained":
        scopes = token.get("fineGrained", {}).get("scoped", [])
        granted = {scope["entity"]["name"] for scope in scopes if "repo.write" in scope.get("permissions", [])}
        if not granted & {namespace, repo_id}:
            raise UserError(f"cannot push to {repo_id}: the token has no write access to repositories of {namespace}")


def open_repo(destination: Destination, sdk: str | None = None) -> None:
    """Creates the repository unless it exists, and prints where the upload goes and who will see it."""
    api, repo_id, kind = destination.api, destination.repo_id, destination.repo_type

    def create() -> bool | None:
        if destination.exists:
            return destination.private
        api.create_repo(repo_id, repo_type=kind, private=destination.private, exist_ok=True, space_sdk=sdk)
        return api.repo_info(repo_id, repo_type=kind).private

    is_private = attempt(f"cannot create {repo_id}", create, repo_id)
    visible = "private: only you and your organization see it" if is_private else "public: everyone can see it"
    print(f"Uploading to {destination.url} ({visible})", flush=True)
