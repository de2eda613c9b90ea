"""The names of the evaluation regimes and what each asks, for everything that draws, scores or describes them."""

REGIMES: dict[str, str] = {
    "cheat_consistent": "names bound to a move, and that move is the answer",
    "counter_cheat": "the same games with names bound to a wrong move: a model that follows the names fails here",
    "neutral": "the same games with names that are bound to no move",
    "unseen_names": "the same games with names that never occurred in training",
}
EVAL = "games that were held out of training"
SPLITS = ("train", "eval", *REGIMES)
"""Every split a recipe may have, in their usual order."""
SCAR_TWINS = ("counter_neutral", "neutral")
"""What `counter_cheat` may be compared with, the better one first; `neutral` only where its row i is the same game."""
