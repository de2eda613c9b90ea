"""`python -m nim_dataset check`: does a dataset keep its promises?

Rows, duplicates, labels, overlap of train and eval, and what the names give away. Everything is worked out anew from
the prompts, so that generated splits and any pair of old JSONL files with nothing but prompt and answer are judged by
the same standard.
"""

import argparse
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

from nim_dataset.check.findings import report
from nim_dataset.check.manifests import read_manifest, recipe_of
from nim_dataset.check.splits import generated_splits, read_file
from nim_dataset.errors import UserError
from nim_dataset.sources import parse_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="a recipe, such as cheating or pairs20000,cheat_prob=0.9")
    parser.add_argument("--train", type=Path, metavar="FILE", help="JSONL with prompt and answer")
    parser.add_argument("--eval", type=Path, metavar="FILE", help="JSONL that must not share a prompt with --train")
    parser.add_argument(
        "--allow-other", action="store_true", help="accept rows of no known game, which are not checked"
    )
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="JSON that tells which pairs are bound to a move")


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Python looks for circles of objects less often: rows are many objects without one, and the looking took a sixth
    of the time."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@rare_collections()
def run(args: argparse.Namespace) -> int:
    """The exit status: 0, or 1 when labels are wrong, splits overlap or rows cannot be checked. Raises `UserError`."""
    files = {"train": args.train, "eval": args.eval}
    given = {name: path for name, path in files.items() if path is not None}
    if bool(args.config) == bool(given):
        raise UserError("check: give either a config, or --train and --eval files")
    if args.config:
        if args.manifest:
            raise UserError("--manifest: a config has its own, the option goes with --train and --eval")
        config, _ = parse_recipe(args.config)
        return 0 if report(generated_splits(config), config.manifest(), config.holdout, args.allow_other) else 1
    manifest = read_manifest(args.manifest) if args.manifest else {}
    splits = [read_file(name, path, recipe_of(manifest)) for name, path in given.items()]
    return 0 if report(splits, manifest, "prompt", args.allow_other) else 1
