"""What the options of a run may be, each by itself and together; a mistake is one line that names the option."""

import copy
import math
from dataclasses import MISSING, fields
from typing import Any

from transformers import PreTrainedModel, Trainer
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.training_args import OptimizerNames

from nim_dataset.errors import UserError, unknown
from training.data.phases import ORDERS
from training.fields import DataConfig, ModelConfig, TrainConfig
from training.stop_rule import StopRule

OWN_EVALUATION = "exact match is measured in a way of its own, which it has no part in"
OWN_PUSH = "a run is pushed when it is over, in a way of its own"
UNSUPPORTED = {
    "label_smoothing_factor": "the loss is that of the right answer alone",
    "save_only_model": "a run could not be continued exactly",
    "ignore_data_skip": "a run could not be continued exactly",
    "auto_find_batch_size": "it starts over with other rows a step and with weights that are no longer the base's",
    "use_liger_kernel": "it computes the loss itself",
    "liger_kernel_config": "its kernels compute the loss themselves",
    "greater_is_better": "there is no choosing by a metric",
    "eval_on_start": "--save_at 0 saves and measures the base model",
    "enable_jit_checkpoint": "SIGTERM saves a checkpoint as it is",
    "length_column_name": "rows have their lengths",
    "skip_memory_metrics": "nothing here shows what it measures",
    **dict.fromkeys(("prediction_loss_only", "include_for_metrics", "batch_eval_metrics"), OWN_EVALUATION),
    **dict.fromkeys(("eval_accumulation_steps", "eval_do_concat_batches", "eval_use_gather_object"), OWN_EVALUATION),
    **dict.fromkeys(("fp16_full_eval", "bf16_full_eval", "label_names", "do_predict"), OWN_EVALUATION),
    **dict.fromkeys(("hub_strategy", "hub_always_push", "hub_revision"), OWN_PUSH),
}
"""Options of `TrainingArguments` that would do nothing here or harm, and why."""


def check_limits(model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
    """Raises `UserError` for options that cannot be meant."""
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
        "dataloader_prefetch_factor": (train.dataloader_prefetch_factor or 0, 0),
        "save_at": (min(train.save_at, default=0), 0),
        "seed": (train.seed, 0),
        "adam_epsilon": (train.adam_epsilon, 0),
        "neftune_noise_alpha": (train.neftune_noise_alpha or 0, 0),
    }
    for name, (value, least) in at_least.items():
        if not least <= value < math.inf:
            raise UserError(f"{name}: {value} is out of range; it must be at least {least}, and finite")
    if train.seed >= 2**32:
        raise UserError(f"seed: {train.seed} is out of range; it must be below 2**32")
    if train.data_seed is not None and abs(train.data_seed) >= 2**32:
        raise UserError(f"data_seed: {train.data_seed} is out of range; its amount must be below 2**32")
    for name, value in {"logging_steps": train.logging_steps, "save_steps": train.save_steps}.items():
        if not 0 < value < math.inf:
            raise UserError(f"{name}: {value} is out of range; give a number of steps, or a share of them below 1")
    for name, value in {"adam_beta1": train.adam_beta1, "adam_beta2": train.adam_beta2}.items():
        if not 0 <= value < 1:
            raise UserError(f"{name}: {value} is out of range; it must be at least 0 and below 1")
    for name in train.report_to or []:
        if name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"report_to: {unknown('tool', name, INTEGRATION_TO_CALLBACK)}")
    if train.train_sampling_strategy not in ORDERS:
        raise UserError(
            f"train_sampling_strategy: '{train.train_sampling_strategy}' is not supported, since a run could not be"
            f" continued exactly; it can be {', '.join(ORDERS)}"
        )
    for f in fields(train):
        default = f.default_factory() if f.default_factory is not MISSING else f.default
        if f.name in UNSUPPORTED and getattr(train, f.name) != default:
            raise UserError(f"{f.name}: not supported, since {UNSUPPORTED[f.name]}")
    batching: Any = train.accelerator_config
    for f in fields(batching):
        if f.name != "non_blocking" and getattr(batching, f.name) != getattr(type(batching)(), f.name):
            raise UserError(
                f"accelerator_config: '{f.name}' is not supported, since the rows of a step follow from the seed and"
                " the batch size alone; only 'non_blocking' is"
            )
    if train.fp16 and train.use_cpu:
        raise UserError("fp16: a CPU cannot train in it; leave it out, or take --bf16")
    if train.stop_at is not None:
        StopRule.parse(train.stop_at)
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
    if data.train_stopping_strategy != "first_exhausted" and not data.train_weights:
        raise UserError(
            f"train_stopping_strategy: '{data.train_stopping_strategy}' is for a mixture; give --train_weights too"
        )
    if train.overwrite_output_dir and train.resume_from_checkpoint:
        raise UserError("overwrite_output_dir contradicts resume_from_checkpoint: one deletes what the other needs")
    if train.push_to_hub and not train.hub_model_id:
        raise UserError(
            "hub_model_id: push_to_hub needs a repository to push to, such as --hub_model_id me/nim-cheating"
        )
    if train.push_checkpoints and not train.push_to_hub:
        raise UserError("push_checkpoints: it needs --push_to_hub too")


def check_optimizer(train: TrainConfig, model: PreTrainedModel) -> None:
    """Raises `ValueError` or `ImportError` for an optimizer that cannot be had, or an option that it would ignore."""
    made = Trainer.get_optimizer_cls_and_kwargs(train, model)
    for name in ("optim_args", "optim_target_modules"):
        if not getattr(train, name):
            continue
        without = copy.copy(train)
        setattr(without, name, None)
        try:
            ignored = Trainer.get_optimizer_cls_and_kwargs(without, model) == made
        except (ValueError, RuntimeError):  # it needs the option, or makes tensors of it, which have no single "equal"
            ignored = False
        if ignored:
            raise UserError(f"{name}: the optimizer '{OptimizerNames(train.optim).value}' takes none; leave it out")
