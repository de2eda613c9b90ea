"""The command line: `python -m nim_dataset list | show | export | check | push`."""

import argparse
import signal
import sys
from pathlib import Path

from nim_dataset.check import command as check
from nim_dataset.config import NimConfig
from nim_dataset.errors import UserError, exit_on_user_error
from nim_dataset.export import export
from nim_dataset.recipes import RECIPES
from nim_dataset.rows import generate
from nim_dataset.sources import parse_recipe


def list_recipes() -> None:
    print(
        f"{'config':<14}{'train':>9}{'eval':>8}{'regime':>8}  {'max_remove':<13}{'pairs':>7}{'bound':>7}  cheat_moves"
    )
    for name, config in RECIPES.items():
        regime = f"{config.n_regime:,}" if config.cheat_moves else "-"
        print(
            f"{name:<14}{config.n_train:>9,}{config.n_eval:>8,}{regime:>8}  {joined(config.max_remove):<13}"
            f"{config.total_pairs:>7,}{config.num_bound:>7,}  {joined(config.cheat_moves) or '-'}"
        )


def joined(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def show(config: NimConfig, rows: int) -> None:
    """The first rows of each split: prompt, answer, and whether the names tell it."""
    if rows < 0:
        raise UserError(f"--rows: {rows} is below 0")
    for split in config.splits:
        print(f"=== {config.name}:{split} ({config.num_rows(split):,} rows)")
        for table in generate(config, split, 0, min(rows, config.num_rows(split))):
            for row in table.to_pylist():
                bound = "names tell nothing"
                if row["cheat_move"] is not None:
                    truth = "the answer" if row["cheat_move"] == row["move"] else "a wrong move"
                    bound = f"names say {row['cheat_move']}: {truth}"
                print(f"\n{row['prompt']}\n--> {row['answer']}    [{row['pile']} coins left; {bound}]")
        print()


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m nim_dataset", description="Nim: the rule or the shortcut.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all recipes")
    shown = commands.add_parser("show", help="a few rows of each split, and what their names give away")
    exported = commands.add_parser("export", help="write JSONL files and a manifest in the original's shape")
    for command in (shown, exported):
        command.add_argument("config", help="a recipe, such as cheating or pairs20000,cheat_prob=0.9")
    shown.add_argument("--rows", type=int, default=2, help="rows of each split (default: 2)")
    exported.add_argument("--output", type=Path, help="folder (default: data/<config>)")
    check.add_arguments(
        commands.add_parser("check", help="duplicates, overlap, wrong labels, and what the names give away")
    )
    pushed = commands.add_parser("push", help="publish the data and its card on the Hugging Face Hub")
    if "push" in argv[:1]:
        from nim_dataset.hub import push  # the Hub's client is slow to import, and only needed here

        push.add_arguments(pushed)
    return parser.parse_args(argv)


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
            config = parse_recipe(args.config)[0]
            folder = args.output or Path("data") / args.config.replace("/", "_")
            for split, rows in export(config, folder).items():
                print(f"{folder / f'{split}.jsonl'}: {rows:,} rows")
            print(folder / "manifest.json")
        elif args.command == "check":
            return check.run(args)
        else:
            from nim_dataset.hub import push

            push.run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
