"""`python -m evaluation.interop lm_eval --recipe quickstart --tokenizer runs/quickstart --output FOLDER`."""

from evaluation.process.extras import needs

if __name__ == "__main__":
    needs("train")

import argparse
from pathlib import Path

from evaluation.artifacts.models import BrokenCheckpointError, load_tokenizer
from evaluation.interop.lm_eval_tasks import GROUP, write_tasks
from nim_dataset.errors import UserError, exit_on_user_error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.interop", description="Tasks for other tools.")
    commands = parser.add_subparsers(dest="command", required=True)
    tasks = commands.add_parser("lm_eval", help="write a recipe as tasks of lm-evaluation-harness")
    tasks.add_argument("--recipe", required=True, help="such as quickstart or pairs20000,cheat_prob=0.9")
    tasks.add_argument(
        "--tokenizer", required=True, help="a folder or a Hub id: it says how long answers are, and how they end"
    )
    tasks.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="lm_eval's --include_path")
    args = parser.parse_args()
    with exit_on_user_error():
        try:
            tokenizer = load_tokenizer(args.tokenizer)
        except BrokenCheckpointError as error:
            raise UserError(f"--tokenizer {args.tokenizer}: cannot be loaded ({error})") from None
        for file in write_tasks(args.recipe, tokenizer, args.output):
            print(file)
        print(f"lm_eval run --model hf --include_path {args.output} --tasks {GROUP} {GROUP}_moves --model_args ...")


if __name__ == "__main__":
    main()
