"""The rows of each step: those that accelerate's samplers would give, on every process, from the step alone."""

from typing import Any

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
from torch.utils.data import BatchSampler, RandomSampler

from training.data.phases import Batching, MicroBatches, rows_of_step


def as_accelerate_does(batching: Batching, process: int, epochs: int) -> list[list[int]]:
    data: Any = range(batching.rows)
    sampler = SeedableRandomSampler(data, data_seed=batching.seed)
    assert isinstance(sampler, RandomSampler)
    batches: Any = BatchSampler(sampler, batching.batch_size, batching.drop_last)
    if batching.processes > 1:
        batches = BatchSamplerShard(batches, batching.processes, process)
    found = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        found += list(batches)
    return found


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("rows", [5, 12, 23, 24, 25, 40])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_one_phase_takes_the_rows_that_a_trainer_takes(
    rows: int, processes: int, accumulate: int, drop_last: bool
) -> None:
    batching = Batching(rows, 4, accumulate, processes, seed=3, drop_last=drop_last)
    if not batching.steps:
        pytest.skip("all rows are dropped, which train.py refuses")
    for process in range(processes):
        expected = as_accelerate_does(batching, process, epochs=3)
        found = [batch for step in range(3 * batching.steps) for batch in rows_of_step(batching, step, process)]
        assert found == expected
        assert len(MicroBatches(batching, process)) == len(expected) / 3


def test_a_step_is_the_same_whatever_was_asked_before() -> None:
    batching = Batching(50, 4, 2, 2, seed=0)
    forwards = [rows_of_step(batching, step, 1) for step in range(30)]
    assert [rows_of_step(batching, step, 1) for step in reversed(range(30))] == forwards[::-1]
    assert sorted({row for batches in forwards[:7] for batch in batches for row in batch}) != list(range(50))
    both = {row for step in range(7) for process in (0, 1) for b in rows_of_step(batching, step, process) for row in b}
    assert both == set(range(50))


def test_rows_come_in_order_or_grouped_by_length_where_that_is_asked() -> None:
    assert rows_of_step(Batching(6, 4, 1, 1, seed=0, order="sequential"), 1, 0) == [[4, 5]]
    lengths = tuple(torch.randint(1, 90, (200,), generator=torch.Generator().manual_seed(0)).tolist())
    grouped = Batching(200, 10, 1, 1, seed=0, order="group_by_length", lengths=lengths)
    steps = [rows_of_step(grouped, step, 0)[0] for step in range(grouped.steps)]
    assert sorted(row for step in steps for row in step) == list(range(200))
    spread = [max(lengths[row] for row in step) - min(lengths[row] for row in step) for step in steps]
    assert sum(spread) / len(spread) < 20  # of 89
