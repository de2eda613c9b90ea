"""Sends the runs of a study out through submitit: N at a time on this machine, or as array jobs on a SLURM cluster."""

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit
import torch
from submitit.slurm.slurm import _make_sbatch_string

from nim_dataset.errors import UserError
from nim_dataset.files import write_text
from training.study.runs import RUNS, StudyRun
from training.study.work import Work

POLL_SECONDS = 0.5
A_YEAR = 365 * 24 * 60
"""Minutes: the time that a local run may take. On a cluster `--slurm time=...` says it."""
SLURM_DEFAULTS = {"time": 24 * 60, "gpus_per_node": 1}


@dataclass(frozen=True)
class Cluster:
    """Where jobs run."""

    name: str
    """`local` or `slurm`."""
    workers: int
    """Runs at a time."""
    slurm: Mapping[str, str]
    """Options of sbatch, as submitit names them (`partition`, `account`, `time` in minutes, `gpus_per_node`)."""

    @property
    def threads(self) -> int:
        """CPU threads of a run: workers share this machine's cores; 0, on a cluster, takes what the job was given."""
        return max(1, len(_cores()) // self.workers) if self.name == "local" else 0

    @property
    def parameters(self) -> dict[str, Any]:
        """Those of sbatch."""
        given = {key: int(value) if value.isdigit() else value for key, value in self.slurm.items()}
        return {**SLURM_DEFAULTS, "array_parallelism": self.workers, **given}

    def executor(self, study: str) -> submitit.AutoExecutor:
        """Raises `UserError` where the cluster cannot be reached from here."""
        try:
            executor = submitit.AutoExecutor(folder=jobs_folder(study), cluster=self.name)
            executor.update_parameters(timeout_min=A_YEAR, name=study)
            if self.name == "slurm":
                executor.update_parameters(**{f"slurm_{key}": value for key, value in self.parameters.items()})
        except (RuntimeError, ValueError, NameError, TypeError, AssertionError) as error:
            raise UserError(f"--cluster {self.name}: {' '.join(str(error).split())[:300]}") from None
        return executor

    def script(self, study: str, runs: int) -> str:
        """The sbatch script of an array job of so many runs; raises `UserError` for an option that sbatch lacks."""
        command = shlex.join(["python", "-u", "-m", "submitit.core._submit", str(jobs_folder(study))])
        try:
            return _make_sbatch_string(command, jobs_folder(study), job_name=study, map_count=runs, **self.parameters)
        except TypeError as error:
            raise UserError(f"--slurm: {error}") from None


def jobs_folder(study: str) -> Path:
    """Where submitit keeps its files."""
    return RUNS / study / "jobs"


def levels(runs: Sequence[StudyRun]) -> list[list[StudyRun]]:
    """Runs in groups: each one's donor is in an earlier group, or not among `runs`."""
    depth: dict[int, int] = {}
    for run in runs:
        depth[id(run)] = depth[id(run.donor)] + 1 if id(run.donor) in depth else 0
    return [[run for run in runs if depth[id(run)] == level] for level in range(max(depth.values(), default=-1) + 1)]


def launch(study: str, runs: Sequence[StudyRun], cluster: Cluster, tick: Callable[[], None]) -> None:
    """Does `runs`, donors first, and returns when all have ended; `tick` is called again and again meanwhile.

    Which of them failed is theirs to say. A run whose donor failed is left out.
    """
    executor = cluster.executor(study)
    sent = _on_slurm(executor, study, runs) if cluster.name == "slurm" else _here(executor, runs, cluster)
    for _ in sent:
        tick()
        time.sleep(POLL_SECONDS)


def _here(executor: submitit.AutoExecutor, runs: Sequence[StudyRun], cluster: Cluster) -> Iterator[None]:
    """N at a time, each as soon as its donor is done; a GPU each, where there are some."""
    masked = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    gpus = masked if masked != [""] else [str(index) for index in range(torch.cuda.device_count())]
    waiting = list(runs)
    at_work: dict[int, tuple[StudyRun, Any]] = {}
    while waiting or at_work:
        for worker, (run, job) in list(at_work.items()):
            if job.done():
                del at_work[worker]
                _mark_ended(run, job)
        for worker in sorted(set(range(cluster.workers)) - set(at_work)):
            under_way = {id(run) for run in waiting} | {id(run) for run, _ in at_work.values()}
            waiting = [run for run in waiting if _can_start(run, under_way)]
            for run in [run for run in waiting if id(run.donor) not in under_way][:1]:
                waiting.remove(run)
                gpu = gpus[worker % len(gpus)] if gpus else None
                at_work[worker] = run, executor.submit(Work(run, cluster.threads, gpu))
        yield


def _mark_ended(run: StudyRun, job: "submitit.Job[None]") -> None:
    """A job that was killed could not say that its run failed."""
    waited_in_vain = run.donor is not None and not run.donor.is_done()
    if not run.is_done() and run.failure() is None and not waited_in_vain:
        write_text(run.beside(".failed"), f"the job ended without a word; see {job.paths.stderr}\n")


def _can_start(run: StudyRun, under_way: set[int]) -> bool:
    """Whether the run's donor is done, or may still become so."""
    return run.donor is None or id(run.donor) in under_way or run.donor.is_done()


def _on_slurm(executor: submitit.AutoExecutor, study: str, runs: Sequence[StudyRun]) -> Iterator[None]:
    """All at once, an array job for each level of donors, which waits for the level before.

    Jobs of an earlier command that are still queued or at work are not sent again.
    """
    record = jobs_folder(study) / "slurm.json"
    sent: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    jobs: dict[str, submitit.Job[None]] = {
        name: submitit.SlurmJob(jobs_folder(study), job_id) for name, job_id in sent.items()
    }
    before: set[str] = set()
    for level in levels(runs):
        new = [run for run in level if str(run.run_dir) not in jobs or jobs[str(run.run_dir)].done(force_check=True)]
        if before:
            executor.update_parameters(slurm_dependency="afterany:" + ":".join(sorted(before)))
        if new:
            with executor.batch():
                made = [executor.submit(Work(run, threads=0)) for run in new]
            jobs.update({str(run.run_dir): job for run, job in zip(new, made, strict=True)})
        before = {jobs[str(run.run_dir)].job_id.partition("_")[0] for run in level}
        write_text(record, json.dumps({name: job.job_id for name, job in jobs.items()}, indent=2) + "\n")
    mine = [jobs[str(run.run_dir)] for run in runs]
    while not all(job.done() for job in mine):
        yield
    for run, job in zip(runs, mine, strict=True):
        _mark_ended(run, job)


def _cores() -> Sequence[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
