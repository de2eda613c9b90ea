"""Anchored fine-tuning of a causal language model on Nim, in one command.

    accelerate launch training/train.py --config configs/quickstart.yaml [--learning_rate 1e-3 ...]

Writes to runs/<name of the config file>/: config.yaml, environment.json, metrics.jsonl, checkpoint-N/, and at the end
the trained model. `--help` explains every option; `--print_config` shows what would run.
"""

from evaluation.process.extras import needs
from evaluation.process.launcher import end_with_launcher

if __name__ == "__main__":
    needs("train")
    end_with_launcher()

import signal
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from accelerate import PartialState
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.utils import logging as transformers_logging

from evaluation.artifacts.run_folder import copy_model, is_finished, read_state, recorded_files
from evaluation.process.agree import from_main
from evaluation.process.device import passed_over
from evaluation.process.settings import ProcessSettings
from nim_dataset.errors import UserError, exit_on_user_error
from training import callbacks
from training.config import Config, parse_config
from training.data.layout import describe_layout
from training.gradient_norms import LayerGradNorms
from training.hub.publish import check_credentials, push_run
from training.limits import check_optimizer
from training.materials import Materials, prepare
from training.objectives.anchor import describe
from training.objectives.interface import Objective
from training.own_callbacks import load_callbacks
from training.saving import opening
from training.saving.record import check_same_run, record, recorded_environment
from training.saving.reporting import keep_one_run, name_run
from training.saving.start import SaveStart
from training.stop_rule import StopAt
from training.trainer import AnchoredTrainer


def main(argv: list[str]) -> int:
    """Runs the training that `argv` describes; returns the exit status. Raises `UserError`."""
    return run(parse_config(argv))


def run(config: Config) -> int:
    """The same for a configuration as `parse_config` gives it."""
    if config.print_only:
        print(config.to_yaml(), end="")
        return 0
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    is_main, args = PartialState().is_main_process, config.train
    if args.n_gpu > 1:  # one process with several GPUs: the Trainer would take nn.DataParallel
        ddp = "accelerate launch --config_file configs/accelerate/ddp.yaml"
        say(f"training on one of {args.n_gpu} GPUs; {ddp} takes all of them")
        args._n_gpu = 1
    if args.push_to_hub and is_main:
        check_credentials(args.hub_model_id, private=bool(args.hub_private_repo))
    run_dir = opening.open_folder(config)
    with opening.locked(run_dir) if is_main else nullcontext():
        return train(config, run_dir)


def train(config: Config, run_dir: Path) -> int:
    """Trains in the folder, which is this run's alone; returns the exit status."""
    push = config.train.push_to_hub
    materials = prepare(config)
    start = open_run(config, run_dir, materials)
    config.train.push_to_hub = False  # the Trainer's own would push staging folders
    if signum := fit(config, run_dir, materials, start):
        return 128 + signum  # as of a process that the signal ended
    publish(config, run_dir, push)
    return 0


def process_settings(config: Config) -> ProcessSettings:
    """Those that the command gives its process: of the run that goes on, where one does."""
    args = config.train
    return ProcessSettings.choose(
        args.threads, on_cpu=args.use_cpu, deterministic=args.full_determinism, recorded=recorded_environment(config)
    )


def say(line: str) -> None:
    """Prints a line on the main process."""
    if PartialState().is_main_process:
        print(line)


# ---- Open the run's folder: where to start, and what is recorded ----


@dataclass
class Start:
    """Where a run begins, and the files that record how."""

    checkpoint: Path | None
    record: dict[str, str]
    """File -> text; empty but on the main process."""


def open_run(config: Config, run_dir: Path, materials: Materials) -> Start:
    """Finds where to start, and whether that is this run's; nothing in the folder is changed yet."""
    state, base = PartialState(), materials.base
    checkpoint, notes = from_main(lambda: opening.find_resume(config, run_dir))
    for note in notes:
        say(f"skipped {note}")
    opening.check_space(run_dir, base.model)
    files = record(config, base, materials.rows, state.num_processes) if state.is_main_process else {}
    if checkpoint is not None:
        if state.is_main_process:
            if unknown := check_same_run(files, base.model.config, checkpoint):
                say(unknown)
            opening.check_is_last(run_dir, checkpoint)
        planned, steps = read_state(checkpoint)["max_steps"], config.train.max_steps
        if planned and 0 < steps != planned:
            say(f"max_steps was {planned}: from here on the learning rate is that of a run of {steps} steps")
    return Start(checkpoint, files)


# ---- Fit ----


def fit(config: Config, run_dir: Path, materials: Materials, start: Start) -> int:
    """Trains, and leaves the trained model in the folder; returns the signal that stopped it before the end, or 0."""
    progress, interrupt = callbacks.Progress(), callbacks.StopOnSignal()
    own = load_callbacks(config.train.callbacks)
    logged = ["loss", *(["penalty", "distance"] if "anchor" in config.objectives else [])]
    sets, eval_loss = list(materials.eval_sets), config.train.eval_loss
    stop_at = StopAt.of(config.train.stop_at, sets, logged, eval_loss)
    for phase in config.phases:
        StopAt.of(phase.until, sets, logged, eval_loss, "phases: until")
    trainer = make_trainer(config, run_dir, materials, start, [progress, *stop_at, *own, interrupt])
    tell(config, materials, trainer)
    checkpoint = start.checkpoint
    say(f"{'continuing from ' + str(checkpoint) if checkpoint else 'starting'}; writing to {run_dir}/")
    if checkpoint is not None:
        state = read_state(checkpoint)
        log, step = state["log_history"], state["global_step"]
        ended = any(stop.is_met(log) for stop in stop_at) or trainer.plan.is_over(log, step)
        if ended or is_finished(checkpoint, config.train.max_steps):
            finish(run_dir, start.record, checkpoint)
            return 0
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        progress.close()
        interrupt.close()
    if interrupt.received:
        last = f"{run_dir}/checkpoint-{trainer.state.global_step}"
        say(f"{signal.Signals(interrupt.received).name}: saved {last}; go on with --resume_from_checkpoint auto")
        return interrupt.received
    for stop in stop_at:
        if stop.met:
            say(f"stop_at: '{stop.rule.text}' held at step {trainer.state.global_step}, and ended the run")
    trainer.save_final_model()
    if progress.measured:
        say(progress.table())
    return 0


def finish(run_dir: Path, files: dict[str, str], checkpoint: Path) -> None:
    """Publishes the model of a run's last checkpoint: the run may have been killed before it did so."""
    say("this run is complete already; --overwrite_output_dir starts it over")
    if PartialState().is_main_process:
        if recorded_files(run_dir) is None:
            opening.begin(run_dir, files, start_over=False)
        copy_model(checkpoint, run_dir)


def make_trainer(
    config: Config, run_dir: Path, materials: Materials, start: Start, more: list[TrainerCallback]
) -> AnchoredTrainer:
    """The trainer of this run; raises `UserError` for a tool or an optimizer that is not there."""
    args = config.train
    name_run(args, run_dir)
    begin = callbacks.Begin(lambda: opening.begin(run_dir, start.record, args.overwrite_output_dir))
    measure = callbacks.SaveAndMeasure(args.steps_to_save, bool(materials.eval_sets))
    metrics = callbacks.MetricsFile(run_dir, continued=start.checkpoint is not None)
    looks_on: dict[str, Objective] = {"layer_grad_norms": LayerGradNorms()} if args.log_layer_grad_norms else {}
    try:
        trainer = AnchoredTrainer(
            model=materials.base.model,
            args=args,
            train_dataset=materials.rows,
            phases=materials.phases,
            eval_dataset=materials.eval_sets,
            processing_class=materials.base.tokenizer,
            base_files=materials.base.files,
            objectives=config.objectives | looks_on,  # which come last, and see what the others add
            eval_loss=args.eval_loss,
            callbacks=[begin, measure, metrics, *more],
        )
        check_optimizer(args, materials.base.model)
    except (ValueError, RuntimeError, ImportError) as error:  # such as a --report_to or --optim that is not installed
        raise UserError(" ".join(str(error).split())) from None
    if 0 in args.steps_to_save and start.checkpoint is None:
        trainer.add_callback(SaveStart(trainer))
    keep_one_run(trainer, run_dir)
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    return trainer


def tell(config: Config, materials: Materials, trainer: AnchoredTrainer) -> None:
    """Prints what is about to be trained, and how."""
    args, base, rows = config.train, materials.base, materials.rows
    if config.donor is not None:
        say(f"donor: {base.name}, in the place of --model")
    if len(config.phases) > 1:
        lengths = (f"{phase.steps} of {' + '.join(phase.data)}" for phase in config.phases)
        say(f"phases, in steps: {', then '.join(lengths)}")
    if config.train.stop_at or any(phase.until for phase in config.phases):
        say("stop_at and until are looked at where a checkpoint is measured (save_at, save_steps)")
    revision = f" at {base.revision} ({base.commit})" if base.commit else ""
    say(f"base model: {base.name}{revision}, {base.model.num_parameters():,} parameters")
    for note in [*base.notes, *filter(None, [passed_over()])]:
        say(note)
    if rows.apart:
        say(f"{rows.apart:,} of {len(rows):,} rows are tokenized apart: a token would lie across prompt and answer")
    say(f"anchor weight {args.anchor_weight:g}, to {args.anchor_to}; {describe(base.model)}")
    say(
        f"{len(rows):,} rows, {len(rows.tokens) / len(rows):.1f} tokens each; per step"
        f" {args.per_device_train_batch_size} x {args.gradient_accumulation_steps} accumulated x"
        f" {PartialState().num_processes} processes,"
        f" {describe_layout(trainer.layout, rows, args.per_device_train_batch_size)}"
    )


# ---- Publish ----


def publish(config: Config, run_dir: Path, push: bool) -> None:
    """Says where everything is, and pushes it where that was asked for."""
    args = config.train
    say(f"checkpoints, metrics.jsonl and the trained model are in {run_dir}/")
    if push and PartialState().is_main_process:
        push_run(
            run_dir, str(args.hub_model_id), private=bool(args.hub_private_repo), checkpoints=args.push_checkpoints
        )


if __name__ == "__main__":
    with exit_on_user_error():
        parsed = parse_config(sys.argv[1:])
        process_settings(parsed).apply()
        status = run(parsed)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # gloo would now and then abort a process that only exits
        sys.exit(status)
