"""Finding and loading models: a run's `checkpoint-N` folders, one model's folder, or a Hub model's branches by step.

`load_weights` is the one place where weights are loaded and checked, for a base model, a run that goes on, and a sweep;
`load_model` adds the tokenizer.
"""

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import constants
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from evaluation.artifacts.on_the_hub import WEIGHTS, branches_by_step, cached_snapshot, commit_of, weights_file
from evaluation.artifacts.run_folder import is_checkpoint, list_checkpoints, step_of
from nim_dataset.errors import UserError, suggest

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "tokenizer.model")
TOKENIZER_GLOBS = ("tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json")
WEIGHTS_GLOBS = ("*.safetensors", "pytorch_model*.bin")


class BrokenCheckpointError(Exception):
    """A model that cannot be loaded; the message is one line. The other checkpoints of a run can still be scored."""


class WrongTokenizerError(Exception):
    """A tokenizer that is not the model's; the message says how many tokens each has."""


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
    branch: str | None = None
    """The branch that was at this commit."""

    def fingerprint(self) -> str:
        """Tells whether these are the weights that were scored before: the commit, or a hash over samples of the files.

        Training changes weights everywhere, so 1 MiB from the start, the middle and the end of each file will do.
        """
        if self.commit:
            return self.commit
        digest, sample = hashlib.sha256(), 2**20
        for path in sorted(path for kind in WEIGHTS_GLOBS for path in Path(self.source).glob(kind)):
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
    if not os.path.isdir(where):
        return _on_the_hub(where)
    if found := list_checkpoints(folder):
        return [Checkpoint(path.name, step_of(path), str(path)) for path in found]
    if (folder / "config.json").is_file():
        return [Checkpoint(folder.resolve().name, _step_of_model(folder), where)]
    raise UserError(f"--checkpoints-dir {where}: no checkpoints here: expected checkpoint-N folders, or a config.json")


def _step_of_model(folder: Path) -> int:
    if is_checkpoint(folder.resolve()):
        return step_of(folder.resolve())
    try:
        return int(json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["global_step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _on_the_hub(repo_id: str) -> list[Checkpoint]:
    parent = os.path.dirname(repo_id) or "."
    siblings = [entry.path for entry in os.scandir(parent) if entry.is_dir()] if os.path.isdir(parent) else []
    no_folder = f"--checkpoints-dir {repo_id}: no such folder{suggest(repo_id, siblings)}"
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id) or repo_id.startswith("."):
        raise UserError(no_folder)
    try:
        steps, main = branches_by_step(repo_id)
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(f"{no_folder}, and no such model on the Hub") from None
    except (HTTPError, OSError, RuntimeError) as error:
        raise UserError(f"{no_folder}, and the Hub cannot be asked ({first_line(error)})") from None
    if not steps:
        return [Checkpoint(repo_id.split("/")[1], 0, repo_id, main, "main")]
    return [Checkpoint(f"checkpoint-{step}", step, repo_id, branch.commit, branch.name) for step, branch in steps]


def load_weights(name: str, revision: str | None = None, architecture: Any = AutoModelForCausalLM) -> PreTrainedModel:
    """A causal LM in fp32 on the CPU, from a folder or from the Hub at `revision`; `architecture` is the class to load.

    Weights are read from safetensors, or without these from `pytorch_model.bin` by torch's restricted loader, which
    reads tensors and runs nothing of a file. Raises `BrokenCheckpointError` when a file is missing, cut short, more
    than tensors, or does not fit, and when a weight is missing or not finite.
    """
    # Where a branch has no safetensors, transformers would ask a bot for a pull request with them.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "true"
    source, revision = _source(name, revision)
    try:
        model: PreTrainedModel
        model, report = architecture.from_pretrained(
            source, revision=revision, dtype=torch.float32, weights_only=True, output_loading_info=True
        )
    except Exception as error:  # whatever a damaged file makes some library raise, it is one line
        raise BrokenCheckpointError(_reason(error)) from error
    # What a file lacks is filled with random numbers, and only a warning tells: to go on with that would be a lie.
    if missing := sorted(report["missing_keys"]):
        raise BrokenCheckpointError(f"{len(missing)} weights are missing, such as {missing[0]}")
    if not all(torch.isfinite(weight).all() for weight in model.parameters()):
        raise BrokenCheckpointError("some weights are not finite")
    return model


def load_model(
    name: str, revision: str | None = None, tokenizer: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal LM in fp32 on the CPU, and its tokenizer, from a folder or from the Hub at `revision`.

    `tokenizer` is the folder of the tokenizer, where it is another one than the model's. Raises what `load_weights`
    does, `BrokenCheckpointError` also for a tokenizer that cannot be loaded, and `WrongTokenizerError` when the
    tokenizer has more tokens than the model embeds.
    """
    model = load_weights(name, revision)
    source, revision = (tokenizer, "main") if tokenizer else _source(name, revision)
    tokens = load_tokenizer(source, revision)
    vocabulary: Any = model.get_input_embeddings().num_embeddings
    if len(tokens) > vocabulary:
        raise WrongTokenizerError(f"{len(tokens)} tokens, but the model embeds {vocabulary}")
    return model, tokens


def load_tokenizer(name: str, revision: str = "main") -> PreTrainedTokenizerBase:
    """A tokenizer from a folder or from the Hub; raises `BrokenCheckpointError` where it cannot be loaded."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, revision=revision)
    except Exception as error:  # as above
        raise BrokenCheckpointError(_reason(error)) from error
    return tokenizer


def _source(name: str, revision: str | None) -> tuple[str, str]:
    """What to ask the libraries for. Offline that is the cache's folder: of a snapshot, they would ask the Hub for
    each file that may or may not be there."""
    if os.path.isdir(name) or not constants.is_offline_mode():
        return name, revision or "main"
    folder = cached_snapshot(name, revision or "main")
    if weights_file(folder) is None:
        raise BrokenCheckpointError("it is not in the cache, and HF_HUB_OFFLINE is set")
    return str(folder), "main"


def pickled_weights(name: str, revision: str | None) -> str | None:
    """`pytorch_model.bin` (of shards, their index) where the weights of a loaded model came from there; else None."""
    folder = name if os.path.isdir(name) else cached_snapshot(name, revision or "main")
    file = weights_file(folder)
    return file if file and file.startswith("pytorch_model") else None


def weights_digest(model: PreTrainedModel) -> str:
    """A hash of all weights: two models with the same one are the same."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if type(error).__name__ == "UnpicklingError":  # of the restricted loader; the module itself is used nowhere
        found = re.search(r"(?:GLOBAL|class) ([\w.]+)", text)
        return (
            f"pytorch_model.bin holds more than tensors{f' ({found[1]})' if found else ''}, and nothing of it was run"
        )
    if "file named model.safetensors" in text:
        return f"no weights there: neither {WEIGHTS[0]} nor {WEIGHTS[2]}, whole or in shards"
    return text[:200] or type(error).__name__


def load_checkpoint(
    checkpoint: Checkpoint, device: torch.device | str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in fp32 on `device`, and its tokenizer (from the run's folder, where the checkpoint has none).

    Raises `BrokenCheckpointError` as `load_model` does, and `UserError` when the tokenizer is missing or not the
    model's.
    """
    tokenizer_source = _tokenizer_source(checkpoint)
    if checkpoint.branch:
        with suppress(HTTPError, OSError):  # so that the cache knows the branch, for a sweep without the Hub
            commit_of(checkpoint.source, checkpoint.branch)
    try:
        model, tokenizer = load_model(checkpoint.source, checkpoint.commit, tokenizer_source)
    except BrokenCheckpointError as error:
        raise BrokenCheckpointError(f"{checkpoint.name}: cannot be loaded ({error})") from error
    except WrongTokenizerError as error:
        raise UserError(f"{checkpoint.name}: its tokenizer does not match: {error}") from error
    return cast(Any, model).to(device), tokenizer


def tokenizer_digest(checkpoint: Checkpoint) -> str:
    """A hash of the tokenizer's files, and the configuration's, which may name its class: the same one, the same
    tokenizer. For a checkpoint that was loaded."""
    source = _tokenizer_source(checkpoint) or cached_snapshot(checkpoint.source, checkpoint.commit or "main")
    folder = Path(cast(str, source))
    digest = hashlib.sha256()
    for path in sorted(path for kind in (*TOKENIZER_GLOBS, "config.json") for path in folder.glob(kind)):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _tokenizer_source(checkpoint: Checkpoint) -> str | None:
    """The folder with the tokenizer of a local checkpoint; None on the Hub."""
    if checkpoint.commit:
        return None
    folder = Path(checkpoint.source)
    for place in (folder, folder.resolve().parent):
        if any((place / name).is_file() for name in TOKENIZER_FILES):
            return str(place)
    raise UserError(f"{folder}: no tokenizer (tokenizer.json) in it, nor in {folder.resolve().parent}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
