"""The models of a sweep: the `checkpoint-N` folders of a run, one model's folder, or a Hub model's `step*` branches."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from nim_dataset.errors import UserError, suggest

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "tokenizer.model")


class BrokenCheckpointError(Exception):
    """A checkpoint that cannot be loaded; the message is one line. The other checkpoints can still be scored."""


@dataclass(frozen=True)
class Checkpoint:
    """One model to score."""

    name: str
    """`checkpoint-N`, or the folder's or repository's name where no step is known."""
    step: int
    """Optimizer steps of training; 0 where nothing tells."""
    source: str
    """A local folder or a Hub id."""
    commit: str | None = None
    """The commit on the Hub; None for a local folder."""

    def fingerprint(self) -> str:
        """Tells whether these are the weights that were scored before: the commit, or a hash over samples of the files.

        Training changes weights everywhere, so 1 MiB from the start, the middle and the end of each file will do.
        """
        if self.commit:
            return self.commit
        digest, sample = hashlib.sha256(), 2**20
        for path in sorted(Path(self.source).glob("*.safetensors")):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with path.open("rb") as file:
                for start in (0, max(0, size // 2 - sample // 2), max(0, size - sample)):
                    file.seek(start)
                    digest.update(file.read(sample))
        return digest.hexdigest()


def find_checkpoints(where: str) -> list[Checkpoint]:
    """The checkpoints at `where` in order of step; raises `UserError` when there are none.

    `where` is a folder that holds `checkpoint-N` folders, a model folder itself, or a Hub id, of which every branch
    `stepN` or `step-N` is a checkpoint (or the main branch, where there is no such branch).
    """
    folder = Path(where)
    if not folder.is_dir():
        return _on_the_hub(where)
    found = [
        Checkpoint(path.name, int(match[1]), str(path))
        for path in folder.iterdir()
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir()
    ]
    if found:
        return sorted(found, key=lambda checkpoint: checkpoint.step)
    if (folder / "config.json").is_file():
        return [Checkpoint(folder.resolve().name, _step_of(folder), where)]
    raise UserError(f"--checkpoints-dir {where}: no checkpoints here: expected checkpoint-N folders, or a config.json")


def _step_of(folder: Path) -> int:
    if match := re.fullmatch(r"checkpoint-(\d+)", folder.resolve().name):
        return int(match[1])
    try:
        return int(json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _on_the_hub(repo_id: str) -> list[Checkpoint]:
    folder = Path(repo_id)
    siblings = [str(path) for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    no_folder = f"--checkpoints-dir {repo_id}: no such folder{suggest(repo_id, siblings)}"
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id) or repo_id.startswith("."):
        raise UserError(no_folder)
    try:
        branches = {branch.name: branch.target_commit for branch in HfApi().list_repo_refs(repo_id).branches}
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(f"{no_folder}, and no such model on the Hub") from None
    except (HTTPError, OSError, RuntimeError) as error:
        raise UserError(f"{no_folder}, and the Hub cannot be asked ({first_line(error)})") from None
    steps = sorted((int(match[1]), name) for name in branches if (match := re.fullmatch(r"step-?(\d+)", name)))
    if not steps:
        return [Checkpoint(repo_id.split("/")[1], 0, repo_id, branches["main"])]
    return [Checkpoint(f"checkpoint-{step}", step, repo_id, branches[name]) for step, name in steps]


def load_checkpoint(
    checkpoint: Checkpoint, device: torch.device | str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in fp32 on `device`, and its tokenizer (from the run's folder, where the checkpoint has none).

    Raises `BrokenCheckpointError` when a file is missing, cut short or does not fit, or a weight is not finite, and
    `UserError` when the tokenizer is missing or not the model's.
    """
    tokenizer_source, revision = _tokenizer_source(checkpoint), checkpoint.commit or "main"
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint.source,
            revision=revision,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, report = loaded
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_source, revision=revision)
    except Exception as error:  # whatever a damaged file makes some library raise, the sweep goes on
        raise BrokenCheckpointError(f"{checkpoint.name}: cannot be loaded ({first_line(error)})") from error
    # What a file lacks is filled with random numbers, and only a warning tells: scoring that would be a lie.
    if missing := sorted(report["missing_keys"]):
        raise BrokenCheckpointError(f"{checkpoint.name}: {len(missing)} weights are missing, such as {missing[0]}")
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise BrokenCheckpointError(f"{checkpoint.name}: some weights are not finite")
    vocabulary = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > vocabulary:
        tokens = f"{len(tokenizer)} tokens, but the model embeds {vocabulary}"
        raise UserError(f"{checkpoint.name}: its tokenizer does not match: {tokens}")
    return model.to(device), tokenizer


def _tokenizer_source(checkpoint: Checkpoint) -> str:
    folder = Path(checkpoint.source)
    if checkpoint.commit:
        return checkpoint.source
    for place in (folder, folder.resolve().parent):
        if any((place / name).is_file() for name in TOKENIZER_FILES):
            return str(place)
    raise UserError(f"{folder}: no tokenizer (tokenizer.json) in it, nor in {folder.resolve().parent}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
