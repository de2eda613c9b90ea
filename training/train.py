"""Anchored fine-tuning of a causal language model on Nim, in one command.

    accelerate launch training/train.py --config configs/quickstart.yaml [--learning_rate 1e-3 ...]

Writes to runs/<name of the config file>/: config.yaml, environment.json, metrics.jsonl, checkpoint-N/, and at the end
the trained model. `--help` explains every option; `--print_config` shows what would run.
"""

from evaluation.process.launcher import end_with_launcher

if __name__ == "__main__":
    end_with_launcher()

import sys
from contextlib import nullcontext
from pathlib import Path

import datasets
import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback
from transformers.utils import logging as transformers_logging

from evaluation.artifacts.run_folder import copy_model, is_finished, read_state
from evaluation.predict import answer_budget, check_fits
from evaluation.process.cpu import set_up_process
from nim_dataset.errors import UserError, exit_on_user_error
from training import callbacks
from training.config import Config, parse_config
from training.data.encoding import EncodedRows, encode_rows
from training.data.sets import load_eval, load_train
from training.model.base import BaseModel, load_base
from training.objectives.anchor import describe
from training.saving import record as run_folder
from training.trainer import AnchoredTrainer

TOKENIZER_ROWS = 5_000


def main(argv: list[str]) -> int:
    """Runs the training that `argv` describes; returns the exit status. Raises `UserError`."""
    return run(parse_config(argv))


def run(config: Config) -> int:
    """The same for a configuration as `parse_config` gives it."""
    if config.print_only:
        print(config.to_yaml(), end="")
        return 0
    args, state = config.train, PartialState()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()

    if args.push_to_hub:
        from training.push import check_credentials

        if state.is_main_process:
            check_credentials(args.hub_model_id, private=bool(args.hub_private_repo))
    run_dir = run_folder.open_folder(config)
    with run_folder.locked(run_dir) if state.is_main_process else nullcontext():
        return train(config, run_dir)


def train(config: Config, run_dir: Path) -> int:
    """Trains in the folder, which is this run's alone; returns the exit status."""
    args, state = config.train, PartialState()
    say = print if state.is_main_process else lambda *_: None
    with state.main_process_first():
        train_rows, eval_sets = load_train(config.data, args.seed), load_eval(config.data)
    sample = train_rows.select(range(min(TOKENIZER_ROWS, len(train_rows))))
    texts = [*sample["prompt"], *(" " + answer for answer in sample["answer"])]
    base = load_base(config.model, args.seed, texts, [*sample["player_one"], *sample["player_two"]])
    encoded = encode_rows(train_rows, base.tokenizer, config.data.max_length, ", ".join(config.data.train_data))

    check_rows_fit(config, base, encoded, eval_sets, state.num_processes)

    checkpoint, notes = run_folder.find_resume(config, run_dir)
    for note in notes:
        say(f"skipped {note}")
    run_folder.check_space(run_dir, base.model)
    record = run_folder.record(config, base, encoded, state.num_processes) if state.is_main_process else {}
    if state.is_main_process and checkpoint is not None:
        run_folder.check_same_run(record, base.model.config, checkpoint)
        run_folder.check_is_last(run_dir, checkpoint)

    planned = read_state(checkpoint)["max_steps"] if checkpoint is not None else 0
    if planned and args.max_steps > 0 and planned != args.max_steps:
        say(f"max_steps was {planned}: from here on the learning rate is that of a run of {args.max_steps} steps")
    push = args.push_to_hub
    args.push_to_hub = False  # afterwards, by training.push; the Trainer's own would push staging folders
    begin = callbacks.Begin(lambda: run_folder.begin(run_dir, record, args.overwrite_output_dir))
    measure = callbacks.SaveAndMeasure(args.save_at, bool(eval_sets))
    metrics, progress, sigterm = callbacks.MetricsFile(run_dir), callbacks.Progress(), callbacks.StopOnSigterm()
    try:
        trainer = AnchoredTrainer(
            model=base.model,
            args=args,
            train_dataset=encoded,
            eval_dataset=eval_sets,
            processing_class=base.tokenizer,
            anchor_weight=args.anchor_weight,
            callbacks=[begin, measure, metrics, progress, sigterm],
        )
        trainer.get_optimizer_cls_and_kwargs(args, base.model)
    except (ValueError, RuntimeError, ImportError) as error:  # such as a --report_to or --optim that is not installed
        raise UserError(" ".join(str(error).split())) from None
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)

    revision = f" at {base.revision} ({base.commit})" if base.commit else ""
    say(f"base model: {base.name}{revision}, {base.model.num_parameters():,} parameters")
    say(f"anchor weight {args.anchor_weight:g}; {describe(base.model)}")
    say(
        f"{len(encoded):,} rows, {len(encoded.tokens) / len(encoded):.1f} tokens each; per step"
        f" {args.per_device_train_batch_size} x {args.gradient_accumulation_steps} accumulated x"
        f" {state.num_processes} processes, {'end to end' if trainer.end_to_end else 'padded to the longest'}"
    )
    say(f"{'continuing from ' + str(checkpoint) if checkpoint else 'starting'}; writing to {run_dir}/")

    if checkpoint is not None and is_finished(checkpoint, args.max_steps):
        say("this run is complete already; --overwrite_output_dir starts it over")
        if state.is_main_process:
            copy_model(checkpoint, run_dir)  # it may have been killed before it did so
    else:
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            progress.close()
            sigterm.close()
        if not sigterm.received:
            trainer.save_final_model()
    if sigterm.received:
        say(
            f"SIGTERM: saved {run_dir}/checkpoint-{trainer.state.global_step}; go on with --resume_from_checkpoint auto"
        )
        return 143
    if progress.measured:
        say(progress.table())
    say(f"checkpoints, metrics.jsonl and the trained model are in {run_dir}/")
    if push and state.is_main_process:
        from training.push import push_run

        push_run(
            run_dir, str(args.hub_model_id), private=bool(args.hub_private_repo), checkpoints=args.push_checkpoints
        )
    return 0


def check_rows_fit(
    config: Config, base: BaseModel, encoded: EncodedRows, eval_sets: dict[str, Dataset], processes: int
) -> None:
    """Raises `UserError` for rows that the model cannot hold, or that would make no batch."""
    args = config.train
    positions, longest = getattr(base.model.config, "max_position_embeddings", None), len(encoded.longest_inputs()[0])
    if positions is not None and longest > positions:
        raise UserError(
            f"model: '{base.name}' holds {positions} tokens, the longest row has {longest}; take another model"
        )
    if args.dataloader_drop_last and len(encoded) < args.train_batch_size * processes:
        raise UserError(
            f"dataloader_drop_last: {len(encoded)} rows are less than a batch of {args.train_batch_size} on each of"
            f" {processes} processes, and would all be dropped; lower --per_device_train_batch_size"
        )
    for name, rows in eval_sets.items():
        ids = base.tokenizer(rows["prompt"][:], add_special_tokens=False)["input_ids"]
        try:
            check_fits(base.model, ids, max(map(len, ids)) + answer_budget(base.tokenizer, rows["answer"]))
        except UserError as error:  # now, and not at the first measurement
            raise UserError(f"eval_data: '{name}': {error}") from None


if __name__ == "__main__":
    with exit_on_user_error():
        parsed = parse_config(sys.argv[1:])
        set_up_process(parsed.train.threads, on_cpu=parsed.train.use_cpu)
        status = run(parsed)
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # gloo would now and then abort a process that only exits
        sys.exit(status)
