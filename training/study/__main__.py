"""Runs a study: every condition x seed that is missing, then their sweeps, then the page that answers its question.

    python -m training.study configs/studies/shortcut.yaml [--scale smoke] [--workers 2] [--seeds 0 1] [--only NAME ...]

Killed and started again, it goes on with what is missing.
"""

from evaluation.process.extras import needs

if __name__ == "__main__":
    needs("cluster")

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from evaluation.sweep_options import Parser
from nim_dataset.errors import UserError, exit_on_user_error
from training.study.check import check_options
from training.study.description import DEFAULT_SCALE, SMOKE, SMOKE_STEPS, Study, read_study
from training.study.launch import Cluster, launch, levels
from training.study.page import write_page
from training.study.progress import Display, table
from training.study.runs import REPORTS, RUNS, StudyRun, runs_of, stale_folders


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m training.study", description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("study", metavar="FILE", help="the study, such as configs/studies/shortcut.yaml")
    scale = f"which of the study's scales to run at (default: {DEFAULT_SCALE})"
    parser.add_argument("--scale", default=DEFAULT_SCALE, metavar="NAME", help=scale)
    seeds = "these seeds instead of the study's"
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="N", help=seeds)
    only = "these conditions alone, and the donors that they start from"
    parser.add_argument("--only", nargs="+", default=[], metavar="CONDITION", help=only)
    workers = "runs at a time (default: 1); on this machine they share the cores, on a cluster it limits an array job"
    parser.add_argument("--workers", type=int, default=1, metavar="N", help=workers)
    cluster = "where the runs go, through submitit: this machine, or array jobs (default: local)"
    parser.add_argument("--cluster", choices=("local", "slurm"), default="local", help=cluster)
    parser.add_argument("--partition", metavar="NAME", help="the partition of --cluster slurm")
    slurm = "other options of sbatch, such as account=me time=600 gpus_per_node=1"
    parser.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help=slurm)
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and on slurm the sbatch scripts")
    parser.add_argument("--status", action="store_true", help="show how far the runs are, and exit")
    return parser.parse(argv)


def main(argv: Sequence[str]) -> int:
    """Runs the study that `argv` names; returns 1 where some run failed. Raises `UserError`."""
    args = parse_args(argv)
    if args.workers < 1:
        raise UserError(f"--workers: {args.workers} is out of range; it must be at least 1")
    cluster = Cluster(args.cluster, args.workers, slurm_options(args))
    whole = read_study(Path(args.study), args.scale)
    study = whole.choose(args.only, args.seeds)
    runs = runs_of(study)
    if args.status:
        Console().print(table(runs))
        return 0
    check_options(runs_of(study.choose([], study.seeds[:1])))
    if args.dry_run:
        dry_run(study, runs, cluster)
        return 0
    if args.scale == SMOKE:
        print(f"scale {SMOKE}: {SMOKE_STEPS} steps a run, to see that everything runs; what it finds is no result")
    print(f"{study.question}\nruns: {len(runs)}, in {RUNS / study.folder}/, the page in {REPORTS / study.folder}/")
    for folder in stale_folders(whole, runs_of(whole)):
        print(f"{folder} is of other options than the study has now; it is left alone")
    missing = [run for run in runs if not run.is_done()]
    for run in missing:
        run.beside(".failed").unlink(missing_ok=True)
    if missing:
        with Display(runs) as display:
            launch(study.folder, missing, cluster, display.tick)
    return conclude(whole, runs)


def conclude(study: Study, runs: Sequence[StudyRun]) -> int:
    """Says which of `runs` failed, writes the page of all of the study that is there; returns the exit status."""
    for run in runs:
        if (why := run.failure()) is not None:
            print(f"\nfailed: {run.name}\n{why}", file=sys.stderr)
        elif not run.is_done():
            print(f"\nnot started: {run.name}, since its donor failed", file=sys.stderr)
    planned = runs_of(study)
    planned += [run for run in runs if run.seed not in study.seeds]
    if done := [run for run in planned if run.is_done()]:
        page, answer = write_page(study, done, len(planned))
        print(f"\n{answer}\nresults  {page.with_name('results.csv')}\npage     {page}")
    return 0 if all(run.is_done() for run in runs) else 1


def slurm_options(args: argparse.Namespace) -> dict[str, str]:
    """What `--partition` and `--slurm` say; raises `UserError`."""
    given = {"partition": args.partition} if args.partition else {}
    for option in args.slurm:
        key, equals, value = option.partition("=")
        if not (key and equals):
            raise UserError(f"--slurm: '{option}' is not KEY=VALUE, such as account=me")
        given[key] = value
    if given and args.cluster != "slurm":
        raise UserError("--partition and --slurm: they are for --cluster slurm")
    return given


def dry_run(study: Study, runs: Sequence[StudyRun], cluster: Cluster) -> None:
    """Prints what would run, each line as it can be pasted; the YAML files that they read are written."""
    for level in levels(runs):
        for run in level:
            run.write_config()
            print(f"# {run.name}{' (done)' if run.is_done() else ''}")
            for command in run.commands(cluster.threads):
                print(shlex.join(command))
        if cluster.name == "slurm":
            print(cluster.script(study.folder, len(level)))


if __name__ == "__main__":
    with exit_on_user_error():
        try:
            sys.exit(main(sys.argv[1:]))
        except KeyboardInterrupt:
            print("\nstopped: the same command goes on with what is missing", file=sys.stderr)
            os._exit(130)
