"""What a run is, as it is read from a YAML file (`--config`) and from flags that override it.

A file's keys and the flags are the fields of `fields.py`; `objectives` is a map from an objective's name to its
options, which a flag reaches as `--objectives.NAME.OPTION`. The anchor's options have the short forms of `ANCHOR`.
`donor` (`donor.py`) is a map too, and `phases` (`data/phase.py`) a list of maps, which stands for `ONE_PHASE`.
"""

import dataclasses
import enum
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser

from nim_dataset.errors import UserError, suggest, unknown
from training.data.phase import Phase, read_phases
from training.donor import Donor
from training.fields import DataConfig, ModelConfig, TrainConfig
from training.limits import check_limits
from training.objectives.interface import Objective, find_objective, known_objectives
from training.shipped import read_yaml

# What may not change between a run and its continuation: with another value it would be another run. The base model and
# the rows may not either; they are compared by their fingerprints, however they are spelled.
FIXED = (
    *("anchor_weight", "learning_rate"),
    *("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "weight_decay", "max_grad_norm"),
    *("optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon", "bf16", "fp16", "neftune_noise_alpha", "seed"),
    *("data_seed", "train_sampling_strategy", "dataloader_drop_last"),
)
HIDDEN = {"logging_nan_inf_filter", "remove_unused_columns", "overwrite_output_dir"}
"""Options that are no part of what a run is."""
ANCHOR = {"weight": "anchor_weight", "to": "anchor_to"}
"""The anchor's options, and the short form of each."""
NESTED = ("objectives", "phases", "donor")
"""The keys of a file that hold maps or lists of them."""
ONE_PHASE = ("train_data", "train_weights", "train_stopping_strategy", "max_steps", "num_train_epochs")
"""The options of a run of one phase."""
CLASSES: list[Any] = [ModelConfig, DataConfig, TrainConfig]


@dataclass
class Config:
    """A run, fully specified."""

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    objectives: dict[str, Objective]
    """By name; with the anchor, unless its weight is 0."""
    phases: list[Phase]
    """The parts of the run, in their order."""
    donor: Donor | None
    """The run whose weights this one starts from, which then are the base model."""
    given: list[str]
    """The options that the file or a flag set."""
    print_only: bool = False

    def to_yaml(self) -> str:
        """Everything that shapes the run, in a form that `--config` reads back."""
        shown = {f.name for cls in (ModelConfig, DataConfig) for f in dataclasses.fields(cls)}
        shown |= set(TrainConfig.__annotations__) | set(self.given)
        shown |= set(FIXED)
        shown -= HIDDEN
        values: dict[str, Any] = {}
        for part in (self.model, self.data, self.train):
            for f in dataclasses.fields(part):
                if f.name in shown:
                    values[f.name] = _plain(getattr(part, f.name))
        objectives = {name: _plain(objective) for name, objective in self.objectives.items()}
        for option in ANCHOR:  # which go by their short names
            objectives.get("anchor", {}).pop(option, None)
        objectives = {name: options for name, options in objectives.items() if options or name != "anchor"}
        nested: dict[str, Any] = {"objectives": objectives} if objectives else {}
        if self.donor is not None:
            nested["donor"] = dataclasses.asdict(self.donor)
        if "phases" in self.given:
            nested["phases"] = [phase.described() for phase in self.phases]
            values = {name: value for name, value in values.items() if name not in ONE_PHASE}
        return yaml.safe_dump(values | nested, sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    value = value.value if isinstance(value, enum.Enum) else value
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


class _Parser(HfArgumentParser):
    """Reports a mistake as a `UserError` instead of printing two screens of usage."""

    def error(self, message: str) -> Any:
        if choice := re.match(r"argument --(\w+).*: invalid choice: '(.*)' \(choose from (.*)\)", message):
            name, value, choices = choice.groups()
            raise UserError(f"{name}: " + unknown("choice", value, re.findall(r"[^ ,']+", choices)))
        raise UserError(message.removeprefix("argument "))


def parse_config(argv: Sequence[str]) -> Config:
    """The run that a command line describes; raises `UserError` for anything that cannot be meant."""
    argv, nested_flags = _split_nested(argv)
    parser = _Parser(CLASSES, prog="train.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="A YAML file of the options below; flags override it.")
    parser.add_argument("--print_config", "--print-config", action="store_true", help="Show what would run, and exit.")
    for name, cls in known_objectives().items():
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]  # each is a dataclass
            if name != "anchor" or f.name not in ANCHOR:
                shown: dict[str, Any] = {"metavar": "VALUE", "help": f.metadata.get("help"), "default": f.default}
                parser.add_argument(f"--objectives.{name}.{f.name}", **shown)
    parser.add_argument("--donor.run", metavar="DIR", help="Start from this run's weights, with a fresh optimizer.")
    at = "Which: a step, 'last' (the default), or 'first RULE' such as 'first eval >= 0.95'."
    parser.add_argument("--donor.at", metavar="WHICH", help=at)
    known = {f.name: f for cls in CLASSES for f in dataclasses.fields(cls) if f.init}
    path = _config_path(argv)
    from_file = _read_yaml(path, [*known, *NESTED]) if path else {}
    nested = _nested_options(path, from_file)
    donor = _read_donor(path, from_file, nested_flags)
    phases = read_phases(str(path), from_file.pop("phases")) if "phases" in from_file else []
    try:
        *parts, rest, strange = parser.parse_args_into_dataclasses(
            [*_as_flags(from_file), *argv], return_remaining_strings=True, look_for_args_file=False
        )
    except UserError:
        raise
    except json.JSONDecodeError as error:  # of one of TrainingArguments' options with keyword arguments
        name = next((flag for flag, value in pairwise(argv) if value == error.doc), "an option").lstrip("-")
        raise UserError(f"{name}: '{error.doc}' is not valid JSON ({error.msg})") from None
    except OSError as error:  # of a file that one of them names
        name = next((flag for flag, value in pairwise(argv) if value == error.filename), "an option").lstrip("-")
        raise UserError(f"{name}: cannot read '{error.filename}' ({error.strerror})") from None
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
    given = [*from_file, *flagged, *(["phases"] if phases else [])]
    if phases:
        if twice := next((name for name in ONE_PHASE if name in given), None):
            raise UserError(f"{twice}: the run has phases, each of which says its own; leave it out")
        data.train_data = list(dict.fromkeys(spec for phase in phases for spec in phase.data))
        train.max_steps = sum(phase.steps for phase in phases)
        if train.dataloader_num_workers and any(phase.until for phase in phases):
            raise UserError(
                "dataloader_num_workers: a phase with `until` takes none, since they would read ahead of it"
            )
    if donor is not None and model.revision != ModelConfig.revision:
        raise UserError(
            f"revision: '{model.revision}' contradicts donor, whose checkpoint says which weights; leave it out"
        )
    if train.anchor_to != TrainConfig.anchor_to and not train.anchor_weight:
        raise UserError(f"anchor_to: '{train.anchor_to}' holds nothing with an anchor_weight of 0; leave it out")
    if donor is not None:
        model.model, model.revision = str(donor.checkpoint()), ModelConfig.revision
    if "output_dir" not in given:
        train.output_dir = f"runs/{Path(path).stem if path else 'run'}"
    check_limits(model, data, train)
    for name, option, value in nested_flags:
        if name != "donor":
            nested.setdefault(name, {})[option] = value
    if train.anchor_weight:
        nested.setdefault("anchor", {}).update({option: getattr(train, name) for option, name in ANCHOR.items()})
    else:
        nested.pop("anchor", None)
    objectives = {name: _objective(name, options) for name, options in nested.items()}
    if not phases:
        strategy = data.train_stopping_strategy
        phases = [Phase(tuple(data.train_data), tuple(data.train_weights), train.max_steps, strategy)]
    return Config(model, data, train, objectives, phases, donor, given, print_only=rest.print_config)


def _read_donor(path: str | None, from_file: dict[str, Any], flags: Sequence[tuple[str, str, str]]) -> Donor | None:
    """Takes `donor` out of a file's options, and what flags say of it; None where there is none."""
    said: Any = from_file.pop("donor", None)
    flagged = {option: value for name, option, value in flags if name == "donor"}
    if flagged and isinstance(said, dict | None):
        said = {**(said or {}), **flagged}
    return Donor.read(path or "--donor", said) if said is not None else None


def _config_path(argv: Sequence[str]) -> str | None:
    paths = []
    for i, flag in enumerate(argv):
        if flag == "--config":
            if i + 1 == len(argv):
                raise UserError("--config: expected a YAML file, such as configs/quickstart.yaml")
            paths.append(argv[i + 1])
        elif flag.startswith("--config="):
            paths.append(flag.partition("=")[2])
    if len(paths) > 1:
        raise UserError(
            f"--config: given {len(paths)} times ({', '.join(paths)}); a run has one, and flags override it"
        )
    return paths[0] if paths else None


def _read_yaml(path: str, known: Sequence[str]) -> dict[str, Any]:
    loaded = read_yaml(path, option="--config: ")
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


# ---- Objectives, the nested part ----


def _split_nested(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str, str]]]:
    """The flags but those of `--objectives.NAME.OPTION VALUE` and `--donor.OPTION VALUE`, and these as (name, option,
    value).

    The anchor's options stay among the former, under their short names.
    """
    flat: list[str] = []
    nested: list[tuple[str, str, str]] = []
    rest = iter(argv)
    for flag in rest:
        if not (match := re.fullmatch(r"--(?:objectives\.(\w+)|donor)\.(\w+)(?:=(.*))?", flag, re.DOTALL)):
            flat.append(flag)
            continue
        name, option, value = match[1] or "donor", match[2], match[3]
        if value is None and (value := next(rest, None)) is None:
            raise UserError(f"{flag}: expected a value")
        if name == "anchor" and option in ANCHOR:
            flat.append(f"--{ANCHOR[option]}={value}")
        else:
            nested.append((name, option, value))
    return flat, nested


def _nested_options(path: str | None, from_file: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Takes `objectives` out of a file's options and gives it, but for the anchor's options, which go by their short
    names."""
    nested = from_file.pop("objectives", None) or {}
    if not isinstance(nested, dict) or not all(isinstance(options, dict | None) for options in nested.values()):
        raise UserError(f"{path}: objectives must hold options by name, such as 'anchor: {{weight: 1e-4}}'")
    nested = {str(name): dict(options or {}) for name, options in nested.items()}
    for option, name in ANCHOR.items():
        value = nested.get("anchor", {}).pop(option, None)
        if value is not None:
            if name in from_file:
                raise UserError(f"{path}: {name} and objectives.anchor.{option} are the same; give one of them")
            from_file[name] = value
    return nested


def _objective(name: str, options: Mapping[str, Any]) -> Objective:
    cls: Any = find_objective(name)
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    for option in options:
        if option not in known:
            raise UserError(f"objectives.{name}: unknown option '{option}'{suggest(option, known)}; it has {known}")
    try:
        flags = _as_flags(options)
        made: Any = _Parser([cls], allow_abbrev=False).parse_args_into_dataclasses(flags, look_for_args_file=False)
    except (ValueError, TypeError) as error:
        what = " ".join(str(error).split())
        of_option = what.partition(": ")[0] in known
        raise UserError(f"objectives.{name}{'.' if of_option else ': '}{what}") from None
    parsed: Objective = made[0]
    return parsed
