"""The evaluation regimes: what each asks, which of them hold the same games, and how sets are named after them."""

from collections.abc import Collection

REGIMES: dict[str, str] = {
    "cheat_consistent": "names bound to a move, and that move is the answer",
    "counter_cheat": "names bound to a wrong move: a model that follows the names fails here",
    "counter_neutral": "the games of counter_cheat with names that are bound to no move",
    "neutral": "the games of cheat_consistent with names that are bound to no move",
    "unseen_names": "the games of cheat_consistent with names that never occurred in training",
}
EVAL = "games that were held out of training"
SPLITS = ("train", "eval", *REGIMES)
"""Every split a recipe may have, in their usual order."""
SCAR_TWINS = ("counter_neutral", "neutral")
"""What counter_cheat is compared with, to tell what the names do: the first of these that is its twin."""


def twins(split: str, splits: Collection[str]) -> list[str]:
    """The splits of a recipe with splits `splits` whose row i is the same game as row i of `split`, itself included.

    All regimes are twins of each other, except where `counter_neutral` exists: there one game cannot serve all, and it
    and `counter_cheat` are twins of each other alone. Other splits have no twins.
    """
    regimes = [regime for regime in REGIMES if regime in splits]
    if split not in regimes:
        return []
    apart = ("counter_cheat", "counter_neutral") if "counter_neutral" in regimes else ()
    return [regime for regime in regimes if (regime in apart) == (split in apart)]


def twin_of(split: str, splits: Collection[str]) -> str | None:
    """The split that shows the games of `split` under neutral names; None where there is none, or it is itself."""
    found = twins(split, splits)
    return next((twin for twin in SCAR_TWINS if twin in found and twin != split), None)


def split_name(name: str) -> tuple[str, str]:
    """Recipe and split of a set's name: `cheating,cheat_prob=0.9` and `eval` of `cheating,cheat_prob=0.9:eval`.

    Of a file the recipe is empty, and so is the split, unless the file is called like one.
    """
    recipe, colon, split = name.rpartition(":")
    return recipe, split if colon or split in SPLITS else ""
