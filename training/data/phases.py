"""Which rows each optimizer step takes: a pure function of the step, so that a run continues exactly where it stopped.

A run is a list of phases, one after another; `train_data` and `max_steps` are the short form of a single one. A phase
goes through its rows epoch by epoch, each epoch in an order of its own that `seed` decides. Where its sets have
weights, an epoch takes its share of each, and goes on in every set where the epoch before stopped, so that in the long
run all rows of a set come equally often.

A step takes `accumulate` micro-batches of `batch_size` rows on each process; processes take turns at micro-batches.
Where an epoch ends in the middle of a turn, several processes fill theirs up from the epoch's beginning, so that all
have the same number of rows; a single process has fewer. The last step of an epoch may have fewer micro-batches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from nim_dataset.errors import UserError

ORDERS = ("random", "sequential", "group_by_length")


@dataclass(frozen=True)
class SetRows:
    """Where the rows of a set lie among all rows of a run."""

    first: int
    rows: int


@dataclass(frozen=True)
class Batching:
    """How the rows of a phase become micro-batches."""

    sets: tuple[SetRows, ...]
    batch_size: int
    accumulate: int
    processes: int
    seed: int
    weights: tuple[float, ...] = ()
    """The share of each set; none: an epoch has all rows of all sets."""
    all_exhausted: bool = False
    """With weights: an epoch ends when the last set is used up, and not when the first one is."""
    order: str = "random"
    """One of `ORDERS`."""
    drop_last: bool = False
    """Whether rows that fill no micro-batch on every process are left out."""
    lengths: tuple[int, ...] = ()
    """Tokens of each row of the run, for `group_by_length`."""

    @cached_property
    def quotas(self) -> tuple[int, ...]:
        """Rows of an epoch, by set."""
        if not self.weights:
            return tuple(each.rows for each in self.sets)
        shares = [weight / sum(self.weights) for weight in self.weights]
        passes = [each.rows / share for each, share in zip(self.sets, shares, strict=True)]
        total = max(passes) if self.all_exhausted else min(passes)
        return tuple(max(1, round(share * total)) for share in shares)

    @cached_property
    def rows(self) -> int:
        """Of an epoch."""
        return sum(self.quotas)

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


@lru_cache(maxsize=2)
def order_of(batching: Batching, epoch: int) -> Sequence[int]:
    """The row numbers that `epoch` takes, in its order."""
    rows_N = np.concatenate([_taken(batching, place, epoch) for place in range(len(batching.sets))])
    if batching.order == "sequential":
        if batching.weights:  # sets take turns, each spread evenly over the epoch
            spread_N = np.concatenate([(np.arange(quota) + 0.5) / quota for quota in batching.quotas])
            rows_N = rows_N[np.argsort(spread_N, kind="stable")]
        taken: list[int] = rows_N.tolist()
        return taken
    generator = torch.Generator().manual_seed(batching.seed + epoch)
    if batching.order == "group_by_length":
        group = batching.batch_size * batching.accumulate
        lengths = np.asarray(batching.lengths)[rows_N].tolist()
        places = get_length_grouped_indices(lengths, group, generator=generator)
    else:
        places = torch.randperm(len(rows_N), generator=generator).numpy()
    permutation: list[int] = rows_N[places].tolist()
    return permutation


def _taken(batching: Batching, place: int, epoch: int) -> np.ndarray:
    """The rows of one set that an epoch has; of a set with a share, the next ones in an order that each pass over the
    set has for itself."""
    of_set, quota = batching.sets[place], batching.quotas[place]
    if not batching.weights:
        return np.arange(of_set.first, of_set.first + of_set.rows)
    start = epoch * quota
    passes = range(start // of_set.rows, (start + quota - 1) // of_set.rows + 1)
    orders = [np.random.default_rng([batching.seed, place, each]).permutation(of_set.rows) for each in passes]
    begin = start - passes[0] * of_set.rows
    return of_set.first + np.concatenate(orders)[begin : begin + quota]


def rows_of_step(phases: Sequence[PhaseRows], step: int, process: int) -> list[list[int]]:
    """The row numbers of each micro-batch that `process` takes at `step` (from 0) of the run."""
    place, step = phase_at([phase.steps for phase in phases], step)
    batching = phases[place].batching
    epoch, step = divmod(step, batching.steps)
    order = order_of(batching, epoch)
    first = step * batching.accumulate
    turns = range(first, min(first + batching.accumulate, batching.micro_batches))
    return [_micro_batch(batching, order, turn, process) for turn in turns]


def phase_at(lengths: Sequence[int], step: int) -> tuple[int, int]:
    """Which phase `step` (from 0) of the run belongs to, and which of its steps that is; the last has no end."""
    for place, steps in enumerate(lengths[:-1]):
        if step < steps:
            return place, step
        step -= steps
    return len(lengths) - 1, step


def _micro_batch(batching: Batching, order: Sequence[int], turn: int, process: int) -> list[int]:
    start = (turn * batching.processes + process) * batching.batch_size
    end = start + batching.batch_size
    if batching.processes == 1:
        end = min(end, batching.rows)
    return [order[place % batching.rows] for place in range(start, end)]


class MicroBatches(Sampler[list[tuple[int, int]]]):
    """The micro-batches of one epoch on one process, as a `DataLoader` takes them: each row with the step (from 0) that
    it is of. `set_epoch` chooses the epoch.

    The epochs are those of the phase; several phases are a single epoch, which the Trainer cuts into steps of
    `accumulate` micro-batches: raises `UserError` where a step of theirs has fewer. `now` gives the phases as they are
    when a step begins, where a phase may end before its time.
    """

    def __init__(
        self, phases: Sequence[PhaseRows], process: int, now: Callable[[], Sequence[PhaseRows]] | None = None
    ) -> None:
        self.process, self.epoch = process, 0
        self.now = now or (lambda: phases)
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

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first = self.epoch * self.steps
        for step in range(first, first + self.steps):
            for rows in rows_of_step(self.now(), step, self.process):
                yield [(row, step) for row in rows]
