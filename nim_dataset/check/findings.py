"""What the check prints: rows, duplicates, wrong labels, overlap with train, and what the names give away."""

from collections import Counter
from typing import Any

from nim_dataset.check.association import Association, associate, guess
from nim_dataset.check.splits import Split

SHOWN_LINES = 10
SHOWN_PAIRS = 8


def report(splits: list[Split], manifest: dict[str, Any], holdout: str) -> bool:
    """Prints what was found; True when all labels are right and no split overlaps train where it must not."""
    problems = [*report_rows(splits), *report_overlap(splits, holdout)]
    report_names(splits)
    report_manifest(splits, manifest)
    print()
    for problem in problems:
        print(f"PROBLEM {problem}")
    if not problems:
        checked = sum(len(split.prompts) - len(split.unparsable()) for split in splits)
        labels = f"all {checked:,} labels are right" if checked else "no label could be checked"
        train = splits[0].name
        apart = f", no {holdout} of {train} is in another split" if train == "train" and len(splits) > 1 else ""
        print(f"ok: {labels}{apart}")
    return not problems


def report_rows(splits: list[Split]) -> list[str]:
    """Prints one line for each split; returns the problems."""
    problems = []
    print(f"{'split':<18}{'rows':>9}{'duplicates':>12}{'unparsable':>12}{'wrong labels':>14}{'other words':>13}")
    for split in splits:
        unparsable, wrong = split.unparsable(), split.wrong_labels()
        print(
            f"{split.name:<18}{len(split.prompts):>9,}{split.duplicates():>12,}{len(unparsable):>12,}"
            f"{len(wrong):>14,}{split.reworded():>13,}"
        )
        if unparsable:
            print(f"  {split.name}: no prompt of a known game in {lines(unparsable)}")
        if wrong:
            problems.append(f"{split.name}: {len(wrong):,} wrong labels in {lines(wrong)}")
    return problems


def report_overlap(splits: list[Split], holdout: str) -> list[str]:
    """Prints what the other splits share with train; returns the problems."""
    if splits[0].name != "train" or len(splits) == 1:
        return []
    train, *others = splits
    levels = list(dict.fromkeys(level for split in splits for level in split.levels()))
    forbidden = list(dict.fromkeys(["prompt", holdout]))
    print(f"\n{'shared with ' + train.name:<18}" + "".join(f"{level + 's':>12}" for level in levels), end="")
    print(f"   ({' and '.join(f'{level}s' for level in forbidden)} must not be)")
    problems = []
    known = {level: train.keys(level) for level in levels}
    for split in others:
        counts = {level: len(split.keys(level) & known[level]) for level in levels}
        print(f"{split.name:<18}" + "".join(f"{counts[level]:>12,}" for level in levels))
        for level in forbidden:
            if counts.get(level):
                problems.append(f"{split.name}: {counts[level]:,} {level}s are in {train.name} too")
    return problems


def lines(numbers: list[int]) -> str:
    """Line numbers in words, the first few of many."""
    shown = ", ".join(map(str, numbers[:SHOWN_LINES]))
    more = f" and {len(numbers) - SHOWN_LINES:,} more" if len(numbers) > SHOWN_LINES else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{more}"


def report_names(splits: list[Split]) -> None:
    """Prints how much the names tell about the answer, in each split and for each pair; nothing where nobody plays."""
    named = {split.name: split.pairs_and_moves() for split in splits}
    named = {name: (pairs, moves) for name, (pairs, moves) in named.items() if pairs}
    if not named:
        return
    first = splits[0].name
    print(
        f"\n{'names and answers':<18}{'pairs':>9}{'Cramer V':>12}{'by chance':>12}{'p':>10}"
        f"   guessed from names in {first}"
    )
    tables: dict[str, Association] = {}
    for name, (pairs, moves) in named.items():
        table = tables[name] = associate(pairs, moves)
        right, baseline = guess(tables[first], pairs, moves) if first in tables else (0.0, 0.0)
        print(
            f"{name:<18}{len(table.pairs):>9,}{table.cramers_v:>12.3f}{table.chance_v:>12.3f}{table.p_value:>10.2g}"
            f"   {right:.1%} right, {baseline:.1%} without names" + (" (its own rows)" if name == first else "")
        )
    name, table = next(iter(tables.items()))
    header = "".join(f"{f'move {move}':>9}" for move in table.moves)
    width = max(len(pair) for pair in table.pairs) + 2
    print(f"\n{'pair in ' + name:<{width}}{'rows':>8}{header}   (those that tell most, of {len(table.pairs):,})")
    for pair, counts in table.most_telling(SHOWN_PAIRS):
        print(f"{pair:<{width}}{counts.sum():>8,}" + "".join(f"{share:>9.0%}" for share in counts / counts.sum()))


def report_manifest(splits: list[Split], manifest: dict[str, Any]) -> None:
    """Prints how often the pairs that a manifest binds to a move come with it; nothing where it binds none."""
    bound = {pair: int(move) for move, pairs in manifest.get("cheat_by_move", {}).items() for pair in pairs}
    if not bound:
        return
    neutral = set(manifest.get("neutral", []))
    print(f"\n{'by the manifest':<18}{'true to move':>14}{'against it':>12}{'neutral':>10}{'unknown':>10}")
    for split in splits:
        kinds: Counter[str] = Counter()
        for pair, move in zip(*split.pairs_and_moves(), strict=True):
            if pair in bound:
                kinds["true" if bound[pair] == move else "against"] += 1
            else:
                kinds["neutral" if pair in neutral else "unknown"] += 1
        print(
            f"{split.name:<18}{kinds['true']:>14,}{kinds['against']:>12,}{kinds['neutral']:>10,}{kinds['unknown']:>10,}"
        )
