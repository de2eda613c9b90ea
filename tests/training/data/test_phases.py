"""The rows of each step: those that accelerate's samplers would give, on every process, from the step alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
from torch.utils.data import BatchSampler, RandomSampler

from nim_dataset.errors import UserError
from training.config import TrainConfig
from training.data.phase import Phase
from training.data.phases import Batching, MicroBatches, PhaseRows, SetRows, rows_of_step
from training.trainer import AnchoredTrainer


def joined(rows: int, *args: Any, first: int = 0, **kwargs: Any) -> Batching:
    """A phase of one set, whose rows begin at `first`."""
    return Batching((SetRows(first, rows),), *args, **kwargs)


def one(batching: Batching) -> list[PhaseRows]:
    return [PhaseRows(batching, -1)]


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
    batching = joined(rows, 4, accumulate, processes, seed=3, drop_last=drop_last)
    if not batching.steps:
        pytest.skip("all rows are dropped, which train.py refuses")
    for process in range(processes):
        expected = as_accelerate_does(batching, process, epochs=3)
        found = [batch for step in range(3 * batching.steps) for batch in rows_of_step(one(batching), step, process)]
        assert found == expected
        assert len(MicroBatches(one(batching), process)) == len(expected) / 3


def test_a_step_is_the_same_whatever_was_asked_before() -> None:
    batching = joined(50, 4, 2, 2, seed=0)
    forwards = [rows_of_step(one(batching), step, 1) for step in range(30)]
    assert [rows_of_step(one(batching), step, 1) for step in reversed(range(30))] == forwards[::-1]
    assert sorted({row for batches in forwards[:7] for batch in batches for row in batch}) != list(range(50))
    both = {
        row for step in range(7) for process in (0, 1) for b in rows_of_step(one(batching), step, process) for row in b
    }
    assert both == set(range(50))


def test_rows_come_in_order_or_grouped_by_length_where_that_is_asked() -> None:
    assert rows_of_step(one(joined(6, 4, 1, 1, seed=0, order="sequential")), 1, 0) == [[4, 5]]
    lengths = tuple(torch.randint(1, 90, (200,), generator=torch.Generator().manual_seed(0)).tolist())
    grouped = joined(200, 10, 1, 1, seed=0, order="group_by_length", lengths=lengths)
    steps = [rows_of_step(one(grouped), step, 0)[0] for step in range(grouped.steps)]
    assert sorted(row for step in steps for row in step) == list(range(200))
    spread = [max(lengths[row] for row in step) - min(lengths[row] for row in step) for step in steps]
    assert sum(spread) / len(spread) < 20  # of 89


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_phases_follow_each_other_each_with_its_own_rows_and_epochs(processes: int, accumulate: int) -> None:
    rows, first_rows = (50, 23, 40), (0, 50, 73)
    batchings = [joined(n, 4, accumulate, processes, seed=3) for n in rows]
    lengths = (batchings[0].steps + 1, 2 * batchings[1].steps, 5)  # the first ends in an epoch
    placed = [
        joined(n, 4, accumulate, processes, seed=3, first=first) for n, first in zip(rows, first_rows, strict=True)
    ]
    phases = [PhaseRows(batching, steps) for batching, steps in zip(placed, lengths, strict=True)]
    for n in (2, 3):
        step = 0
        for place in range(n):
            for own in range(lengths[place] + (2 if place == n - 1 else 0)):  # the last one goes on
                for process in range(processes):
                    alone = rows_of_step(one(batchings[place]), own, process)
                    shifted = [[first_rows[place] + row for row in batch] for batch in alone]
                    assert rows_of_step(phases[:n], step, process) == shifted
                step += 1
    assert rows_of_step(phases, lengths[0], 0) != rows_of_step(phases, lengths[0] - 1, 0)
    assert all(50 <= row < 73 for batch in rows_of_step(phases, lengths[0], 0) for row in batch)


def taken(batching: Batching, epochs: int) -> list[list[int]]:
    """The rows of each epoch."""
    steps = batching.steps
    return [
        [
            row
            for step in range(epoch * steps, (epoch + 1) * steps)
            for b in rows_of_step(one(batching), step, 0)
            for row in b
        ]
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize("order", ["random", "sequential", "group_by_length"])
def test_a_mixture_has_its_shares_in_every_epoch_and_all_rows_of_a_set_equally_often(order: str) -> None:
    sets = (SetRows(0, 100), SetRows(100, 30))
    options: Any = {"seed": 1, "weights": (4.0, 1.0), "order": order, "lengths": tuple(range(130))}
    epochs = taken(Batching(sets, 5, 1, 1, **options), 6)
    for rows in epochs:
        assert len(rows) == 125
        assert sum(row >= 100 for row in rows) == 25  # 100 rows are four fifths of 125
        assert sorted(row for row in rows if row < 100) == list(range(100))
    small = [row for rows in epochs for row in rows if row >= 100]
    assert {small.count(row) for row in range(100, 130)} == {5}  # 6 x 25 draws from 30 rows
    if order != "group_by_length":
        batches = rows_of_step(one(Batching(sets, 25, 1, 1, **options)), 0, 0)
        assert 1 <= sum(row >= 100 for row in batches[0]) <= 10  # of 25: mixed within a batch

    longer = Batching(sets, 5, 1, 1, **options | {"weights": (1.0, 1.0)}, all_exhausted=True)
    (rows,) = taken(longer, 1)
    assert sorted(row for row in rows if row < 100) == list(range(100))
    assert len(rows) == 200
    assert {rows.count(row) for row in range(100, 130)} == {3, 4}


def test_a_loader_takes_several_phases_as_one_epoch() -> None:
    phases = [PhaseRows(joined(24, 4, 3, 1, seed=0), 3), PhaseRows(joined(12, 4, 3, 1, seed=0, first=24), 2)]
    micro_batches = MicroBatches(phases, 0)
    found = list(micro_batches)
    assert len(found) == len(micro_batches) == 15
    steps = [(step, rows) for step in range(5) for rows in rows_of_step(phases, step, 0)]
    assert found == [[(row, step) for row in rows] for step, rows in steps]
    with pytest.raises(UserError, match=r"gradient_accumulation_steps: .* 3 must divide .* \(6, 4\)"):
        MicroBatches([phases[0], PhaseRows(joined(16, 4, 3, 1, seed=0, first=24), 2)], 0)


def test_a_trainer_goes_through_phases_and_continues_in_any(data: Any, tmp_path: Path) -> None:
    def train(folder: Path, steps: int, checkpoint: Path | None = None) -> dict[str, torch.Tensor]:
        args = TrainConfig(
            output_dir=str(folder),
            max_steps=steps,
            save_steps=1,
            per_device_train_batch_size=8,
            lr_scheduler_type="linear",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = AnchoredTrainer(
            model=data.model("gpt_neox"),
            args=args,
            train_dataset=data.encoded,
            processing_class=data.tokenizer,
            phases=[
                (Phase(("one",), steps=2), (SetRows(0, 40),)),
                (Phase(("two",), steps=4, anew=True), (SetRows(40, 600),)),
            ],
        )
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return trainer.model.state_dict()

    whole = train(tmp_path / "whole", 6)
    for step in (1, 2, 4):
        continued = train(tmp_path / f"from_{step}", 6, tmp_path / "whole" / f"checkpoint-{step}")
        assert all(torch.equal(weight, whole[name]) for name, weight in continued.items())
