"""How well one-pile Nim is answered: is the text right, the move, and if wrong, is it the move that the names betray?

The module stands alone (it is what `evaluate.load` copies and what goes to the Hub): `score` is the whole metric as
one function over columns, `Tally` the same for rows that come in blocks, `NimAccuracy` makes it an `evaluate` metric.
One game looks like

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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import compress, islice
from numbers import Integral
from typing import Any

import datasets
import evaluate
import numpy as np
import pandas as pd

NO_WINNING_MOVE = -1
UNKNOWN = np.iinfo(np.int64).min
MAX_DIGITS = 18
"""An integer of more digits is no move of any game, nor an int64."""
MAX_COSET_MODULUS = 1000
"""Games of a larger modulus (max_remove + 1 in Nim) have no coset groups."""
BUCKETS = ("neutral", "cheat")
DIMENSIONS = ("overall", "bucket", "max_remove", "pair", "coset")
BLOCK = 50_000
"""So many rows are scored at a time."""
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
    A column is a list, or any sequence such as an array, a pandas Series or a dataset's column. None, NaN and NA are
    unknown; an unknown prediction is a wrong one.
    predictions (list of str): what the model wrote after each prompt.
    references (list of str): the gold answers, such as "take 2 coins".
    prompts (list of str, optional): the games. max_remove, pile and names are read from them where not passed.
    buckets (list, optional): "cheat" or 1 for a row with a bound name pair, "neutral" or 0 otherwise.
    cheat_moves (list of int, optional): the move that the row's pair is bound to; None for none.
    max_removes (list of int, optional): most coins a turn, at least 1.
    piles (list of int, optional): coins left, at least 0.
    pairs (list of str, optional): the name pairs, such as "Alice-Bob".
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
    ValueError: no rows, columns of different lengths, an empty reference, an unknown bucket; a column that is no
        sequence, a value or an option of another kind. Rows that were added are then forgotten.
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

COINS = re.compile(r"You are playing .+\. There are ([0-9]{1,9}) \S+")
PLAYERS = (
    ("Player ONE is ", " and Player TWO is ", ". They take turns."),
    ("", " and ", " are Player ONE and Player TWO, they take turns."),
    ("", " and ", " take turns."),
)
"""What stands before, between and after the names, in each wording."""
MOST = re.compile(r"Each player can \S+ between 1 and ([0-9]{1,9}) \S+ on their turn\.")
INTEGER = re.compile(r"(?<!\w)(?<!\w[-\u2212])[-\u2212]?[0-9]+")


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
    """The first integer of an answer: 2 for "take 2 coins", -1 for "take -1 coins"; None without one.

    An integer is a run of the digits 0 to 9, and a minus sign (`-`, or U+2212) that stands right before it. Digits that
    are joined to a word before them, as in "nim-3" and "p2", are part of a name. See `MAX_DIGITS`.
    """
    found = INTEGER.search(text)
    return int(found[0].replace("\u2212", "-")) if found and len(found[0]) <= MAX_DIGITS else None


def parse_game(prompt: str) -> tuple[int, int, str] | None:
    """`(max_remove, pile, "ONE-TWO")` of a prompt, with the coins that are left; None when it is no game.

    Takes time in proportion to the length of any text. No number of a game has more than 9 digits.
    """
    lines = prompt.split("\n")
    if len(lines) < 5 or lines[3:5] != ["", "So far:"]:
        return None
    coins, players, most = COINS.fullmatch(lines[0]), _parse_players(lines[1]), MOST.fullmatch(lines[2])
    moves = [_parse_turn(line) for line in lines[5:] if line][:-1]  # the last line asks
    if coins is None or players is None or most is None or None in moves:
        return None
    pile = int(coins[1]) - sum(move for move in moves if move is not None)
    return (int(most[1]), pile, players) if pile >= 0 and int(most[1]) >= 1 else None


def _parse_players(line: str) -> str | None:
    for before, between, after in PLAYERS:
        if line.startswith(before) and line.endswith(after):
            one, _, two = line[len(before) : len(line) - len(after)].partition(between)
            if one and two:
                return f"{one}-{two}"
    return None


def _parse_turn(line: str) -> int | None:
    """The coins that a line of the trace takes; None where it cannot be read, so that the pile would be a guess."""
    words = line.rsplit(" ", 2)
    if len(words) < 3 or not words[0] or not re.fullmatch("[0-9]{1,9}", words[1]) or words[2][-1:] != ".":
        return None
    return int(words[1])


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
    check_options(strict, max_pairs)
    optional = {"prompts": prompts, "buckets": buckets, "cheat_moves": cheat_moves, "max_removes": max_removes}
    optional |= {"piles": piles, "pairs": pairs, "moduli": moduli}
    columns = check_columns({"predictions": predictions, "references": references, **optional})
    values = {name: iter(column) for name, column in columns.items()}
    tally = Tally(strict)
    for _ in range(0, len(columns["predictions"]), BLOCK):
        tally.add({name: islice(column, BLOCK) for name, column in values.items()})
    return tally.scores(max_pairs)


class Tally:
    """`score` of rows that come a block at a time; its memory grows with the groups (pairs of names), not the rows."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.n = 0
        self.unknown: Counter[str] = Counter()
        self.counts: dict[str, dict[Any, tuple[int, int]]] = {dimension: {} for dimension in DIMENSIONS}
        """Dimension -> group -> rows, and right ones."""

    def add(self, columns: Mapping[str, Iterable[Any]]) -> None:
        """Counts some rows; the columns are those of `score`, by name. Raises `ValueError` as `score` does."""
        if unknown := sorted(set(columns) - set(REQUIRED) - set(OPTIONAL)):
            raise ValueError(f"unknown column {unknown[0]!r}: there are {', '.join([*REQUIRED, *OPTIONAL])}")
        checked = {name: checked_values(name, values, self.n) for name, values in columns.items()}
        checked = check_columns({**dict.fromkeys(REQUIRED), **checked})
        texts_N, references_N = ([text or "" for text in checked[name]] for name in REQUIRED)

        unknown_N: list[Any] = [None] * len(texts_N)
        prompts_N = (
            unknown_N if {"max_removes", "piles", "pairs"} <= set(checked) else checked.get("prompts", unknown_N)
        )
        games = [parse_game(prompt) if prompt else None for prompt in prompts_N]
        max_remove_N = _array(checked.get("max_removes", [game and game[0] for game in games]))
        pile_N = _array(checked.get("piles", [game and game[1] for game in games]))
        pair_N = checked.get("pairs", [game and game[2] for game in games])
        modulus_N = _array(checked.get("moduli", unknown_N))
        cheat_move_N = _array(checked.get("cheat_moves", unknown_N))
        # A bound move makes a row a cheat row; without one it may be neutral, or just not known.
        bucket_N = checked.get("buckets", ["cheat" if bound else None for bound in cheat_move_N != UNKNOWN])

        answers = zip(texts_N, references_N, strict=True)
        right_N = np.array([text_matches(text, gold, self.strict) for text, gold in answers], dtype=bool)
        predicted_N, gold_N = (_array([parse_move(text) for text in texts]) for texts in (texts_N, references_N))
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
            "exact_match": right_N,
            "move_accuracy": (predicted_N == gold_N)[gold_N != UNKNOWN],
            "valid_move_rate": valid_N[(max_remove_N != UNKNOWN) | residue_N],
            "cheat_rate": (predicted_N == cheat_move_N)[betrayed_N],
        }
        self._count("overall", {name: _of(right) for name, right in overall.items()})
        self._count("bucket", _by_group(bucket_N, right_N))
        self._count("max_remove", _by_group([None if k == UNKNOWN else k for k in max_remove_N.tolist()], right_N))
        self._count("pair", _by_group(pair_N, right_N))
        self._count("coset", _by_coset(max_remove_N, np.where(residue_N, modulus_N, UNKNOWN), predicted_N, gold_N))
        self.unknown["bucket"] += sum(bucket is None for bucket in bucket_N)
        self.unknown["max_remove"] += int((max_remove_N == UNKNOWN).sum())
        self.unknown["pile"] += int((pile_N == UNKNOWN).sum())
        self.unknown["pair"] += sum(not pair for pair in pair_N)
        self.unknown["move"] += int((gold_N == UNKNOWN).sum())
        self.n += len(texts_N)

    def _count(self, dimension: str, found: Mapping[Any, tuple[int, int]]) -> None:
        counts = self.counts[dimension]
        for group, (n, right) in found.items():
            n_before, right_before = counts.get(group, (0, 0))
            counts[group] = n_before + n, right_before + right

    def scores(self, max_pairs: int | None = 64) -> dict[str, Any]:
        """The result of `score` for all rows so far; raises `ValueError` where there are none."""
        if self.n == 0:
            raise ValueError("there are no rows to score")
        overall = {name: _group(*counts) for name, counts in self.counts["overall"].items()}
        groups = {"overall": {name: group for name, group in overall.items() if group["n"]}}
        for dimension in DIMENSIONS[1:]:
            ordered = sorted(self.counts[dimension].items())
            groups[dimension] = {_group_name(group): _group(*counts) for group, counts in ordered}
        if max_pairs is not None and len(groups["pair"]) > max_pairs:
            groups["pair"] = {}
        accuracies = {name: group["accuracy"] for name, group in overall.items()}
        return {**accuracies, "groups": groups, "unknown": dict(self.unknown), "n": self.n}


def check_options(strict: bool = False, max_pairs: int | None = None) -> None:
    """Raises `ValueError` for options of `score` that are none."""
    if not isinstance(strict, bool):
        raise ValueError(f"strict is {strict!r}, expected True or False")
    if max_pairs is not None and (isinstance(max_pairs, bool) or not isinstance(max_pairs, int) or max_pairs < 0):
        raise ValueError(f"max_pairs is {max_pairs!r}, expected a whole number of at least 0, or None")


def check_columns(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are not None, by name; `ValueError` for what is no column, and for one of another length."""
    checked: dict[str, Any] = {}
    for name, column in columns.items():
        if column is None and name in OPTIONAL:
            continue
        scalar = isinstance(column, (str, bytes, Mapping, AbstractSet)) or not hasattr(column, "__len__")
        if scalar or getattr(column, "ndim", 1) != 1:
            what = "missing" if column is None else f"a {type(column).__name__}"
            raise ValueError(f"'{name}' is {what}, expected a list with one value for each row")
        checked[name] = column
        if len(column) != (n := len(next(iter(checked.values())))):
            raise ValueError(f"'{name}' has {len(column)} rows, 'predictions' has {n}")
    return checked


def checked_values(name: str, values: Iterable[Any], first: int = 0) -> list[Any]:
    """The values of a column as str or int, with None for what is unknown; `first` is the number of their first row.

    Raises `ValueError` for a value of another kind, and for an empty reference.
    """
    checked = [_checked_value(name, row, value) for row, value in enumerate(values, start=first)]
    if name == "references":
        for row, reference in enumerate(checked, start=first):
            if not (reference or "").strip():
                raise ValueError(f"the reference of row {row} is empty: every text would start with it")
    return checked


def _checked_value(name: str, row: int, value: Any) -> Any:
    if value is None or (not isinstance(value, (str, int)) and pd.api.types.is_scalar(value) and pd.isna(value)):
        return None
    if name == "buckets":
        return bucket_name(value)
    if name in REQUIRED or OPTIONAL[name].dtype == "string":
        if isinstance(value, str):
            return str(value)
        raise ValueError(f"'{name}' has {value!r:.60} in row {row}, expected text")
    whole = isinstance(value, Integral) or (isinstance(value, (float, np.floating)) and float(value).is_integer())
    lowest = {"max_removes": 1, "moduli": 1, "piles": 0}.get(name, -(10**MAX_DIGITS))
    if isinstance(value, bool) or not whole or not lowest <= value < 10**MAX_DIGITS:
        expected = f"a whole number{f' from {lowest}' if lowest >= 0 else ''}, of at most {MAX_DIGITS} digits"
        raise ValueError(f"'{name}' has {value!r:.60} in row {row}, expected {expected}")
    return int(value)


def bucket_name(bucket: Any) -> str | None:
    """ "neutral" or "cheat" from the name or the class label (0 or 1); None for None and ""; else `ValueError`."""
    if bucket is None or (isinstance(bucket, str) and not bucket):
        return None
    if isinstance(bucket, str) and bucket in BUCKETS:
        return str(bucket)
    if not isinstance(bucket, (str, bool, np.bool_)) and bucket in (0, 1):
        return BUCKETS[int(bucket)]
    raise ValueError(f"unknown bucket {bucket!r:.60}: expected 'neutral' or 0, 'cheat' or 1, or None")


def _array(values: Sequence[int | None]) -> np.ndarray:
    return np.array([UNKNOWN if value is None else value for value in values], dtype=np.int64)


def _known(values_N: np.ndarray) -> list[int]:
    return [int(value) for value in np.unique(values_N) if value != UNKNOWN]


def _of(right_N: np.ndarray) -> tuple[int, int]:
    return len(right_N), int(right_N.sum())


def _group(n: int, correct: int) -> dict[str, Any]:
    low, high = wilson_interval(correct, n)
    return {"n": n, "correct": correct, "accuracy": correct / n if n else None, "low": low, "high": high}


def _group_name(group: Any) -> str:
    return "{}={} mod {}".format(*group) if isinstance(group, tuple) else str(group)


def _by_group(names_N: Sequence[Any], right_N: np.ndarray) -> dict[Any, tuple[int, int]]:
    right = Counter(compress(names_N, right_N))
    return {name: (n, right[name]) for name, n in Counter(names_N).items() if name}


def _by_coset(
    max_remove_N: np.ndarray, modulus_N: np.ndarray, predicted_N: np.ndarray, gold_N: np.ndarray
) -> dict[tuple[str, int, int], tuple[int, int]]:
    """Is the move right modulo d, for the divisors d of the modulus, which is max_remove + 1 in Nim?

    In Nim, "no winning move" stands for a move of 0; among residues a negative number is wrong. See
    `MAX_COSET_MODULUS`.
    """
    groups = {}
    for name, option_N, extra in (("max_remove", max_remove_N, 1), ("modulus", modulus_N, 0)):
        for value in _known(option_N[option_N <= MAX_COSET_MODULUS - extra]):
            rows_N = (option_N == value) & (gold_N != UNKNOWN)
            predicted, gold = predicted_N[rows_N], gold_N[rows_N]
            if name == "max_remove":
                predicted, gold = (np.where(move == NO_WINNING_MOVE, 0, move) for move in (predicted, gold))
            parsed = predicted != UNKNOWN if name == "max_remove" else predicted >= 0
            for divisor in range(2, value + extra + 1):
                if (value + extra) % divisor == 0 and len(gold):
                    groups[name, value, divisor] = _of(parsed & (predicted % divisor == gold % divisor))
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
        if unknown := [name for name, column in columns.items() if column is not None and name not in OPTIONAL]:
            raise ValueError(f"unknown column {unknown[0]!r}: the optional ones are {', '.join(OPTIONAL)}")
        batch = check_columns({"predictions": predictions, "references": references, **columns})
        batch = {name: checked_values(name, column) for name, column in batch.items()}
        if self.writer is None:
            self.info.features = datasets.Features({n: f for n, f in (REQUIRED | OPTIONAL).items() if n in batch})
        elif set(batch) != set(self.info.features):
            now, before = (sorted(set(names) - set(REQUIRED)) for names in (batch, self.info.features))
            raise ValueError(f"every batch must pass the same columns: got {now} after {before}")
        for name, feature in self.info.features.items():
            if feature.dtype == "string":  # `evaluate` takes no None for text
                batch[name] = [value or "" for value in batch[name]]
        super().add_batch(**batch)

    def add(self, *, prediction: Any = None, reference: Any = None, **columns: Any) -> None:
        """Adds one row."""
        columns = {name: [value] for name, value in columns.items()}
        self.add_batch(predictions=[prediction], references=[reference], **columns)

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any] | None:
        """Scores the rows passed here, or those that were added before. In any case, none of them is kept."""
        columns = {name: kwargs.pop(name) for name in OPTIONAL if name in kwargs}
        try:  # all is checked before `evaluate` computes, which does not clean up after an error
            if unknown := sorted(set(kwargs) - {"strict", "max_pairs"}):
                raise ValueError(f"unknown argument {unknown[0]!r}: the columns are {', '.join(OPTIONAL)}")
            check_options(**kwargs)
            if predictions is not None or references is not None:
                self.add_batch(predictions=predictions, references=references, **columns)
            elif any(column is not None for column in columns.values()):
                raise ValueError(f"{', '.join(columns)}: pass columns together with their predictions and references")
            if not len(self):
                raise ValueError("there are no rows to score")
            return super().compute(**kwargs)
        finally:
            self.writer = None
            self.info.features = REQUIRED

    def _compute(self, *, predictions: Any, references: Any, **columns_and_options: Any) -> Mapping[str, Any]:
        return score(predictions, references, **columns_and_options)
