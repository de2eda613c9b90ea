"""No token is ever published."""

import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import get_token

from nim_dataset.errors import UserError

Content = Path | bytes
"""What a file in a repository is made from: a file on disk, or bytes."""


def refuse_token(files: Mapping[str, Content]) -> None:
    """Raises `UserError` when a text file that would be published holds a Hugging Face token."""
    token = get_token()
    for name, content in files.items():
        if name.endswith((".safetensors", ".png")):
            continue
        data = content if isinstance(content, bytes) else content.read_bytes()
        if (token and token.encode() in data) or re.search(rb"\bhf_[A-Za-z0-9]{30,}\b", data):
            raise UserError(f"{name} holds a Hugging Face token: remove it (and revoke the token) before pushing")
