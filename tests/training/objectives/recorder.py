"""What a run logged, for tests that compare it with a run that is written out."""

from typing import Any

from transformers import TrainerCallback


class Recorder(TrainerCallback):
    """The lines of the log that tell a loss."""

    def __init__(self) -> None:
        self.logs: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" in logs:
            self.logs.append(dict(logs))
