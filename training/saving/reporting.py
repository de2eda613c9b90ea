"""A run under its own name in the tools of `--report_to`, beside its seeds, and one run there if continued."""

import os
import re
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback, TrackioCallback, WandbCallback
from transformers.integrations.integration_utils import rewrite_logs

PROJECT = "nim"
TENSORBOARD = "tensorboard"
"""The folder in a run's folder that TensorBoard reads, unless TENSORBOARD_LOGGING_DIR names another."""
SUMMARY = "train_runtime"
"""What only the Trainer's closing summary has, which is of the process and not of a step."""


def name_run(args: TrainingArguments, run_dir: Path) -> None:
    """The names under which the tools show a run, unless they were given: its folder's, in a project of ours."""
    args.run_name = args.run_name or run_name(run_dir)
    if args.project == TrainingArguments.project:
        args.project = PROJECT


def run_name(run_dir: Path) -> str:
    """`studies/shortcut/base-1f/seed-0` for that folder of `runs/`; a folder elsewhere has its own name alone."""
    parts = run_dir.resolve().parts
    below = parts[len(parts) - parts[::-1].index("runs") :] if "runs" in parts else ()
    return "/".join(below or parts[-1:])


def group_of(name: str) -> str:
    """What the runs of several seeds have in common: the name without a seed at its end, as in `base-seed1`."""
    return re.sub(r"[-_./]?seed[-_]?\d+$", "", name) or name


def keep_one_run(trainer: Trainer, run_dir: Path) -> None:
    """Puts callbacks that go on with a run in the place of the trainer's own, where it has them."""
    for theirs, ours in (
        (TensorBoardCallback, _TensorBoardRun),
        (TrackioCallback, _TrackioRun),
        (WandbCallback, _WandbRun),
    ):
        if trainer.pop_callback(theirs) is not None:
            trainer.add_callback(ours(run_dir))


class _TensorBoardRun(TensorBoardCallback):
    """Writes into one folder. What was logged beyond the step that the run goes on from is hidden."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.logging_dir = self.logging_dir or str(run_dir / TENSORBOARD)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.tb_writer = self._SummaryWriter(log_dir=self.logging_dir, purge_step=state.global_step + 1)
        super().on_train_begin(args, state, control, **kwargs)


class _TrackioRun(TrackioCallback):
    """Logs at the Trainer's steps, in the group of the run's seeds; a run that starts over is another one there."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._trackio.init(
                project=args.project,
                name=args.run_name,
                group=group_of(str(args.run_name)),
                config={**args.to_dict(), "model/num_parameters": model.num_parameters()},
                resume="allow" if state.global_step else "never",
                space_id=args.trackio_space_id,
                bucket_id=args.trackio_bucket_id,
                private=args.hub_private_repo,
            )
            self._space_id = self._trackio.context_vars.current_space_id.get()
        self._initialized = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and logs and SUMMARY not in logs:
            self._trackio.log(rewrite_logs(logs), step=state.global_step)


class _WandbRun(WandbCallback):
    """Keeps its files in the run's folder, where a run that goes on finds its id; the variables WANDB_* win."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir, self.opened = run_dir, False

    def setup(self, args: TrainingArguments, state: TrainerState, model: Any, **kwargs: Any) -> None:
        if self._wandb is not None and state.is_world_process_zero and self._wandb.run is None:
            self._wandb.init(
                project=os.getenv("WANDB_PROJECT", args.project),
                name=os.getenv("WANDB_NAME", args.run_name),
                group=os.getenv("WANDB_RUN_GROUP", group_of(str(args.run_name))),
                dir=os.getenv("WANDB_DIR", str(self.run_dir)),
                id=os.getenv("WANDB_RUN_ID", self.last_id() if state.global_step else None),
                resume=os.getenv("WANDB_RESUME", "allow"),
            )
            self.opened = True
        super().setup(args, state, model, **kwargs)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_end(*args, **kwargs)
        if self.opened:
            self._wandb.finish()

    def last_id(self) -> str | None:
        """The id of the last run that was logged from the run's folder: that of `wandb/run-<date>_<time>-<id>/`."""
        found = sorted((self.run_dir / "wandb").glob("*run-*-*"), key=lambda folder: folder.name.partition("run-")[2])
        return found[-1].name.rpartition("-")[2] if found else None
