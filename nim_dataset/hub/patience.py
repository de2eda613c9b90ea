"""Patience with the Hub: calls that are repeated after faults that pass, and errors in one line.

No function takes a token: the client reads it from `HF_TOKEN` or `hf auth login`, and here it is only ever removed from
messages.
"""

import contextlib
import gc
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from huggingface_hub.utils import httpx
from tqdm import tqdm

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
        except ValueError as error:
            if not isinstance(error.__cause__, BadRequestError):
                raise
            raise UserError(f"{failure}: {one_line(error)}; mend it on the Hub") from None
        if pause is None:
            gc.collect()  # the failed upload's progress bar hangs in its frames; close it before the error is printed
            raise UserError(f"{failure}: {reason}")
        tqdm.write(f"{reason}; trying again in {pause:g} s", file=sys.stderr)
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
        return "the Hub's rate limit is reached, for some minutes"
    return f"the Hub answers {status} ({said})"


def one_line(text: object) -> str:
    """`text` without line breaks and without the token, should a server or a proxy have echoed it."""
    line = " ".join(str(text).split())
    token = get_token()
    return line.replace(token, "***") if token else line


@contextlib.contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Ends a command line with one line on standard error and exit status 130 on Ctrl-C, after all cleaning up."""
    try:
        yield
    except KeyboardInterrupt:
        print("stopped; what is on the Hub is whole, and pushing again goes on from there", file=sys.stderr)
        sys.exit(130)
