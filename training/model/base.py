"""The base model: built in, from a folder, or from the Hub at a revision that is written down.

`latest-step` names the highest of a repository's branches `stepN`, as Pythia keeps its training checkpoints, or
`step-N`, as this project pushes them; with `HF_HUB_OFFLINE=1`, the highest one in the cache. A revision is resolved
once, on the main process, to a commit; every process loads that commit, and the run records it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from evaluation.artifacts.models import (
    BrokenCheckpointError,
    WrongTokenizerError,
    load_model,
    pickled_weights,
    weights_digest,
)
from evaluation.artifacts.on_the_hub import branches_by_step, commit_of
from nim_dataset.errors import UserError, suggest
from training.fields import ModelConfig
from training.model.as_it_came import base_files
from training.shipped import BUILT_IN

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
    files: list[Path] = field(default_factory=list)
    """Its config.json and its tokenizer's files."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing of where it came from, a line each."""

    def fingerprint(self) -> str:
        """A hash of all weights: two bases with the same fingerprint are the same `theta_0`."""
        return weights_digest(self.model)


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
        return BaseModel(
            model, tokenizer, str(Path(name).resolve()), None, None, base_files(name, None), _pickled(name, None)
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(
            f"model: '{name}' is neither a folder, nor built in ({', '.join(built_in)}){suggest(name, built_in)},"
            " nor a Hub id such as 'EleutherAI/pythia-70m-deduped'"
        )
    revision, commit = _resolve(name, config.revision)
    with PartialState().main_process_first():  # one download, the others find it in the cache
        model, tokenizer = _from_pretrained(name, commit, revision)
    notes = _pickled(name, commit)
    if config.revision == LATEST_STEP and constants.is_offline_mode():
        notes.append(f"'{revision}' is the highest step in the cache (HF_HUB_OFFLINE is set)")
    return BaseModel(model, tokenizer, name, revision, commit, base_files(name, commit), notes)


def _pickled(name: str, commit: str | None) -> list[str]:
    file = pickled_weights(name, commit)
    return [f"no safetensors there: the weights are from {file}, read by torch's restricted loader"] if file else []


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
    return BaseModel(
        AutoModelForCausalLM.from_config(config), tokenizer, name, None, None, base_files(str(BUILT_IN / name), None)
    )


def _from_pretrained(
    name: str, commit: str | None, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    where = f"'{name}'" + (f" at revision '{revision}' from {constants.ENDPOINT}" if revision else "")
    try:
        model, tokenizer = load_model(name, commit)
    except BrokenCheckpointError as error:
        other = "; another --revision may have them" if revision and "no weights there" in str(error) else ""
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


def _resolve(name: str, revision: str) -> tuple[str, str]:
    """The branch, tag or commit to load and the commit that it is at, the same on every process."""
    found: list[tuple[str, str] | UserError | None] = [None]
    if PartialState().is_main_process:
        try:
            found = [_on_the_hub(name, revision)]
        except UserError as error:
            found = [error]
    broadcast_object_list(found)
    if isinstance(found[0], UserError):
        raise found[0]
    assert found[0] is not None
    return found[0]


def _on_the_hub(name: str, revision: str) -> tuple[str, str]:
    """`revision`, which may be `latest-step`, as a branch, tag or commit, and its commit; raises `UserError`."""
    endpoint = constants.ENDPOINT
    try:
        if revision == LATEST_STEP:
            revision = _latest_step(name)
        return revision, commit_of(name, revision)
    except UserError as error:
        raise UserError(f"model: {error}; {WITHOUT_THE_HUB}") from None
    except RepositoryNotFoundError:
        reason = f"'{name}' does not exist on {endpoint}, or is private"
    except RevisionNotFoundError:
        reason = f"could not load '{name}' at revision '{revision}' from {endpoint} (there is no such branch or tag)"
    except LocalEntryNotFoundError:
        where = (
            "is not in the cache, and HF_HUB_OFFLINE is set"
            if constants.is_offline_mode()
            else (f"could not be had from {endpoint}, and is not in the cache")
        )
        reason = f"'{name}' at revision '{revision}' {where}"
    except EntryNotFoundError:
        reason = f"'{name}' at revision '{revision}' has no config.json, so it is no model"
    except HFValidationError as error:
        reason = f"'{name}' is no Hub id ({' '.join(str(error).split())[:120]})"
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.filename:
            why = f"cannot keep '{name}' in '{error.filename}' ({error.strerror})"
            raise UserError(f"model: {why}; HF_HUB_CACHE names another place") from None
        why = " ".join(str(error).split())[:120] or type(error).__name__
        reason = f"could not reach {endpoint} for '{name}' ({why}); what is in the cache starts with HF_HUB_OFFLINE=1"
    raise UserError(f"model: {reason}; {WITHOUT_THE_HUB}")


def _latest_step(name: str) -> str:
    """The highest branch `stepN` or `step-N` of a repository."""
    steps, _ = branches_by_step(name)
    if not steps:
        raise UserError(
            f"'{name}' has no branches 'stepN' or 'step-N' for 'latest-step'; give another --revision, such as main"
        )
    return steps[-1][1].name
