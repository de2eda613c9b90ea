"""What every push to the Hugging Face Hub shares: who may write where, patience with faults, errors in one line.

`check_access` finds missing or insufficient credentials before anything slow starts; `open_repo` creates the
repository and prints who will see it; `attempt` runs one call to the Hub. No function takes a token: the client reads
it from `HF_TOKEN` or `hf auth login`, and here it is only ever removed from messages.
"""

import contextlib
import gc
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx, validate_repo_id

from nim_dataset.errors import UserError

T = TypeVar("T")

# huggingface_hub retries these requests by itself (429, 5xx, network errors; five times over 20 s) and not the others:
# whoami, creating a repository or a branch, and the commit, whose answer may be lost after it was made. We repeat the
# others, because whoever calls `attempt` passes a call that may be repeated: it looks at the Hub's state anew.
CLIENT_RETRIES = re.compile(r"/(preupload|tree|info/lfs)/")
# 409 and 412: someone else's commit came in between, and a new attempt builds on it.
TRANSIENT = {408, 409, 412, 429, 500, 502, 503, 504}
WAITS = (1.0, 2.0, 4.0)  # seconds
PATIENCE = 20.0  # seconds
LONGEST_WAIT = 300.0  # seconds, the Hub's own rate-limit window


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


@contextlib.contextmanager
def staging_branch(destination: Destination, failure: str) -> Iterator[str]:
    """A branch to prepare things on, starting at `main`; it is removed in the end, whatever happens."""
    api, repo_id, kind = destination.api, destination.repo_id, destination.repo_type
    name = f"push-{uuid.uuid4().hex[:8]}"
    attempt(failure, lambda: api.create_branch(repo_id, branch=name, repo_type=kind, exist_ok=True), repo_id)

    def remove() -> None:
        with contextlib.suppress(RevisionNotFoundError):
            api.delete_branch(repo_id, branch=name, repo_type=kind)

    try:
        yield name
    finally:
        try:
            attempt(f"note: the branch '{name}' of {repo_id} could not be removed", remove, repo_id)
        except UserError as error:  # worth a line, not the loss of the error that may be under way
            print(error)


def attempt(failure: str, call: Callable[[], T], repo_id: str) -> T:
    """What `call` returns; it is repeated after faults that pass, so it must be safe to run twice.

    Raises `UserError` ("{failure}: why") when the Hub refuses, or when the fault does not pass.
    """
    for wait in (*WAITS, None):
        started = time.monotonic()
        try:
            return call()
        except (httpx.HTTPError, OSError, RuntimeError) as error:
            cause = root_cause(error)
            # A RuntimeError comes from an upload thread, where the client has retried already. So has hf_xet (which
            # raises Python's own ConnectionError) when it took long: its retries go on for minutes.
            retried = isinstance(error, RuntimeError)
            retried |= type(cause) is ConnectionError and time.monotonic() - started > PATIENCE
            pause = None if retried else pause_before_retry(cause, wait)
            reason = describe(cause, repo_id)
            del cause
        if pause is None:
            gc.collect()  # the failed upload's progress bar hangs in its frames; close it before the error is printed
            raise UserError(f"{failure}: {reason}")
        logging.getLogger(__name__).info("%s: %s; trying again in %g s", failure, reason, pause)
        time.sleep(pause)
    raise AssertionError("the last wait is None")


def root_cause(error: BaseException) -> BaseException:
    """The error of the network or the Hub in a chain of exceptions: uploads in threads wrap it in a RuntimeError."""
    known = (HfHubHTTPError, httpx.TransportError, LocalTokenNotFoundError, OfflineModeIsEnabled)
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, known):
            return seen
        seen = seen.__cause__ or seen.__context__
    return error


def pause_before_retry(error: BaseException, wait: float | None) -> float | None:
    """Seconds to wait before the next try; None when there should be none."""
    if wait is None or isinstance(error, OfflineModeIsEnabled):
        return None
    if isinstance(error, ConnectionError | TimeoutError):  # from hf_xet, which raises Python's own
        return wait
    if not isinstance(error, httpx.HTTPError) or CLIENT_RETRIES.search(httpx.URL(request_url(error)).path):
        return None
    if not isinstance(error, HfHubHTTPError):
        return wait
    if error.response.status_code not in TRANSIENT:
        return None
    asked = error.response.headers.get("Retry-After", "")
    pause = float(asked) if asked.isdigit() else wait
    return pause if pause <= LONGEST_WAIT else None


def request_url(error: BaseException) -> str:
    try:
        return str(error.request.url)  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):  # a transport error that no request was attached to
        return ""


def describe(error: BaseException, repo_id: str) -> str:
    """An error of the Hub or the network in one line, with what to do about it."""
    if isinstance(error, LocalTokenNotFoundError):
        return f"no Hugging Face token found to push to {repo_id}: run `hf auth login`, or set HF_TOKEN"
    if isinstance(error, OfflineModeIsEnabled):
        return "offline mode is on: unset HF_HUB_OFFLINE"
    if isinstance(error, httpx.TransportError):
        return f"the connection to {HfApi().endpoint} failed ({one_line(error) or type(error).__name__})"
    if not isinstance(error, HfHubHTTPError):
        return one_line(error) or type(error).__name__
    status = error.response.status_code
    said = one_line(error.server_message or error.response.reason_phrase)
    if status == 401:
        return "the Hub rejects the token (invalid or expired): run `hf auth login` again, or renew HF_TOKEN"
    if status == 402:
        return f"the Hub asks for a paid plan ({said}); a metric's Space can be pushed with --sdk static instead"
    if status == 403:
        return f"the token may not write to {repo_id} ({said})"
    if status == 429:
        return "the Hub's rate limit is reached: wait some minutes and push again"
    return f"the Hub answers {status} ({said})"


def one_line(text: object) -> str:
    """`text` without line breaks and without the token, should a server or a proxy have echoed it."""
    line = " ".join(str(text).split())
    token = get_token()
    return line.replace(token, "***") if token else line
