"""What a command needs beyond the data: the extras of the package, as `pyproject.toml` lists them."""

import sys
from importlib.util import find_spec

REPORT = ("matplotlib",)
TRAIN = (*REPORT, "accelerate", "psutil", "rich", "safetensors", "tokenizers", "torch", "transformers")
EXTRAS = {"report": REPORT, "train": TRAIN, "cluster": (*TRAIN, "submitit")}
"""Extra -> the libraries that it brings."""


def needs(extra: str) -> None:
    """Ends a command with one line and status 2 where a library of the extra is missing; imports none of them.

    To be called before the imports that would fail.
    """
    if missing := [name for name in EXTRAS[extra] if find_spec(name) is None]:
        install = f"pip install 'nim-testbed[{extra}]', or in a clone pip install -e '.[{extra}]'"
        print(f"error: not installed: {', '.join(missing)}; {install}", file=sys.stderr)
        sys.exit(2)
