"""Which rows each optimizer step takes: a pure function of the step, so that a run continues exactly where it stopped.

A run is a list of phases, one after another; for now a command describes one, by `train_data`, `train_weights` and
`max_steps`. A phase goes through its rows epoch by epoch, each epoch in an order of its own that `seed` decides.

A step takes `accumulate` micro-batches of `batch_size` rows on each process; processes take turns at micro-batches.
Where an epoch ends in the middle of a turn, several processes fill theirs up from the epoch's beginning, so that all
have the same number of rows; a single process has fewer. The last step of an epoch may have fewer micro-batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from nim_dataset.errors import UserError

ORDERS = ("random", "sequential", "group_by_length")


@dataclass(frozen=True)
class Phase:
    """A part of a run that draws from the same sets."""

    data: tuple[str, ...]
    """Recipes or JSONL files, as `train_data` names them."""
    weights: tuple[float, ...]
    """The share of rows that each set gives; none: all are joined whole."""
    steps: int
    """Optimizer steps; below 1: as many as `num_train_epochs` passes take."""
    stopping_strategy: str = "first_exhausted"
    """When one pass over a weighted mixture ends, as `datasets.interleave_datasets` takes it."""


@dataclass(frozen=True)
class Batching:
    """How the rows of a phase become micro-batches."""

    rows: int
    batch_size: int
    accumulate: int
    processes: int
    seed: int
    order: str = "random"
    """One of `ORDERS`."""
    drop_last: bool = False
    """Whether rows that fill no micro-batch on every process are left out."""
    lengths: tuple[int, ...] = ()
    """Tokens of each row, for `group_by_length`."""

    @property
    def micro_batches(self) -> int:
        """Of an epoch, on each process."""
        if self.drop_last:
            return self.rows // self.batch_size // self.processes
        return -(-self.rows // (self.batch_size * self.processes))

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.micro_batches // self.accumulate)

    def micro_batches_until(self, step: int) -> int:
        """Those of the steps before `step`, on each process."""
        epochs, steps = divmod(step, self.steps)
        return epochs * self.micro_batches + min(steps * self.accumulate, self.micro_batches)


@dataclass(frozen=True)
class PhaseRows:
    """The rows of a phase, and how long they are drawn from."""

    batching: Batching
    steps: int
    """Optimizer steps; without meaning in the last phase, which goes on for as long as the run does."""
    first_row: int = 0
    """Where they begin among the rows of all phases."""


@lru_cache(maxsize=2)
def order_of(batching: Batching, epoch: int) -> Sequence[int]:
    """All row numbers, in the order in which `epoch` takes them."""
    if batching.order == "sequential":
        return range(batching.rows)
    generator = torch.Generator().manual_seed(batching.seed + epoch)
    if batching.order == "group_by_length":
        group = batching.batch_size * batching.accumulate
        indices: list[int] = get_length_grouped_indices(list(batching.lengths), group, generator=generator)
        return indices
    permutation: list[int] = torch.randperm(batching.rows, generator=generator).tolist()
    return permutation


def rows_of_step(phases: Sequence[PhaseRows], step: int, process: int) -> list[list[int]]:
    """The row numbers of each micro-batch that `process` takes at `step` (from 0) of the run."""
    phase, step = _phase_at(phases, step)
    batching = phase.batching
    epoch, step = divmod(step, batching.steps)
    order = order_of(batching, epoch)
    first = step * batching.accumulate
    turns = range(first, min(first + batching.accumulate, batching.micro_batches))
    return [[phase.first_row + row for row in _micro_batch(batching, order, turn, process)] for turn in turns]


def _phase_at(phases: Sequence[PhaseRows], step: int) -> tuple[PhaseRows, int]:
    """The phase that `step` of the run belongs to, and which of its steps that is."""
    for phase in phases[:-1]:
        if step < phase.steps:
            return phase, step
        step -= phase.steps
    return phases[-1], step


def _micro_batch(batching: Batching, order: Sequence[int], turn: int, process: int) -> list[int]:
    start = (turn * batching.processes + process) * batching.batch_size
    end = start + batching.batch_size
    if batching.processes == 1:
        end = min(end, batching.rows)
    return [order[place % batching.rows] for place in range(start, end)]


class MicroBatches(Sampler[list[int]]):
    """The micro-batches of one epoch on one process, as a `DataLoader` takes them; `set_epoch` chooses the epoch.

    The epochs are those of the phase; several phases are a single epoch, which the Trainer cuts into steps of
    `accumulate` micro-batches: raises `UserError` where a step of theirs has fewer.
    """

    def __init__(self, phases: Sequence[PhaseRows], process: int) -> None:
        self.phases, self.process, self.epoch = phases, process, 0
        first = phases[0].batching
        self.batch_size, self.drop_last = first.batch_size, first.drop_last  # which accelerate asks for
        if len(phases) == 1:
            self.steps, self.micro_batches = first.steps, first.micro_batches
            return
        self.steps = sum(phase.steps for phase in phases)
        self.micro_batches = sum(phase.batching.micro_batches_until(phase.steps) for phase in phases)
        if self.micro_batches != self.steps * first.accumulate:
            raise UserError(
                f"gradient_accumulation_steps: in several phases, {first.accumulate} must divide the micro-batches of"
                f" each one's epoch ({', '.join(str(phase.batching.micro_batches) for phase in phases)})"
            )

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.micro_batches

    def __iter__(self) -> Iterator[list[int]]:
        first = self.epoch * self.steps
        for step in range(first, first + self.steps):
            yield from rows_of_step(self.phases, step, self.process)
