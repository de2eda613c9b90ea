"""The base model: built in, from a folder, or from the Hub at a revision that is written down.

`latest-step` names the highest of a repository's branches `stepN`, as Pythia keeps its training checkpoints, or
`step-N`, as this project pushes them. It is
resolved once, on the main process, to a commit; every process loads that commit, and the run records it.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from evaluation.artifacts.models import BrokenCheckpointError, WrongTokenizerError, branches_by_step, load_model
from nim_dataset.errors import UserError, suggest
from training.fields import ModelConfig

BUILT_IN = Path(__file__).resolve().parents[2] / "configs" / "models"
LATEST_STEP = "latest-step"
WITHOUT_THE_HUB = "use --model tiny (built in), or --model with the folder of a saved model"


@dataclass
class BaseModel:
    """A model in fp32 on the CPU, its tokenizer, and where exactly they came from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None
    """The branch or tag, for a model from the Hub."""
    commit: str | None
    """The commit that the branch stood for when it was loaded."""

    def fingerprint(self) -> str:
        """A hash of all weights: two bases with the same fingerprint are the same `theta_0`."""
        digest = hashlib.blake2b(digest_size=16)
        for name, parameter in self.model.named_parameters():
            digest.update(f"{name}{tuple(parameter.shape)}".encode())
            digest.update(parameter.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def load_base(config: ModelConfig, seed: int) -> BaseModel:
    """Loads `config.model`; raises `UserError` when it cannot be had. `seed` decides a built-in model's weights."""
    name = config.model
    built_in = sorted(path.parent.name for path in BUILT_IN.glob("*/config.json"))
    if config.revision != ModelConfig.revision and (name in built_in or os.path.isdir(name)):
        raise UserError(f"revision: '{config.revision}' is for a model on the Hub, and '{name}' is here; leave it out")
    if name in built_in:
        return _built_in(name, seed)
    if os.path.isdir(name):
        model, tokenizer = _from_pretrained(name, None)
        return BaseModel(model, tokenizer, str(Path(name).resolve()), None, None)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(
            f"model: '{name}' is neither a folder, nor built in ({', '.join(built_in)}){suggest(name, built_in)},"
            " nor a Hub id such as 'EleutherAI/pythia-70m-deduped'"
        )
    revision, commit = _resolve(name, config.revision)
    with PartialState().main_process_first():  # one download, the others find it in the cache
        model, tokenizer = _from_pretrained(name, commit or revision)
    if commit is None and isinstance(cached := try_to_load_from_cache(name, "config.json", revision=revision), str):
        commit = Path(cached).parent.name  # .../snapshots/<commit>/config.json
    return BaseModel(model, tokenizer, name, revision, commit)


def _built_in(name: str, seed: int) -> BaseModel:
    tokenizer = AutoTokenizer.from_pretrained(BUILT_IN / name)
    config = AutoConfig.from_pretrained(
        BUILT_IN / name,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    set_seed(seed)
    return BaseModel(AutoModelForCausalLM.from_config(config), tokenizer, name, None, None)


def _from_pretrained(name: str, revision: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    where = f"'{name}'" + (f" at revision '{revision}' from {constants.ENDPOINT}" if revision else "")
    try:
        model, tokenizer = load_model(name, revision)
    except BrokenCheckpointError as error:
        other = "; another --revision may have them" if revision and "no weights in safetensors" in str(error) else ""
        raise UserError(f"model: could not load {where} ({error}{other}); {WITHOUT_THE_HUB}") from None
    except WrongTokenizerError as error:
        raise UserError(f"model: the tokenizer of {where} is not its model's: {error}") from None
    if not tokenizer("take 1 coin")["input_ids"]:
        raise UserError(f"model: {where} has no tokenizer; save the model's own beside it (tokenizer.json)")
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"model: the tokenizer of {where} has no end-of-text token; set its `eos_token` and save it again"
        )
    return model, tokenizer


def _resolve(name: str, revision: str) -> tuple[str, str | None]:
    """The revision to load and its commit, the same on every process."""
    if revision != LATEST_STEP:
        return revision, None
    found: list[tuple[str, str] | UserError | None] = [None]
    if PartialState().is_main_process:
        try:
            found = [_latest_step(name)]
        except UserError as error:
            found = [error]
    broadcast_object_list(found)
    if isinstance(found[0], UserError):
        raise found[0]
    assert found[0] is not None
    return found[0]


def _latest_step(name: str) -> tuple[str, str]:
    """The highest branch `stepN` or `step-N` of a repository and its commit."""
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    try:
        steps, _ = branches_by_step(name)
    except RepositoryNotFoundError:
        raise UserError(f"model: '{name}' does not exist on {endpoint}, or is private; {WITHOUT_THE_HUB}") from None
    except HFValidationError as error:
        raise UserError(f"model: '{name}' is no Hub id ({' '.join(str(error).split())[:120]})") from None
    except (HTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"model: could not reach {endpoint} for the branches of '{name}' ({reason}); {WITHOUT_THE_HUB}"
        ) from None
    if not steps:
        raise UserError(
            f"revision: '{name}' has no branches 'stepN' or 'step-N' for 'latest-step'; give one, such as --revision"
            " main"
        )
    _, latest = steps[-1]
    return latest.name, latest.target_commit
