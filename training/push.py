"""`python -m training.push runs/NAME --repo-id USER/NAME`: a finished run as a model on the Hub.

With `--checkpoints` each `checkpoint-N` becomes a branch `step-N`, which `evaluation/sweep.py` can score.
"""

from evaluation.process.extras import needs

if __name__ == "__main__":
    needs("train")

import argparse
from pathlib import Path

from nim_dataset.errors import exit_on_user_error
from nim_dataset.hub.access import OVERWRITE_CARD
from nim_dataset.hub.patience import exit_on_interrupt
from training.hub.publish import push_run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.push", description="Publish a finished run on the Hub.")
    parser.add_argument("run", type=Path, metavar="runs/NAME", help="the run's folder")
    parser.add_argument("--repo-id", required=True, metavar="USER/NAME", help="the model repository on the Hub")
    parser.add_argument("--private", action="store_true", help="create the repository as private (default: public)")
    parser.add_argument("--checkpoints", action="store_true", help="also push each checkpoint-N, as a branch step-N")
    parser.add_argument("--report", type=Path, metavar="reports/NAME", help="take the figure from this report")
    parser.add_argument(
        "--dataset-id", metavar="USER/NAME", help="a dataset on the Hub with the run's rows: results are linked to it"
    )
    parser.add_argument("--overwrite-card", action="store_true", help=OVERWRITE_CARD)
    args = parser.parse_args()
    with exit_on_user_error(), exit_on_interrupt():
        url = push_run(
            args.run,
            args.repo_id,
            private=args.private,
            checkpoints=args.checkpoints,
            report=args.report,
            dataset_id=args.dataset_id,
            overwrite_card=args.overwrite_card,
        )
        print(f"{url} is up to date")


if __name__ == "__main__":
    main()
