"""What happens around the steps: metrics.jsonl, progress, when to save, and what to do on a signal."""

import json
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from evaluation.artifacts.run_folder import METRICS, writing
from evaluation.artifacts.training_log import exact_matches
from nim_dataset.files import write_text


class Begin(TrainerCallback):
    """Calls `change_folder` on the main process when all is ready to train, and nothing can be mistaken any more."""

    def __init__(self, change_folder: Callable[[], None]) -> None:
        self.change_folder = change_folder

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.change_folder()


class MetricsFile(TrainerCallback):
    """Appends everything that is logged to `metrics.jsonl`, a JSON object per line, each with its `step`.

    After a resume, lines beyond the checkpoint are dropped first: the file then reads as if nothing had happened. A
    figure that is not finite (such as the norm of gradients that a scaler of fp16 then skips) is null.
    """

    def __init__(self, run_dir: Path, continued: bool) -> None:
        self.path, self.continued = run_dir / METRICS, continued

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            with writing(self.path.name, self.path.parent):
                before = self.path.read_text() if self.continued and self.path.exists() else ""
                lines = before.splitlines(keepends=True)
                write_text(self.path, "".join(line for line in lines if _is_whole_until(state.global_step, line)))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if state.is_world_process_zero and logs and "train_runtime" not in logs:  # the Trainer's closing summary
            figures = {key: value if math.isfinite(value) else None for key, value in logs.items()}
            with writing(self.path.name, self.path.parent), open(self.path, "a") as file:
                file.write(json.dumps({"step": state.global_step, **figures}) + "\n")


def _is_whole_until(step: int, line: str) -> bool:
    """Whether the line is of `step` or before, and whole: a kill or a full disk can cut one short."""
    try:
        return line.endswith("\n") and json.loads(line)["step"] <= step
    except (ValueError, KeyError):
        return False


class Progress(TrainerCallback):
    """One bar with loss, speed and time left; a line for each measurement of exact match, and a table at the end."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.measured: list[tuple[int, dict[str, float]]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            if state.global_step == 0 and kwargs["lr_scheduler"].get_last_lr()[0] == 0:
                tqdm.write(
                    "the learning rate goes up from 0: step 1 changes nothing, and checkpoint-1 is the base model"
                )
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc="train",
                unit="step",
                mininterval=0.2 if sys.stderr.isatty() else 10,  # seconds; a log file needs few lines
                dynamic_ncols=True,
                disable=args.disable_tqdm,
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.bar is None or not logs:
            return
        if "loss" in logs:
            figures = f"loss {logs['loss']:.4f}, {logs['tokens_per_second']:,.0f} tokens/s"
            self.bar.set_postfix_str(figures, refresh=sys.stderr.isatty())
        if exact := exact_matches(logs):
            self.measured.append((state.global_step, exact))
            figures = "  ".join(f"{name} {value:.3f}" for name, value in exact.items())
            tqdm.write(f"step {state.global_step:>6}  exact match: {figures}")

    def close(self) -> None:
        """Ends the bar's line, so that what is printed next has its own."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def table(self) -> str:
        """Exact match by step, a column for each set; of what was `measured`."""
        names = list(self.measured[-1][1])
        widths = [max(len(name), 5) for name in names]
        lines = ["  step  " + "  ".join(name.rjust(width) for name, width in zip(names, widths, strict=True))]
        for step, exact in self.measured:
            cells = (f"{exact[name]:.3f}".rjust(width) for name, width in zip(names, widths, strict=True))
            lines.append(f"{step:>6}  " + "  ".join(cells))
        return "\n".join(lines)


class SaveAndMeasure(TrainerCallback):
    """Saves after the steps in `save_at` too, and measures exact match at every checkpoint."""

    def __init__(self, save_at: set[int], measure: bool) -> None:
        self.save_at, self.measure = save_at, measure

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        state.compute_steps(args, state.max_steps)  # a resume would keep the checkpoint's logging_steps and save_steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_save |= state.global_step in self.save_at
        control.should_evaluate |= control.should_save and self.measure

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_evaluate |= control.should_save and self.measure


STOPPING = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT")
"""What schedulers send before they end a job, a closed terminal, and Ctrl-C; a system may lack some of them."""


class StopOnSignal(TrainerCallback):
    """On a signal of `STOPPING` the step under way is finished, a checkpoint saved, the run ended.

    With several processes all of them stop after the same step, as soon as one has had a signal. A signal that the
    process was started to ignore, as `nohup` does with SIGHUP, stays ignored.
    """

    def __init__(self) -> None:
        self.received = 0
        """The signal's number, once all processes know, and stop."""
        self._signalled = 0
        self._previous: dict[int, Any] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for signum in (getattr(signal, name) for name in STOPPING if hasattr(signal, name)):
            if signal.getsignal(signum) != signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._receive)

    def close(self) -> None:
        """Gives the signals back their meaning, however training ended: a child process would inherit ours."""
        for signum, previous in self._previous.items():
            signal.signal(signum, signal.SIG_DFL if previous is None else previous)
        self._previous.clear()

    def _receive(self, signum: int, frame: Any) -> None:
        self._signalled = self._signalled or signum

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.received = self._signalled
        if args.world_size > 1:
            highest = torch.tensor(self._signalled, device=args.device)
            dist.all_reduce(highest, op=dist.ReduceOp.MAX)
            self.received = int(highest.item())
        if self.received:
            if state.is_world_process_zero:  # a launcher may be gone, and the shell back, before it is saved
                name = signal.Signals(self.received).name
                tqdm.write(f"{name}: saving {args.output_dir}/checkpoint-{state.global_step} ...")
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
