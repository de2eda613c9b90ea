"""What a run is: three dataclasses, filled from a YAML file (`--config`) and overridden by flags.

The defaults are the big experiments' (Pythia-410m, 130 epochs, batch 64, learning rate 3e-5, cosine with 10% warm-up,
no weight decay, anchor weight 1e-4), so an experiment's YAML says only what it changes. `TrainConfig` is
`transformers.TrainingArguments` with a few fields more, so each of that class's options works as a key and as a flag.
"""

# ruff: noqa: RUF009  (`option` makes dataclass fields)

import dataclasses
import enum
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import HfArgumentParser, SchedulerType, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from nim_dataset.errors import UserError, suggest, unknown


def option(default: Any, help: str) -> Any:
    """A dataclass field with a default and the text that `--help` shows."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass
class ModelConfig:
    """The base model: where training starts, and what the anchor holds on to."""

    model: str = option(
        "EleutherAI/pythia-410m-deduped",
        "A model id on the Hub, a folder with a saved model, or the name of a built-in model in configs/models"
        " ('tiny'), which starts from random weights with a tokenizer trained on the training data.",
    )
    revision: str = option(
        "latest-step",
        "For a model on the Hub: a branch, tag or commit, or 'latest-step' for its highest branch 'stepN'.",
    )


@dataclass
class DataConfig:
    """The rows to train on and to measure on."""

    train_data: list[str] = option(
        [],
        "What to train on: recipes ('cheating', 'pairs20000,cheat_prob=0.9'; a ':split' may follow) or JSONL files with"
        " 'prompt' and 'answer'.",
    )
    train_weights: list[float] = option(
        [],
        "For several training sets: the share of rows that each gives, such as 0.7 0.3. The mixture ends when the first"
        " set is used up, so no row comes twice in an epoch. Without weights the sets are joined whole.",
    )
    eval_data: list[str] = option(
        [],
        "What to measure exact match on while training. By default: those splits of the first recipe trained on that"
        " are not trained on (eval and the regimes); for JSONL files, nothing.",
    )
    eval_rows: int = option(500, "Rows of each such set (its first ones); 0 measures nothing.")
    max_length: int = option(128, "The most tokens that prompt and answer may take together; longer rows are an error.")


@dataclass
class TrainConfig(TrainingArguments):
    """`transformers.TrainingArguments` with the anchor, and with this project's defaults.

    `--seed` decides the order of the rows and a built-in model's first weights. It does not change the data: rows and
    name pairs belong to the recipe (`quickstart,seed=1` has others), so that every seed is measured on the same sets.
    """

    anchor_weight: float = option(
        1e-4,
        "L2-SP: this times the squared distance of the weights from the base model is added to the objective."
        " 0 trains freely, and keeps no copy of the weights.",
    )
    save_at: list[int] = option([], "Steps to save a checkpoint after, besides every save_steps and the last.")
    overwrite_output_dir: bool = option(False, "Delete the checkpoints of an earlier run in output_dir first.")
    push_checkpoints: bool = option(False, "With push_to_hub: also push each checkpoint, as a branch step-N.")

    threads: int = option(
        0,
        "CPU threads of each process; 0 shares this machine's cores among its processes (accelerate launch by itself"
        " would allow one).",
    )

    output_dir: str | None = option(None, "The run's folder; by default runs/<name of the config file>.")
    resume_from_checkpoint: str | None = option(
        None,
        "'auto' continues from the last complete checkpoint in output_dir, or starts when there is none; a folder"
        " continues from that checkpoint; 'false' does neither.",
    )
    per_device_train_batch_size: int = option(64, "Rows that a process puts through the model at once.")
    per_device_eval_batch_size: int = option(128, "Rows that a process decodes at once for exact match.")
    num_train_epochs: float = option(130.0, "Passes over the training rows; max_steps overrides it.")
    learning_rate: float = option(3e-5, "The highest learning rate, after the warm-up.")
    lr_scheduler_type: SchedulerType | str = option("cosine", "How the learning rate goes down.")
    warmup_steps: float = option(0.1, "Steps of linear warm-up; below 1, a share of all steps.")
    logging_steps: float = option(50, "Steps between two lines of metrics.jsonl.")
    save_steps: float = option(5000, "Steps between checkpoints; exact match is measured at each of them.")
    seed: int = option(0, "Of the order of the rows, and of a built-in model's first weights; not of the data.")
    report_to: str | None = option("none", "Where else metrics go: tensorboard, trackio, wandb, ...")
    logging_nan_inf_filter: bool = option(False, "Unused: a non-finite loss stops the run.")
    remove_unused_columns: bool = option(False, "Unused: rows are encoded without other columns.")

    def __post_init__(self) -> None:
        if self.load_best_model_at_end:
            raise UserError("load_best_model_at_end: not supported; every checkpoint is kept, so choose after a sweep")
        self.output_dir = self.output_dir or "runs/run"
        if str(self.resume_from_checkpoint).lower() in ("false", "none", ""):
            self.resume_from_checkpoint = None
        self.use_cpu |= not torch.accelerator.is_available()
        super().__post_init__()


# What may not change between a run and its continuation: with another value it would be another run.
FIXED = (
    "model", "revision", "train_data", "train_weights", "max_length", "anchor_weight", "learning_rate",
    "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "num_train_epochs", "weight_decay", "max_grad_norm",
    "optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "fp16", "neftune_noise_alpha", "seed",
    "data_seed", "train_sampling_strategy", "dataloader_drop_last",
)  # fmt: skip
UNSUPPORTED = {
    "label_smoothing_factor": "the loss is that of the right answer alone",
    "save_only_model": "a run could not be continued exactly",
    "ignore_data_skip": "a run could not be continued exactly",
    "use_liger_kernel": "it computes the loss itself",
}
CLASSES: list[Any] = [ModelConfig, DataConfig, TrainConfig]


@dataclass
class Config:
    """A run, fully specified."""

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    given: list[str]
    """The options that the file or a flag set."""
    print_only: bool = False

    def to_yaml(self) -> str:
        """Everything that shapes the run, in a form that `--config` reads back."""
        shown = {f.name for cls in (ModelConfig, DataConfig) for f in dataclasses.fields(cls)}
        shown |= set(TrainConfig.__annotations__) | set(self.given)
        shown |= set(FIXED)
        shown -= {"logging_nan_inf_filter", "remove_unused_columns", "overwrite_output_dir"}  # no part of the run
        values: dict[str, Any] = {}
        for part in (self.model, self.data, self.train):
            for f in dataclasses.fields(part):
                if f.name in shown:
                    value = getattr(part, f.name)
                    value = value.value if isinstance(value, enum.Enum) else value
                    values[f.name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        return yaml.safe_dump(values, sort_keys=False)


class _Parser(HfArgumentParser):
    """Reports a mistake as a `UserError` instead of printing two screens of usage."""

    def error(self, message: str) -> Any:
        if choice := re.match(r"argument --(\w+).*: invalid choice: '(.*)' \(choose from (.*)\)", message):
            name, value, choices = choice.groups()
            raise UserError(f"{name}: " + unknown("choice", value, re.findall(r"[^ ,']+", choices)))
        raise UserError(message.removeprefix("argument "))


def parse_config(argv: Sequence[str]) -> Config:
    """The run that a command line describes; raises `UserError` for anything that cannot be meant."""
    parser = _Parser(CLASSES, prog="train.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="A YAML file of the options below; flags override it.")
    parser.add_argument("--print_config", "--print-config", action="store_true", help="Show what would run, and exit.")
    known = {f.name: f for cls in CLASSES for f in dataclasses.fields(cls) if f.init}
    path = _config_path(argv)
    from_file = _read_yaml(path, known) if path else {}
    flags = [*_as_flags(from_file), *argv]
    try:
        *parts, rest, strange = parser.parse_args_into_dataclasses(
            flags, return_remaining_strings=True, look_for_args_file=False
        )
    except UserError:
        raise
    except json.JSONDecodeError as error:  # of one of TrainingArguments' options with keyword arguments
        name = next((flag for flag, value in pairwise(argv) if value == error.doc), "an option").lstrip("-")
        raise UserError(f"{name}: '{error.doc}' is not valid JSON ({error.msg})") from None
    except (ValueError, TypeError, OverflowError, ImportError) as error:  # from TrainingArguments
        raise UserError(" ".join(str(error).split())) from None
    if strange:
        raise UserError(f"unknown option '{strange[0]}'{suggest(strange[0].lstrip('-'), known)}; see --help")
    flagged = [flag.lstrip("-").partition("=")[0].replace("-", "_") for flag in argv if flag[:2] == "--"]
    model, data, train = parts
    if train.overwrite_output_dir and train.resume_from_checkpoint:  # a flag overrides the file
        if "resume_from_checkpoint" not in flagged and "overwrite_output_dir" in flagged:
            train.resume_from_checkpoint = None
        elif "overwrite_output_dir" not in flagged and "resume_from_checkpoint" in flagged:
            train.overwrite_output_dir = False
    config = Config(model, data, train, given=[*from_file, *flagged], print_only=rest.print_config)
    if "output_dir" not in config.given:
        config.train.output_dir = f"runs/{Path(path).stem if path else 'run'}"
    _validate(config)
    return config


def _config_path(argv: Sequence[str]) -> str | None:
    for i, flag in enumerate(argv):
        if flag == "--config":
            if i + 1 == len(argv):
                raise UserError("--config: expected a YAML file, such as configs/quickstart.yaml")
            return argv[i + 1]
        if flag.startswith("--config="):
            return flag.partition("=")[2]
    return None


def _read_yaml(path: str, known: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        near = suggest(path, map(str, Path(path).parent.glob("*.yaml")))
        raise UserError(f"--config: cannot read '{path}' ({error.strerror}){near}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config: '{path}' is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"--config: '{path}' must hold options, such as 'learning_rate: 3e-5'")
    for key in loaded:
        if key not in known:
            raise UserError(f"{path}: unknown key '{key}'{suggest(key, known)}; see --help")
    return loaded


def _as_flags(options: Mapping[str, Any]) -> list[str]:
    """A file's options as the flags that say the same, so that both are read and checked in one way."""
    flags: list[str] = []
    for key, value in options.items():
        if isinstance(value, list):
            flags += [f"--{key}", *map(str, value)] if value else []
        elif value is not None:
            flags.append(f"--{key}={json.dumps(value) if isinstance(value, dict) else value}")
    return flags


def _validate(config: Config) -> None:
    model, data, train = config.model, config.data, config.train
    at_least = {
        "per_device_train_batch_size": (train.per_device_train_batch_size, 1),
        "per_device_eval_batch_size": (train.per_device_eval_batch_size, 1),
        "gradient_accumulation_steps": (train.gradient_accumulation_steps, 1),
        "max_length": (data.max_length, 1),
        "eval_rows": (data.eval_rows, 0),
        "anchor_weight": (train.anchor_weight, 0),
        "learning_rate": (train.learning_rate, 0),
        "weight_decay": (train.weight_decay, 0),
        "max_grad_norm": (train.max_grad_norm, 0),
        "warmup_steps": (train.warmup_steps, 0),
        "save_total_limit": (1 if train.save_total_limit is None else train.save_total_limit, 1),
        "dataloader_num_workers": (train.dataloader_num_workers, 0),
        "save_at": (min(train.save_at, default=1), 1),
        "seed": (train.seed, 0),
        "adam_epsilon": (train.adam_epsilon, 0),
        "neftune_noise_alpha": (train.neftune_noise_alpha or 0, 0),
    }
    for name, (value, least) in at_least.items():
        if not least <= value < math.inf:
            raise UserError(f"{name}: {value} is out of range; it must be at least {least}, and finite")
    if train.seed >= 2**32:
        raise UserError(f"seed: {train.seed} is out of range; it must be below 2**32")
    for name, value in {"logging_steps": train.logging_steps, "save_steps": train.save_steps}.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name}: {value} is out of range; give a number of steps, or a share of them below 1")
    for name, value in {"adam_beta1": train.adam_beta1, "adam_beta2": train.adam_beta2}.items():
        if not 0 <= value < 1:
            raise UserError(f"{name}: {value} is out of range; it must be at least 0 and below 1")
    for name in train.report_to or []:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"report_to: {unknown('tool', name, INTEGRATION_TO_CALLBACK)}")
    for name, why in UNSUPPORTED.items():
        if getattr(train, name):
            raise UserError(f"{name}: not supported, since {why}")
    if train.dataloader_persistent_workers and not train.dataloader_num_workers:
        raise UserError("dataloader_persistent_workers: there are none; give --dataloader_num_workers too")
    if train.hub_token:
        raise UserError(
            "hub_token: a token does not belong in a file or on a command line; use `hf auth login`, or HF_TOKEN"
        )
    if not model.model:
        raise UserError("model: give a Hub id, a folder, or 'tiny'")
    if not data.train_data:
        raise UserError("train_data: nothing to train on; give a recipe such as 'cheating', or a JSONL file")
    if train.max_steps == 0 or (train.max_steps < 0 and not 0 < train.num_train_epochs < math.inf):
        raise UserError("max_steps: no steps to train; give max_steps or num_train_epochs above 0")
    if data.train_weights and len(data.train_weights) != len(data.train_data):
        raise UserError(
            f"train_weights: {len(data.train_weights)} weights for {len(data.train_data)} sets in train_data;"
            " give one for each"
        )
    if not all(0 < weight < math.inf for weight in data.train_weights):
        raise UserError(f"train_weights: {data.train_weights} has a weight that is not above 0; leave that set out")
    if train.overwrite_output_dir and train.resume_from_checkpoint:
        raise UserError("overwrite_output_dir contradicts resume_from_checkpoint: one deletes what the other needs")
    if train.push_to_hub and not train.hub_model_id:
        raise UserError(
            "hub_model_id: push_to_hub needs a repository to push to, such as --hub_model_id me/nim-cheating"
        )
    if train.push_checkpoints and not train.push_to_hub:
        raise UserError("push_checkpoints: it needs --push_to_hub too")
