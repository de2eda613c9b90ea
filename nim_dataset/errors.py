"""Kind errors: one clear line for a user's mistake, never a traceback from deep inside a library."""

import contextlib
import difflib
import errno
import os
import sys
from collections.abc import Iterable, Iterator

LONGEST = 1000
"""Characters of a message. A longer one, which echoes a long value, loses its middle."""


class UserError(ValueError):
    """Something the user can mend. The message is one line: the field, the value, what is allowed."""

    def __init__(self, message: str) -> None:
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def suggest(value: object, choices: Iterable[object]) -> str:
    """`", did you mean 'cheating'?"` for the choice nearest to `value`, or an empty string when none is near."""
    nearest = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    return f", did you mean '{nearest[0]}'?" if nearest else ""


def unknown(kind: str, value: object, choices: Iterable[object]) -> str:
    """`unknown split 'evil', did you mean 'eval'? Splits: train, eval`, or `unknown split 'x'; splits: train, eval`."""
    choices = list(choices)
    near = suggest(value, choices)
    label = f" {kind.capitalize()}s" if near else f"; {kind}s"
    return f"unknown {kind} '{value}'{near}{label}: {', '.join(map(str, choices))}"


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Ends a command line with `error: ...` on standard error and exit status 2 when a `UserError` reaches it, or an
    `OSError` about a file or folder (a full disk, no permission, nothing there) or about standard output; on Ctrl-C
    with status 130."""
    try:
        try:
            yield
        finally:
            _flush_output()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        told = UserError(f"{error.filename or 'cannot write'}: {error.strerror}")
        print(f"error: {told}", file=sys.stderr)
        try:
            _flush_output()
        except OSError:  # Python would try again on its way out
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)


def _flush_output() -> None:
    if sys.stdout is not None:  # as it is where the process was started without
        sys.stdout.flush()
