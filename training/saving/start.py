"""The base model as a run's first checkpoint, `checkpoint-0`."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.saving.atomic import AtomicSaves


class SaveStart(TrainerCallback):
    """Measures, where there is something to measure on, and saves before the first step; for a run that starts."""

    def __init__(self, trainer: AtomicSaves) -> None:
        self.trainer = trainer

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            if self.trainer.eval_dataset:
                self.trainer.evaluate()
            self.trainer.save_checkpoint()
