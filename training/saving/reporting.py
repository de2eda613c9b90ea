"""A run under its own name in the tools of `--report_to`, and one run there however often it is continued."""

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

PROJECT = "nim-testbed"
TENSORBOARD = "tensorboard"
"""The folder in a run's folder that TensorBoard reads, unless TENSORBOARD_LOGGING_DIR names another."""


def name_run(args: TrainingArguments, run_dir: Path) -> None:
    """The names under which Trackio continues a run: its folder's, in a project of ours, unless they were given."""
    args.run_name = args.run_name or run_dir.resolve().name
    if args.project == TrainingArguments.project:
        args.project = PROJECT


def keep_one_run(trainer: Trainer, run_dir: Path) -> None:
    """Gives the trainer's TensorBoard callback, if it has one, the run's own folder."""
    if trainer.pop_callback(TensorBoardCallback) is not None:
        trainer.add_callback(_OneRun(run_dir))


class _OneRun(TensorBoardCallback):
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
