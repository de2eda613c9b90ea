"""The command line: `python -m nim_dataset list | show | export | check | push`."""

import argparse
import signal
import sys
from importlib import import_module
from pathlib import Path

from nim_dataset.check import command as check
from nim_dataset.config import Recipe
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.export import export
from nim_dataset.recipes import recipes
from nim_dataset.rows import generate
from nim_dataset.sources import parse_recipe


def list_recipes() -> None:
    """All recipes as one table; a cell is `-` where the recipe's game has no such thing."""
    rows = [
        {"config": name, "train": f"{config.n_train:,}", "eval": f"{config.n_eval:,}", **config.overview()}
        for name, config in recipes().items()
    ]
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    width = {heading: max(len(row.get(heading, heading)) for row in rows) for heading in headings}
    width = {heading: max(len(heading), width[heading]) for heading in headings}
    for row in (dict(zip(headings, headings, strict=True)), *rows):
        print("  ".join(row.get(heading, "-").ljust(width[heading]) for heading in headings).rstrip())


def show(config: Recipe, rows: int) -> None:
    """The first rows of each split: prompt, answer, and whether the names tell it."""
    if rows < 0:
        raise UserError(f"--rows: {rows} is below 0")
    for split in config.splits:
        print(f"=== {config.name}:{split} ({config.num_rows(split):,} rows)")
        for table in generate(config, split, 0, min(rows, config.num_rows(split))):
            for row in table.to_pylist():
                print(f"\n{row['prompt']}\n--> {row['answer']}    [{config.note(row)}]")
        print()


def export_tokenized(config: Recipe, folder: Path, model: str) -> None:
    """Writes the tokens that training sees. That takes transformers, as nothing else here: it is imported by name."""
    try:
        tokenized = import_module("training.data.tokenized")
    except ModuleNotFoundError as error:
        needed = "pip install 'nim-testbed[train]', or in a clone pip install -e '.[train]'"
        raise UserError(f"--tokenized: not installed: {error.name}; {needed}") from None
    for split, rows in tokenized.export_tokenized(config, folder, model).items():
        print(f"{tokenized.file(folder, split)}: {rows}")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m nim_dataset", description="Nim: the rule or the shortcut.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all recipes")
    shown = commands.add_parser("show", help="a few rows of each split, and what their names give away")
    exported = commands.add_parser("export", help="write JSONL files and a manifest in the original's shape")
    for command in (shown, exported):
        command.add_argument("config", help="a recipe, such as cheating or pairs20000,cheat_prob=0.9")
    shown.add_argument("--rows", type=int, default=2, help="rows of each split (default: 2)")
    exported.add_argument("--output", help="folder (default: data/<config>)")
    exported.add_argument(
        "--tokenized",
        metavar="MODEL",
        help="write Parquet files of input_ids, labels and attention_mask instead, the tokens that train.py sees with"
        " this model (tiny, a folder or a Hub id)",
    )
    check.add_arguments(
        commands.add_parser("check", help="duplicates, overlap, wrong labels, and what the names give away")
    )
    pushed = commands.add_parser("push", help="publish the data and its card on the Hugging Face Hub")
    if "push" in argv[:1]:
        from nim_dataset.hub import push_dataset  # the Hub's client is slow to import, and only needed here

        push_dataset.add_arguments(pushed)
    return parser.parse_args(argv)


def exit_on_signals() -> None:
    """Makes SIGTERM and SIGHUP an exit, by which a file that is being written is removed; `nohup` still ignores one."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def main(argv: list[str]) -> int:
    args = parse_arguments(argv)
    if args.command in ("list", "show", "check") and hasattr(signal, "SIGPIPE"):
        # `| head` may stop reading without a traceback. Not for `push`: the signal would also end it without a word,
        # and without its cleaning up, when the Hub closes a connection.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    with exit_on_user_error():
        if args.command == "list":
            list_recipes()
        elif args.command == "show":
            show(parse_recipe(args.config)[0], args.rows)
        elif args.command == "export":
            exit_on_signals()
            config = parse_recipe(args.config)[0]
            if args.output == "":
                raise UserError("--output: got '', but the name of a folder is needed")
            folder = Path("data", args.config.replace("/", "_")) if args.output is None else Path(args.output)
            if args.tokenized is not None:
                export_tokenized(config, folder, args.tokenized)
                return 0
            for split, rows in export(config, folder).items():
                print(f"{folder / f'{split}.jsonl'}: {rows:,} rows")
            print(folder / "manifest.json")
        elif args.command == "check":
            return check.run(args)
        else:
            from nim_dataset.hub import push_dataset

            push_dataset.run(args)
    return 0


def command() -> None:
    """`nim-dataset`, which is `python -m nim_dataset`."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    command()
