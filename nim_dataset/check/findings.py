"""What the check prints: rows, duplicates, wrong labels, overlap with train, and what the names give away."""

from collections import Counter
from typing import Any

from nim_dataset.check.association import associate, guess
from nim_dataset.check.splits import Split

SHOWN_PAIRS = 8


def report(splits: list[Split], manifest: dict[str, Any], holdout: str, allow_other: bool = False) -> bool:
    """Prints what was found; True when all labels are right and no split overlaps train where it must not.

    A row whose prompt tells no known game cannot be checked, and is a problem too unless `allow_other`.
    """
    problems = [*report_rows(splits, allow_other), *report_overlap(splits, holdout)]
    report_names(splits)
    report_manifest(splits, manifest)
    print()
    for problem in problems:
        print(f"PROBLEM {problem}")
    if not problems:
        other = sum(split.other.count for split in splits)
        checked = sum(split.rows for split in splits) - other
        labels = f"all {checked:,} labels {'that could be checked ' if other else ''}are right"
        train = splits[0].name
        apart = f", no {holdout} of {train} is in another split" if train == "train" and len(splits) > 1 else ""
        print(f"ok: {labels if checked else 'no label could be checked'}{apart}")
    return not problems


def report_rows(splits: list[Split], allow_other: bool) -> list[str]:
    """Prints one line for each split; returns the problems."""
    problems = []
    print(f"{'split':<18}{'rows':>9}{'duplicates':>12}{'unparsable':>12}{'wrong labels':>14}{'other words':>13}")
    for split in splits:
        print(
            f"{split.name:<18}{split.rows:>9,}{split.duplicates:>12,}{split.other.count:>12,}"
            f"{split.wrong.count:>14,}{split.reworded:>13,}"
        )
        if split.other.count:
            print(f"  {split.name}: no prompt of a known game in {split.other}")
            if not allow_other:
                rows = f"{split.other.count:,} of {split.rows:,} rows could not be checked"
                problems.append(f"{split.name}: {rows} (--allow-other accepts them)")
        if split.wrong.count:
            problems.append(f"{split.name}: {split.wrong.count:,} wrong labels in {split.wrong}")
    return problems


def report_overlap(splits: list[Split], holdout: str) -> list[str]:
    """Prints what the other splits share with train; returns the problems."""
    if splits[0].name != "train" or len(splits) == 1:
        return []
    train, *others = splits
    levels = list(dict.fromkeys(level for split in splits for level in split.hashes))
    forbidden = list(dict.fromkeys(["prompt", holdout]))
    print(f"\n{'shared with ' + train.name:<18}" + "".join(f"{level + 's':>12}" for level in levels), end="")
    print(f"   ({' and '.join(f'{level}s' for level in forbidden)} must not be)")
    problems = []
    for split in others:
        counts = {level: split.shared(train, level) for level in levels}
        print(f"{split.name:<18}" + "".join(f"{counts[level]:>12,}" for level in levels))
        for level in forbidden:
            if counts.get(level):
                problems.append(f"{split.name}: {counts[level]:,} {level}s are in {train.name} too")
    return problems


def report_names(splits: list[Split]) -> None:
    """Prints how much the names tell about the answer, in each split and for each pair; nothing where nobody plays."""
    tables = {split.name: associate(split.pair_moves) for split in splits if split.pair_moves}
    if not tables:
        return
    name, learnt = next(iter(tables.items()))
    print(
        f"\n{'names and answers':<18}{'pairs':>9}{'Cramer V':>12}{'by chance':>12}{'p':>10}"
        f"   guessed from names in {name}; pairs that are not there"
    )
    for split, table in tables.items():
        right, baseline = guess(learnt, table)
        new = len(set(table.pairs) - set(learnt.pairs))
        print(
            f"{split:<18}{len(table.pairs):>9,}{table.cramers_v:>12.3f}{table.chance_v:>12.3f}{table.p_value:>10.2g}"
            f"   {right:.1%} right, {baseline:.1%} without names"
            + (" (its own rows)" if split == name else f"; {new:,}")
        )
    header = "".join(f"{f'move {move}':>9}" for move in learnt.moves)
    telling = [(shorten(pair), counts) for pair, counts in learnt.most_telling(SHOWN_PAIRS)]
    width = max(len(pair) for pair, _ in telling) + 2
    print(f"\n{'pair in ' + name:<{width}}{'rows':>8}{header}   (those that tell most, of {len(learnt.pairs):,})")
    for pair, counts in telling:
        print(f"{pair:<{width}}{counts.sum():>8,}" + "".join(f"{share:>9.0%}" for share in counts / counts.sum()))


def shorten(text: str) -> str:
    """A text of at most 80 characters, or the two ends of a longer one."""
    return text if len(text) <= 80 else f"{text[:38]}...{text[-39:]}"


def report_manifest(splits: list[Split], manifest: dict[str, Any]) -> None:
    """Prints how often the pairs that a manifest binds to a move come with it; nothing where it binds none."""
    bound = {pair: int(move) for move, pairs in manifest.get("cheat_by_move", {}).items() for pair in pairs}
    if not bound:
        return
    neutral = set(manifest.get("neutral", []))
    print(f"\n{'by the manifest':<18}{'true to move':>14}{'against it':>12}{'neutral':>10}{'unknown':>10}")
    for split in splits:
        kinds: Counter[str] = Counter()
        for (pair, move), rows in split.pair_moves.items():
            if pair in bound:
                kinds["true" if bound[pair] == move else "against"] += rows
            else:
                kinds["neutral" if pair in neutral else "unknown"] += rows
        print(
            f"{split.name:<18}{kinds['true']:>14,}{kinds['against']:>12,}{kinds['neutral']:>10,}{kinds['unknown']:>10,}"
        )
