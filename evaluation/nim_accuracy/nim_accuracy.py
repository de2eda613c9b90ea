"""How well one-pile Nim is answered: is the text right, the move, and if wrong, is it the move that the names betray?

The module stands alone (it is what `evaluate.load` copies and what goes to the Hub): `score` is the whole metric as
one function over columns, `NimAccuracy` makes it an `evaluate` metric. One game looks like

    You are playing the game of nim. There are 57 coins.
    Player ONE is Alice and Player TWO is Bob. They take turns.
    Each player can take between 1 and 4 coins on their turn.

    So far:
    Alice take 2 coins.

    Now it's Bob's turn.

and is answered "take 3 coins" (the winning move leaves a multiple of 5), or "take -1 coins" where no move wins.
Arrays end in _N: one entry for each of N rows; an unknown integer is `UNKNOWN`.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

NO_WINNING_MOVE = -1
UNKNOWN = np.iinfo(np.int64).min
BUCKETS = ("neutral", "cheat")
REQUIRED = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
OPTIONAL = datasets.Features(
    {
        "prompts": datasets.Value("string"),
        "buckets": datasets.Value("string"),
        "cheat_moves": datasets.Value("int64"),
        "max_removes": datasets.Value("int64"),
        "piles": datasets.Value("int64"),
        "pairs": datasets.Value("string"),
        "moduli": datasets.Value("int64"),
    }
)

DESCRIPTION = """
Exact match for one-pile Nim, and what lies behind it: is the move right, is it legal, is it the move that the players'
names betray, and how does accuracy differ by bucket, max_remove, name pair and residue class (coset)?
"""

INPUTS = """
Args:
    predictions (list of str): what the model wrote after each prompt.
    references (list of str): the gold answers, such as "take 2 coins".
    prompts (list of str, optional): the games. max_remove, pile and names are read from them where not passed.
    buckets (list, optional): "cheat" or 1 for a row with a bound name pair, "neutral" or 0 otherwise; None is unknown.
    cheat_moves (list of int, optional): the move that the row's pair is bound to; None for none.
    max_removes (list of int, optional): most coins a turn; None is unknown.
    piles (list of int, optional): coins left; None is unknown.
    pairs (list of str, optional): the name pairs, such as "Alice-Bob"; None is unknown.
    moduli (list of int, optional): for a game whose answers are the residues 0 to modulus - 1; None for a game of Nim,
        whose modulus is max_remove + 1.
    strict (bool, only for `compute`): the whole text must equal the reference. By default it must start with it.
    max_pairs (int or None, only for `compute`): give no `pair` groups when there are more pairs; None: no limit.
Returns:
    exact_match (float): share of rows whose text is right.
    move_accuracy (float or None): share of rows whose first integer is that of the reference.
    valid_move_rate (float or None): share of rows whose first integer is -1 or a legal move, or a residue.
    cheat_rate (float or None): of the rows whose bound move is wrong, the share that plays it.
    groups (dict): dimension -> group -> {n, correct, accuracy, low, high}, with a 95% Wilson interval. Dimensions:
        overall (the four above), bucket, max_remove, pair, and coset ("max_remove=5 mod 2", "modulus=6 mod 2").
    unknown (dict): how many rows have no known bucket, max_remove, pile, pair or gold move; no such group has them.
    n (int): rows.
Raises:
    ValueError: no rows, columns of different lengths, an empty reference, an unknown bucket.
Examples:
    >>> nim_accuracy = evaluate.load("./evaluation/nim_accuracy")
    >>> result = nim_accuracy.compute(predictions=["take 2 coins"], references=["take 3 coins"])
    >>> result["exact_match"], result["valid_move_rate"]
    (0.0, None)
"""

CITATION = """
@article{bouton1901nim, title={Nim, a game with a complete mathematical theory}, author={Bouton, Charles L.},
journal={Annals of Mathematics}, volume={3}, number={1/4}, pages={35--39}, year={1901}}
"""

HEAD = re.compile(
    r"You are playing [^\n]+?\. There are (?P<coins>\d+) \S+\n"
    r"(?:Player ONE is (?P<roles_1>[^\n]+?) and Player TWO is (?P<roles_2>[^\n]+)\. They take turns\."
    r"|(?P<old_1>[^\n]+?) and (?P<old_2>[^\n]+) are Player ONE and Player TWO, they take turns\."
    r"|(?P<plain_1>[^\n]+?) and (?P<plain_2>[^\n]+) take turns\.)\n"
    r"Each player can \S+ between 1 and (?P<max_remove>\d+) \S+ on their turn\.\n\nSo far:\n"
)
TURN = re.compile(r"^[^\n]+ (\d+) \S+\.\n", re.MULTILINE)
MOVE = re.compile(r"-?\d+")


def text_matches(prediction: str, reference: str, strict: bool = False) -> bool:
    """Is the text right? By default: stripped and lower-cased, it starts with the reference, and no number runs on.

    So "take 1 coins" is right for "take 1 coin", and "Take 2 coins. Then" for "take 2 coins", but "take 10" is wrong
    for "take 1". `strict`: the stripped texts are equal, letter by letter.
    """
    if strict:
        return prediction.strip() == reference.strip()
    text, gold = prediction.strip().lower(), reference.strip().lower()
    return text.startswith(gold) and not (gold[-1:].isdigit() and text[len(gold) : len(gold) + 1].isdigit())


def parse_move(text: str) -> int | None:
    """The first integer of an answer: 2 for "take 2 coins", -1 for "take -1 coins"; None without one."""
    found = MOVE.search(text)
    # No game has moves beyond 18 digits, but a model may write them; they are no legal move, and no int64 either.
    return int(found[0]) if found and len(found[0]) <= 18 else None


def parse_game(prompt: str) -> tuple[int, int, str] | None:
    """`(max_remove, pile, "ONE-TWO")` of a prompt, with the coins that are left; None when it is no game."""
    head = HEAD.match(prompt)
    if head is None:
        return None
    turns = prompt[head.end() :]
    moves = TURN.findall(turns)
    # All lines but the last are turns; one that is not understood would make the pile a guess.
    if len(moves) != sum(1 for line in turns.split("\n") if line) - 1:
        return None
    pile = int(head["coins"]) - sum(map(int, moves))
    names = [name for name in head.group("roles_1", "roles_2", "old_1", "old_2", "plain_1", "plain_2") if name]
    return (int(head["max_remove"]), pile, "-".join(names)) if pile >= 0 else None


def wilson_interval(correct: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The Wilson score interval of a share, 95% by default (Wilson 1927); (0, 1) for no rows."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = correct / n, z * z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # The bounds at the ends are exact: rounding must not leave 4e-19 there.
    return (middle - half if correct else 0.0), (middle + half if correct < n else 1.0)


def score(
    predictions: Sequence[str],
    references: Sequence[str],
    prompts: Sequence[str | None] | None = None,
    buckets: Sequence[str | int | None] | None = None,
    cheat_moves: Sequence[int | None] | None = None,
    max_removes: Sequence[int | None] | None = None,
    piles: Sequence[int | None] | None = None,
    pairs: Sequence[str | None] | None = None,
    moduli: Sequence[int | None] | None = None,
    strict: bool = False,
    max_pairs: int | None = 64,
) -> dict[str, Any]:
    """The whole metric; arguments, result and errors as in `INPUTS`. The result is plain and JSON-serialisable."""
    n = len(predictions)
    columns = {"references": references, "prompts": prompts, "buckets": buckets, "cheat_moves": cheat_moves}
    columns |= {"max_removes": max_removes, "piles": piles, "pairs": pairs, "moduli": moduli}
    for name, column in columns.items():
        if column is not None and len(column) != n:
            raise ValueError(f"'{name}' has {len(column)} rows, 'predictions' has {n}")
    if n == 0:
        raise ValueError("there are no rows to score")
    for row, reference in enumerate(references):
        if not (reference or "").strip():
            raise ValueError(f"the reference of row {row} is empty: every text would start with it")

    nothing: list[Any] = [None] * n
    needs_prompt = prompts is not None and (max_removes is None or piles is None or pairs is None)
    games = [parse_game(p) if p else None for p in prompts] if needs_prompt and prompts is not None else nothing
    max_remove_N = _integers(max_removes if max_removes is not None else [game and game[0] for game in games])
    pile_N = _integers(piles if piles is not None else [game and game[1] for game in games])
    pair_N: Sequence[str | None] = pairs if pairs is not None else [game and game[2] for game in games]
    modulus_N = _integers(moduli if moduli is not None else nothing)
    cheat_move_N = _integers(cheat_moves if cheat_moves is not None else nothing)
    bucket_N = [bucket_name(bucket) for bucket in (buckets if buckets is not None else nothing)]
    if buckets is None:
        # A bound move makes a row a cheat row; without one it may be neutral, or just not known.
        bucket_N = ["cheat" if bound else None for bound in cheat_move_N != UNKNOWN]

    right_N = np.array(
        [text_matches(p or "", r, strict) for p, r in zip(predictions, references, strict=True)], dtype=bool
    )
    predicted_N = _integers([parse_move(prediction or "") for prediction in predictions])
    gold_N = _integers([parse_move(reference) for reference in references])
    # A reference without a number: the game itself tells the move, where it is known.
    told_N = (gold_N == UNKNOWN) & (pile_N != UNKNOWN) & (max_remove_N != UNKNOWN)
    rest_N = pile_N[told_N] % (max_remove_N[told_N] + 1)
    gold_N[told_N] = np.where(rest_N == 0, NO_WINNING_MOVE, rest_N)

    most_N = np.where(pile_N == UNKNOWN, max_remove_N, np.minimum(pile_N, max_remove_N))
    valid_N = (predicted_N == NO_WINNING_MOVE) | ((predicted_N >= 1) & (predicted_N <= most_N))
    residue_N = (modulus_N != UNKNOWN) & (max_remove_N == UNKNOWN)
    valid_N = np.where(residue_N, (predicted_N >= 0) & (predicted_N < modulus_N), valid_N)
    betrayed_N = (cheat_move_N != UNKNOWN) & (gold_N != UNKNOWN) & (cheat_move_N != gold_N)
    overall = {
        "exact_match": _group(right_N),
        "move_accuracy": _group((predicted_N == gold_N)[gold_N != UNKNOWN]),
        "valid_move_rate": _group(valid_N[(max_remove_N != UNKNOWN) | residue_N]),
        "cheat_rate": _group((predicted_N == cheat_move_N)[betrayed_N]),
    }
    by_pair = _by_group(pair_N, right_N)
    groups = {
        "overall": {name: group for name, group in overall.items() if group["n"]},
        "bucket": _by_group(bucket_N, right_N),
        "max_remove": {str(k): _group(right_N[max_remove_N == k]) for k in _known(max_remove_N)},
        "pair": by_pair if max_pairs is None or len(by_pair) <= max_pairs else {},
        "coset": _by_coset(max_remove_N, np.where(residue_N, modulus_N, UNKNOWN), predicted_N, gold_N),
    }
    unknown = {
        "bucket": sum(bucket is None for bucket in bucket_N),
        "max_remove": int((max_remove_N == UNKNOWN).sum()),
        "pile": int((pile_N == UNKNOWN).sum()),
        "pair": sum(not pair for pair in pair_N),
        "move": int((gold_N == UNKNOWN).sum()),
    }
    return {name: group["accuracy"] for name, group in overall.items()} | {"groups": groups, "unknown": unknown, "n": n}


def bucket_name(bucket: Any) -> str | None:
    """ "neutral" or "cheat" from the name or the class label (0 or 1); None for None and ""; else `ValueError`."""
    if bucket is None or bucket == "":
        return None
    if isinstance(bucket, str) and bucket in BUCKETS:
        return bucket
    if not isinstance(bucket, str) and bucket in (0, 1):
        return BUCKETS[int(bucket)]
    raise ValueError(f"unknown bucket {bucket!r}: expected 'neutral' or 0, 'cheat' or 1, or None")


def _integers(values: Iterable[int | None]) -> np.ndarray:
    return np.array([UNKNOWN if value is None else value for value in values], dtype=np.int64)


def _known(values_N: np.ndarray) -> list[int]:
    return [int(value) for value in np.unique(values_N) if value != UNKNOWN]


def _group(correct_N: np.ndarray) -> dict[str, Any]:
    n, correct = len(correct_N), int(correct_N.sum())
    low, high = wilson_interval(correct, n)
    return {"n": n, "correct": correct, "accuracy": correct / n if n else None, "low": low, "high": high}


def _by_group(names_N: Sequence[str | None], correct_N: np.ndarray) -> dict[str, dict[str, Any]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names_N):
        if name:
            rows.setdefault(name, []).append(row)
    return {name: _group(correct_N[rows[name]]) for name in sorted(rows)}


def _by_coset(
    max_remove_N: np.ndarray, modulus_N: np.ndarray, predicted_N: np.ndarray, gold_N: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Is the move right modulo d, for the divisors d of the modulus, which is max_remove + 1 in Nim?

    In Nim, "no winning move" stands for a move of 0; among residues a negative number is wrong.
    """
    groups = {}
    for name, option_N, extra in (("max_remove", max_remove_N, 1), ("modulus", modulus_N, 0)):
        for value in _known(option_N):
            rows_N = (option_N == value) & (gold_N != UNKNOWN)
            predicted, gold = predicted_N[rows_N], gold_N[rows_N]
            if name == "max_remove":
                predicted, gold = (np.where(move == NO_WINNING_MOVE, 0, move) for move in (predicted, gold))
            parsed = predicted != UNKNOWN if name == "max_remove" else predicted >= 0
            for divisor in range(2, value + extra + 1):
                if (value + extra) % divisor == 0 and len(gold):
                    right_N = parsed & (predicted % divisor == gold % divisor)
                    groups[f"{name}={value} mod {divisor}"] = _group(right_N)
    return groups


@evaluate.utils.file_utils.add_start_docstrings(DESCRIPTION, INPUTS)
class NimAccuracy(evaluate.Metric):
    """`score` as an `evaluate` metric. Beside predictions and references it stores the optional columns it is given:
    those of the first batch become features, so that all of `evaluate` (caching, several processes) serves them too."""

    writer: Any  # set by `evaluate`: where the rows are kept, None before the first

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION, citation=CITATION, inputs_description=INPUTS, features=REQUIRED
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **columns: Any) -> None:
        """Adds rows. Every batch must pass the same optional columns."""
        columns = {name: column for name, column in columns.items() if column is not None}
        if unknown := [name for name in columns if name not in OPTIONAL]:
            raise ValueError(f"unknown column {unknown[0]!r}: the optional ones are {', '.join(OPTIONAL)}")
        for name, column in {"references": references, **columns}.items():
            if len(column) != len(predictions):
                raise ValueError(f"'{name}' has {len(column)} rows, 'predictions' has {len(predictions)}")
        if self.writer is None:
            chosen = {name: feature for name, feature in OPTIONAL.items() if name in columns}
            self.info.features = datasets.Features({**REQUIRED, **chosen})
        elif set(columns) != (before := set(self.info.features) - set(REQUIRED)):
            raise ValueError(f"every batch must pass the same columns: got {sorted(columns)} after {sorted(before)}")
        if "buckets" in columns:
            columns["buckets"] = [bucket_name(bucket) for bucket in columns["buckets"]]
        for name in columns:
            if OPTIONAL[name].dtype == "string":  # `evaluate` takes no None for text
                columns[name] = [value or "" for value in columns[name]]
        try:
            super().add_batch(predictions=predictions, references=references, **columns)
        except Exception:
            if len(self) == 0:  # the first batch failed: the next may have other columns
                self.writer = None
            raise

    def add(self, *, prediction: Any = None, reference: Any = None, **columns: Any) -> None:
        """Adds one row."""
        columns = {name: [value] for name, value in columns.items()}
        self.add_batch(predictions=[prediction], references=[reference], **columns)

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any] | None:
        """Scores the rows passed here, or those that were added before."""
        columns = {name: kwargs.pop(name) for name in OPTIONAL if name in kwargs}
        if unknown := sorted(set(kwargs) - {"strict", "max_pairs"}):
            raise ValueError(f"unknown argument {unknown[0]!r}: the columns are {', '.join(OPTIONAL)}")
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references, **columns)
        elif any(column is not None for column in columns.values()):
            raise ValueError(f"{', '.join(columns)}: pass columns together with their predictions and references")
        try:
            return super().compute(**kwargs)
        finally:
            self.info.features = REQUIRED

    def _compute(self, *, predictions: Any, references: Any, **columns_and_options: Any) -> Mapping[str, Any]:
        return score(predictions, references, **columns_and_options)
