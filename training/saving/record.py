"""The record of a run: how it came about, and whether a checkpoint belongs to the run that is about to go on."""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import PreTrainedConfig

from evaluation.artifacts.run_folder import CONFIG, ENVIRONMENT, MARK, read_environment, read_record
from evaluation.process.settings import ProcessSettings
from nim_dataset.errors import UserError
from training.config import FIXED, Config
from training.data.encoding import EncodedRows
from training.data.phase import sets_of
from training.model.base import LATEST_STEP, BaseModel, load_base

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "huggingface_hub", "nim-testbed")
OPTIONAL = ("train_weights", "train_stopping_strategy", "num_train_epochs", "objectives", "phases")
"""What a record holds only where there is something to say."""


def record(config: Config, base: BaseModel, rows: EncodedRows, processes: int) -> dict[str, str]:
    """What tells how the run came about, by file: `config.yaml`, which `--config` reads back, and `environment.json`,
    which comes first.

    `rows_per_step` are those between two updates of the weights, over all processes. To be made while `base` still is
    the base model.
    """
    environment: dict[str, Any] = {
        **MARK,
        "command": sys.argv,
        "base_model": {
            "name": base.name,
            "revision": base.revision,
            "commit": base.commit,
            "fingerprint": base.fingerprint(),
        },
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "processes": processes,
        "train_rows": rows.fingerprint(),
        "rows_per_step": config.train.train_batch_size * config.train.gradient_accumulation_steps * processes,
        **ProcessSettings.current().record(),
        "files": [],
    }
    # In the order to write them: the mark in environment.json is what tells that the folder's files are ours.
    return {ENVIRONMENT: json.dumps(environment, indent=2) + "\n", CONFIG: config.to_yaml()}


def recorded_environment(config: Config) -> dict[str, Any] | None:
    """How the run came about that is to go on; None where none does, or none can be read."""
    resume = config.train.resume_from_checkpoint
    if not resume:
        return None
    run_dir = Path(str(config.train.output_dir)) if resume == "auto" else Path(resume).parent
    try:
        return read_environment(run_dir)
    except UserError:
        return None  # `check_same_run` says what is wrong with it


def load_recorded_base(config: Config) -> BaseModel:
    """The base model; of a run that goes on, at the commit that it started from, whatever the branch has become.

    That is taken where the options name the branch that was resolved then, the commit, or `latest-step`.
    """
    recorded: Any = (recorded_environment(config) or {}).get("base_model")
    if isinstance(recorded, dict) and recorded.get("name") == config.model.model and recorded.get("commit"):
        revision, commit = recorded.get("revision"), recorded["commit"]
        if config.model.revision in (LATEST_STEP, revision, commit):
            base = load_base(replace(config.model, revision=commit), config.train.seed)
            return replace(base, revision=revision, commit=commit)
    return load_base(config.model, config.train.seed)


def check_same_run(files: Mapping[str, str], model: PreTrainedConfig, checkpoint: Path) -> str | None:
    """Raises `UserError` unless `checkpoint` is of the `model`'s shape, and its run is the one of this record, `files`.

    What the run had is read in the folder that the checkpoint lies in. A checkpoint alone is compared by shape; gives a
    line that says so.
    """
    remedy = "give the run's own, or start another run, in another --output_dir"
    run_dir = checkpoint.parent
    settings, environment = yaml.safe_load(files[CONFIG]), json.loads(files[ENVIRONMENT])
    recorded = _read_compared(run_dir) if (run_dir / ENVIRONMENT).exists() else None
    for key in (*FIXED, *OPTIONAL):
        if recorded is not None and recorded[key] != (value := _compared(settings, key)):
            raise UserError(f"{key}: the run in '{run_dir}' has {recorded[key]}, not {value}; {remedy}")
    ours, theirs = model.to_dict(), json.loads((checkpoint / "config.json").read_text())
    for key in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if ours.get(key) != theirs.get(key):
            raise UserError(
                f"resume_from_checkpoint: {checkpoint} has {key}={theirs.get(key)}, the model '{settings['model']}'"
                f" has {ours.get(key)}; {remedy}"
            )
    if recorded is None:
        return (
            f"no {ENVIRONMENT} lies beside {checkpoint}, so only the model's shape was compared; base model, rows and"
            " settings are taken to be those of its run"
        )
    base = recorded["base_model"]
    if base["fingerprint"] != environment["base_model"]["fingerprint"]:
        raise UserError(
            f"model: the run in '{run_dir}' started from {base['name']} ({base['commit'] or 'local'}), whose weights"
            f" differ from those of '{settings['model']}' now; {remedy}"
        )
    if recorded["train_rows"] != environment["train_rows"]:
        raise UserError(
            f"train_data: the run in '{run_dir}' has other rows, those of {recorded['sets']} then, than"
            f" {sets_of(settings)} has now; {remedy}"
        )
    if recorded["rows_per_step"] != environment["rows_per_step"]:
        raise UserError(
            f"per_device_train_batch_size: the run in '{run_dir}' takes {recorded['rows_per_step']} rows a step (batch"
            f" size x gradient_accumulation_steps x processes), not {environment['rows_per_step']}; {remedy}"
        )
    return None


def _compared(settings: Mapping[str, Any], key: str) -> Any:
    """An option as it is compared: of phases, which of the run's sets each has, however these are spelled."""
    if key != "phases" or not settings.get(key):
        return settings.get(key)
    sets = sets_of(settings)
    return [{**phase, "data": [sets.index(spec) for spec in phase["data"]]} for phase in settings[key]]


def _read_compared(run_dir: Path) -> dict[str, Any]:
    """What `check_same_run` compares of a run's record; raises `UserError` when it is damaged."""
    try:
        settings, environment = read_record(run_dir)
        compared = {key: environment[key] for key in ("base_model", "train_rows", "rows_per_step")}
        return (
            compared
            | {key: settings[key] for key in FIXED}
            | {key: _compared(settings, key) for key in OPTIONAL}
            | {"sets": sets_of(settings)}
        )
    except (UserError, KeyError):
        raise UserError(
            f"resume_from_checkpoint: config.yaml or environment.json in '{run_dir}' is damaged, so nobody knows"
            " what run it is; start another one, in another --output_dir"
        ) from None
