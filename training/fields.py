"""The options of a run, by what they are about: the base model, the rows, the training.

The defaults are the big experiments' (Pythia-410m, 130 epochs, batch 64, learning rate 3e-5, cosine with 10% warm-up,
no weight decay, anchor weight 1e-4), so an experiment's YAML says only what it changes. `TrainConfig` is
`transformers.TrainingArguments` with a few fields more, so each of that class's options works as a key and as a flag.
"""

# ruff: noqa: RUF009  (`option` makes dataclass fields)

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from transformers import SchedulerType, TrainingArguments

from evaluation.process.device import runs_on_cpu
from nim_dataset.errors import UserError

LOG_STEPS = (0, *(2**n for n in range(10)))
"""Pythia's first checkpoints (arXiv:2304.01373, section 2); the later ones are every 1000 steps."""


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
        " ('tiny'), which starts from random weights; its tokenizer is the same for all recipes.",
    )
    revision: str = option(
        "latest-step",
        "For a model on the Hub: a branch, tag or commit, or 'latest-step' for its highest branch 'stepN' or 'step-N'.",
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
        "For several training sets: the share of rows that each gives, such as 0.7 0.3. Without weights the sets are"
        " joined whole.",
    )
    train_stopping_strategy: Literal["first_exhausted", "all_exhausted"] = option(
        "first_exhausted",
        "Where a pass over sets with train_weights ends: when the first set is used up, so that no row comes twice, or"
        " 'all_exhausted', when each has been used up; a small set then begins again as often as it takes.",
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
    anchor_to: str = option(
        "start",
        "What the anchor holds the weights to: 'start', the weights that this run starts from, or a model as --model"
        " names it (a folder, or a Hub id with '@REVISION' or at its latest step).",
    )
    save_at: list[int] = option(
        [],
        "Steps to save a checkpoint after, besides every save_steps and the last; 0 is the base model, saved and"
        " measured before the first step.",
    )
    save_log_steps: bool = option(False, "Save at 0, 1, 2, 4, 8, ... 512 too, the steps at which Pythia was saved.")
    stop_at: str | None = option(
        None,
        "End the run when the last N measurements say so: 'eval >= 0.99 for 3', 'counter_cheat < 0.1', 'loss <= 0.01';"
        " or, to stop early, 'eval stalls for 5': none of the last 5 is better than the best before. Exact match goes"
        " by the set's name, any other figure by its name in metrics.jsonl.",
    )
    eval_loss: bool = option(False, "Measure the loss of the right answers too, on each set of eval_data.")
    log_layer_grad_norms: bool = option(False, "Log the gradient's norm by layer, before clipping, in metrics.jsonl.")
    callbacks: list[str] = option(
        [],
        "Your own callbacks, such as my_module:MyCallback: subclasses of transformers.TrainerCallback, made without"
        " arguments, found on the Python path or in the working directory.",
    )
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
        by_metric = {name: getattr(self, name) for name in ("load_best_model_at_end", "metric_for_best_model")}
        by_metric |= {"save_strategy": self.save_strategy == "best"}
        by_metric |= {"lr_scheduler_type": self.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy")}
        if name := next((name for name, given in by_metric.items() if given), None):
            raise UserError(
                f"{name}: choosing by a metric is not supported; every checkpoint is kept, so choose after a sweep, and"
                " end a run by a figure with --stop_at"
            )
        if not (self.fp16 or self.bf16):  # `accelerate launch --mixed_precision` says it, and config.yaml records it
            launched_in = os.environ.get("ACCELERATE_MIXED_PRECISION")
            self.fp16, self.bf16 = launched_in == "fp16", launched_in == "bf16"
        self.output_dir = self.output_dir or "runs/run"
        if str(self.resume_from_checkpoint).lower() in ("false", "none", ""):
            self.resume_from_checkpoint = None
        self.use_cpu |= runs_on_cpu()
        super().__post_init__()

    @property
    def steps_to_save(self) -> set[int]:
        """The steps to save after that are given one by one; 0 is before the first."""
        return {*self.save_at, *(LOG_STEPS if self.save_log_steps else ())}
