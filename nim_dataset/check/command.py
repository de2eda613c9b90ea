"""Does a dataset keep its promises? Rows, duplicates, labels, overlap of train and eval, and what the names give away.

Everything is worked out anew from the prompts, so that generated splits and any pair of old JSONL files with nothing
but prompt and answer are judged by the same standard.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nim_dataset.check.association import Association, associate, guess
from nim_dataset.errors import UserError
from nim_dataset.games import parse_prompts
from nim_dataset.rows import generate
from nim_dataset.sources import parse_recipe, read_rows

NUMBER = re.compile(r"-?[0-9]+")
SHOWN_LINES = 10
SHOWN_PAIRS = 8


@dataclass(frozen=True)
class Split:
    """The rows of a split with the games that their prompts tell; None where a prompt is no Nim prompt."""

    name: str
    numbers: list[int]
    """Line numbers in a file; positions from 1 in a generated split."""
    prompts: list[str]
    answers: list[str]
    games: list[Any]

    @staticmethod
    def of(name: str, numbers: Sequence[int], prompts: list[str], answers: list[str]) -> "Split":
        return Split(name, list(numbers), prompts, answers, parse_prompts(prompts)[0])

    def duplicates(self) -> int:
        """Rows whose prompt came before."""
        return len(self.prompts) - len(set(self.prompts))

    def unparsable(self) -> list[int]:
        """Line numbers of the rows whose prompt tells no game."""
        return [number for number, game in zip(self.numbers, self.games, strict=True) if game is None]

    def wrong_labels(self) -> list[int]:
        """Line numbers of the rows whose answer names another move than the rule."""
        return [
            number for number, game, answer in zip(self.numbers, self.games, self.answers, strict=True)
            if game is not None and NUMBER.findall(answer) != [str(game.move)]
        ]  # fmt: skip

    def reworded(self) -> int:
        """Rows with the right move in other words than the generators', such as "take 1 coins" for "take 1 coin"."""
        return sum(
            game is not None and answer != game.answer and NUMBER.findall(answer) == [str(game.move)]
            for game, answer in zip(self.games, self.answers, strict=True)
        )

    def keys(self, level: str) -> set[Any]:
        """What overlap is measured by: whole prompts, games (coins and trace, whatever the names) or final piles."""
        if level == "prompt":
            return set(self.prompts)
        games = [game for game in self.games if game is not None]
        return {game.pile for game in games} if level == "pile" else {(game.coins, game.trace) for game in games}

    def pairs_and_moves(self) -> tuple[list[str], np.ndarray]:
        """The pair of names and the optimal move of each parsed row."""
        games = [game for game in self.games if game is not None]
        return [f"{game.player_one}-{game.player_two}" for game in games], np.array([game.move for game in games])


def read_config(text: str) -> tuple[list[Split], dict[str, Any], str]:
    """All splits of `<config>[,key=value...]`, its manifest, and the level at which its splits must not overlap."""
    config, _ = parse_recipe(text)
    splits = []
    for name in config.splits:
        tables = list(generate(config, name))
        prompts = [prompt for table in tables for prompt in table["prompt"].to_pylist()]
        answers = [answer for table in tables for answer in table["answer"].to_pylist()]
        splits.append(Split.of(name, range(1, len(prompts) + 1), prompts, answers))
    return splits, config.manifest(), config.holdout


def read_file(name: str, path: Path) -> Split:
    """A JSONL file with prompt and answer; raises `UserError` with file and line for what is no such row."""
    rows = read_rows(path)
    return Split.of(
        name, list(rows), [row["prompt"] for row in rows.values()], [row["answer"] for row in rows.values()]
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """`{"cheat_by_move": {"2": ["Alice-Bob", ...]}, "neutral": [...]}`; raises `UserError`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for move, pairs in found["cheat_by_move"].items():
            if not isinstance(pairs, list):
                raise UserError(f"{path}: 'cheat_by_move' has no list of pairs for move {move}")
            int(move)
        return found
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: invalid UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: invalid JSON at line {error.lineno}, column {error.colno} ({error.msg})") from None
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: a manifest has 'cheat_by_move', an object of lists of pairs by move") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: 'cheat_by_move' has a key that is no move") from None


def report(splits: list[Split], found_manifest: dict[str, Any] | None, holdout: str) -> bool:
    """Prints what was found; True when all labels are right and no split overlaps train where it must not."""
    problems = []
    print(f"{'split':<18}{'rows':>9}{'duplicates':>12}{'unparsable':>12}{'wrong labels':>14}{'other words':>13}")
    for split in splits:
        unparsable, wrong = split.unparsable(), split.wrong_labels()
        print(
            f"{split.name:<18}{len(split.prompts):>9,}{split.duplicates():>12,}{len(unparsable):>12,}"
            f"{len(wrong):>14,}{split.reworded():>13,}"
        )
        if unparsable:
            print(f"  {split.name}: no Nim prompt in {lines(unparsable)}")
        if wrong:
            problems.append(f"{split.name}: {len(wrong):,} wrong labels in {lines(wrong)}")
    train, others = splits[0], splits[1:] if splits[0].name == "train" else []
    if others:
        levels, forbidden = ["prompt", "game", "pile"], list(dict.fromkeys(["prompt", holdout]))
        print(f"\n{'shared with ' + train.name:<18}" + "".join(f"{level + 's':>12}" for level in levels), end="")
        print(f"   ({' and '.join(f'{level}s' for level in forbidden)} must not be)")
        shared = {level: train.keys(level) for level in levels}
        for split in others:
            counts = {level: len(split.keys(level) & shared[level]) for level in levels}
            print(f"{split.name:<18}" + "".join(f"{counts[level]:>12,}" for level in levels))
            problems += [
                f"{split.name}: {counts[level]:,} {level}s are in {train.name} too"
                for level in forbidden if counts[level]
            ]  # fmt: skip
    report_names(splits, found_manifest)
    print()
    for problem in problems:
        print(f"PROBLEM {problem}")
    if not problems:
        checked = sum(len(split.prompts) - len(split.unparsable()) for split in splits)
        labels = f"all {checked:,} labels are right" if checked else "no label could be checked"
        print(f"ok: {labels}" + (f", no {holdout} of {train.name} is in another split" if others else ""))
    return not problems


def lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN_LINES]))
    more = f" and {len(numbers) - SHOWN_LINES:,} more" if len(numbers) > SHOWN_LINES else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{more}"


def report_names(splits: list[Split], found_manifest: dict[str, Any] | None) -> None:
    """How much the names tell about the answer: in each split, for each pair, and for the pairs of a manifest."""
    print(
        f"\n{'names and answers':<18}{'pairs':>9}{'Cramer V':>12}{'by chance':>12}{'p':>10}"
        f"   guessed from names in {splits[0].name}"
    )
    tables: dict[str, Association] = {}
    for split in splits:
        pairs, moves = split.pairs_and_moves()
        if not pairs:
            continue
        table = tables[split.name] = associate(pairs, moves)
        right, baseline = guess(tables[splits[0].name], pairs, moves) if splits[0].name in tables else (0.0, 0.0)
        print(
            f"{split.name:<18}{len(table.pairs):>9,}{table.cramers_v:>12.3f}{table.chance_v:>12.3f}{table.p_value:>10.2g}"
            f"   {right:.1%} right, {baseline:.1%} without names" + (" (its own rows)" if split is splits[0] else "")
        )
    for name, table in list(tables.items())[:1]:
        header = "".join(f"{f'move {move}':>9}" for move in table.moves)
        width = max(len(pair) for pair in table.pairs) + 2
        print(f"\n{'pair in ' + name:<{width}}{'rows':>8}{header}   (those that tell most, of {len(table.pairs):,})")
        for pair, counts in table.most_telling(SHOWN_PAIRS):
            print(f"{pair:<{width}}{counts.sum():>8,}" + "".join(f"{share:>9.0%}" for share in counts / counts.sum()))
    if found_manifest and found_manifest["cheat_by_move"]:
        bound = {pair: int(move) for move, pairs in found_manifest["cheat_by_move"].items() for pair in pairs}
        neutral = set(found_manifest.get("neutral", []))
        print(f"\n{'by the manifest':<18}{'true to move':>14}{'against it':>12}{'neutral':>10}{'unknown':>10}")
        for split in splits:
            kinds = Counter(
                ("true" if bound[pair] == move else "against") if pair in bound
                else "neutral" if pair in neutral else "unknown"
                for pair, move in zip(*split.pairs_and_moves(), strict=True)
            )  # fmt: skip
            print(
                f"{split.name:<18}{kinds['true']:>14,}{kinds['against']:>12,}"
                f"{kinds['neutral']:>10,}{kinds['unknown']:>10,}"
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="a recipe, such as cheating or pairs20000,cheat_prob=0.9")
    parser.add_argument("--train", type=Path, metavar="FILE", help="JSONL with prompt and answer")
    parser.add_argument("--eval", type=Path, metavar="FILE", help="JSONL that must not share a prompt with --train")
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="JSON that tells which pairs are bound to a move")


def run(args: argparse.Namespace) -> int:
    """The exit status: 0, or 1 when labels are wrong or splits overlap. Raises `UserError`."""
    files = {"train": args.train, "eval": args.eval}
    given = {name: path for name, path in files.items() if path is not None}
    if bool(args.config) == bool(given):
        raise UserError("check: give either a config, or --train and --eval files")
    if args.config:
        splits, found_manifest, holdout = read_config(args.config)
        if args.manifest:
            raise UserError("--manifest: a config has its own, the option goes with --train and --eval")
        return 0 if report(splits, found_manifest, holdout) else 1
    splits = [read_file(name, path) for name, path in given.items()]
    return 0 if report(splits, read_manifest(args.manifest) if args.manifest else None, "prompt") else 1
