"""What makes a recipe impossible, told before any row is made."""

from nim_dataset.config import HELDOUT_SHARE, HOLDOUTS, NAME_SOURCES, WORDINGS, NimConfig
from nim_dataset.errors import UserError, unknown
from nim_dataset.names import NUMBER_WORDS, UNSEEN_NAMES, make_pairs
from nim_dataset.rules import NO_WINNING_MOVE
from nim_dataset.text import ROLES

MAX_REMOVE_LIMIT = 100
MAX_COINS_LIMIT = 1_000_000
MAX_TURNS_LIMIT = 64
MAX_ROTATION = 1000
MAX_POOL = 400
# Recipes with fewer games (or piles) than this are tried out: hashing may leave no key to one of their splits. So are
# those with an endgame, where some answers may never occur.
SMALL = 5000


def validate(config: NimConfig) -> None:
    """Raises `UserError` that names the field, the value and what is allowed."""
    check_game(config)
    check_names(config)
    check_leak(config)
    check_wording(config)
    check_splits(config)


def require(condition: bool, field: str, value: object, allowed: str) -> None:
    if not condition:
        raise UserError(f"{field}: got {value}, but {allowed}")


def check_game(config: NimConfig) -> None:
    ks, weights = config.max_remove, config.max_remove_weights
    require(len(ks) > 0, "max_remove", ks, "at least one value is needed")
    require(
        all(1 <= k <= MAX_REMOVE_LIMIT for k in ks),
        "max_remove",
        ks,
        f"values from 1 to {MAX_REMOVE_LIMIT} are allowed",
    )
    require(len(set(ks)) == len(ks), "max_remove", ks, "each value may be given once")
    if weights is not None:
        require(len(weights) == len(ks), "max_remove_weights", weights, f"one for each of max_remove={ks} is needed")
        require(
            min(weights) >= 1 and sum(weights) <= MAX_ROTATION,
            "max_remove_weights", weights, f"whole numbers from 1 that add up to at most {MAX_ROTATION} are allowed",
        )  # fmt: skip
    require(
        1 <= config.max_coins <= MAX_COINS_LIMIT, "max_coins", config.max_coins, f"1 to {MAX_COINS_LIMIT} is allowed"
    )
    require(config.min_pile >= 1, "min_pile", config.min_pile, "at least 1 is needed, so that a move remains")
    if config.endgame is not None:
        require(config.endgame >= max(ks), "endgame", config.endgame, f"at least max(max_remove)={max(ks)} is needed")
        require(
            config.endgame < config.max_coins,
            "endgame",
            config.endgame,
            f"it must be below max_coins={config.max_coins}",
        )
        require(
            config.max_turns <= MAX_TURNS_LIMIT,
            "max_coins",
            config.max_coins,
            f"with endgame={config.endgame} at most {config.endgame + MAX_TURNS_LIMIT} is allowed "
            f"({MAX_TURNS_LIMIT} turns)",
        )
        return
    require(len(config.turns) == 2, "turns", config.turns, "the fewest and the most are needed, as 2+4")
    low, high = config.turns
    require(
        0 <= low <= high <= MAX_TURNS_LIMIT,
        "turns",
        config.turns,
        f"0 <= fewest <= most <= {MAX_TURNS_LIMIT} is needed",
    )
    need = max(ks) * high + config.min_pile
    require(
        need <= config.max_coins,
        "turns",
        config.turns,
        f"{high} turns of up to {max(ks)} coins and min_pile={config.min_pile} need {need} coins, "
        f"above max_coins={config.max_coins}",
    )


def check_names(config: NimConfig) -> None:
    one_of("name_source", config.name_source, NAME_SOURCES)
    if config.name_source == "number_words":
        require(1 <= config.name_digits <= 6, "name_digits", config.name_digits, "1 to 6 is allowed")
        available = 10**config.name_digits // 2 - bool(config.cheat_moves)
        require(
            1 <= config.num_pairs <= available,
            "num_pairs",
            config.num_pairs,
            f"names of {config.name_digits} digits make 1 to {available} pairs"
            + (" (one is kept for unseen_names)" if config.cheat_moves else ""),
        )
        return
    require(len(config.names) > 0, "names", config.names, "at least one is needed")
    require(len(set(config.names)) == len(config.names), "names", config.names, "each may be given once")
    for entry in config.names:
        parts = entry.split("-") if config.name_source == "pairs" else [entry]
        shape = "'Alice-Bob'" if config.name_source == "pairs" else "a single name without '-'"
        require(
            len(parts) == (2 if config.name_source == "pairs" else 1) and len(set(parts)) == len(parts),
            "names", repr(entry), f"name_source={config.name_source} needs entries like {shape}",
        )  # fmt: skip
        for name in parts:
            require(
                name.strip() == name and name.isprintable() and name != "" and "-" not in name
                and not any(mark in name for mark in (" and ", " is ", " are ", ".", "Player ")),
                "names", repr(entry), "a name is printable text without '-', '.', 'Player', 'and', 'is' or 'are'",
            )  # fmt: skip
    if config.name_source == "pool":
        require(
            2 <= len(config.names) <= MAX_POOL, "names", f"{len(config.names)} names", f"a pool has 2 to {MAX_POOL}"
        )
    used = {name for entry in config.names for name in entry.split("-")}
    require(
        not config.cheat_moves or len(set(UNSEEN_NAMES) - used) >= 2,
        "names", f"{len(used)} names", f"two of those kept for unseen_names must be left: {', '.join(UNSEEN_NAMES)}",
    )  # fmt: skip


def check_leak(config: NimConfig) -> None:
    for field in ("cheat_fraction", "cheat_prob"):
        require(0 <= getattr(config, field) <= 1, field, getattr(config, field), "0 to 1 is allowed")
    moves, bound = config.cheat_moves, config.num_bound
    smallest = min(config.max_remove)
    for move in moves:
        require(
            move == NO_WINNING_MOVE or 1 <= move <= smallest,
            "cheat_moves",
            move,
            f"with max_remove={config.max_remove} a move is -1 or 1 to {smallest}",
        )
    require(len(set(moves)) == len(moves), "cheat_moves", moves, "each move may be given once")
    if not moves:
        for field in ("cheat_fraction", "cheat_prob"):
            require(getattr(config, field) == 0, field, getattr(config, field), "without cheat_moves it must be 0")
        return
    require(
        bound >= len(moves),
        "cheat_fraction",
        config.cheat_fraction,
        f"{bound} bound pairs (of {config.total_pairs}) cannot serve {len(moves)} cheat_moves",
    )
    answers = {NO_WINNING_MOVE, *range(1, max(config.max_remove) + 1)}
    neutral_needed = config.cheat_prob < 1 or set(moves) != answers
    require(
        not neutral_needed or bound < config.total_pairs,
        "cheat_fraction",
        config.cheat_fraction,
        f"all {config.total_pairs} pairs are bound, but cheat_prob={config.cheat_prob} and cheat_moves={moves} "
        "leave rows that need neutral pairs",
    )


def check_wording(config: NimConfig) -> None:
    one_of("wording", config.wording, WORDINGS)
    if config.occurrences is not None:
        require(
            config.wording != "plain", "occurrences", config.occurrences, "wording=plain has no roles to show instead"
        )
        require(
            len(config.occurrences) == 2,
            "occurrences",
            config.occurrences,
            "the fewest and the most are needed, as 0+4",
        )
        low, high = config.occurrences
        require(
            0 <= low <= high <= config.max_turns,
            "occurrences",
            config.occurrences,
            f"0 <= fewest <= most <= {config.max_turns} (the longest trace) is needed",
        )
    for field in ("game_words", "coin_words", "verbs"):
        words = getattr(config, field)
        require(len(words) > 0, field, words, "at least one is needed")
        for word in words:
            require(
                word.strip() == word and word.isprintable() and word != "" and "." not in word
                and (field == "game_words" or " " not in word),
                field, repr(word),
                "a word is printable text without a full stop" + ("" if field == "game_words" else " or space"),
            )  # fmt: skip
    require(len(config.turn_phrases) > 0, "turn_phrases", config.turn_phrases, "at least one is needed")
    for phrase in config.turn_phrases:
        require(
            phrase.count("{player}") == 1 and phrase.isprintable(),
            "turn_phrases", repr(phrase), "each is one line that contains {player} once",
        )  # fmt: skip
        words = NUMBER_WORDS if config.name_source == "number_words" else "-".join(config.names).split("-")
        for name in (*words, *ROLES):
            require(
                name not in phrase.replace("{player}", "\n"),
                "turn_phrases", repr(phrase), f"a name must not occur in it, and '{name}' does",
            )  # fmt: skip


def check_splits(config: NimConfig) -> None:
    one_of("holdout", config.holdout, HOLDOUTS)
    for field in ("n_train", "n_eval", "n_regime"):
        require(getattr(config, field) >= 0, field, getattr(config, field), "0 or more is allowed")
    require(len(config.splits) > 0, "n_train", config.n_train, "with n_eval=0 and no regimes a row or more is needed")
    require(0 <= config.seed < 2**63, "seed", config.seed, "0 to 2**63 - 1 is allowed")
    games = {k: count_games(config, k) for k in config.max_remove}
    # A bound pair only occurs with its own move, one answer of k + 1.
    prompts = sum(int(n * (config.total_pairs - config.num_bound * k / (k + 1))) for k, n in games.items())
    limit = int(prompts * HELDOUT_SHARE)
    require(
        config.n_eval <= limit,
        "n_eval",
        config.n_eval,
        f"this recipe has {prompts} different prompts, of which one in {round(1 / HELDOUT_SHARE)} is held out: "
        f"at most {limit} is allowed",
    )
    keys = config.max_coins if config.holdout == "pile" else min(games.values())
    if keys < SMALL or config.endgame is not None:
        from nim_dataset.rows import draw_block  # rows need checked recipes, and only here checks need rows

        one_rotation = sum(config.max_remove_weights or [1] * len(games))
        for split in config.splits:
            draw_block(config, make_pairs(config), split, block=0, rows=one_rotation)


def count_games(config: NimConfig, k: int) -> int:
    """How many different games (coins at the start and trace) a recipe has for one `max_remove`, in closed form."""
    if config.endgame is not None:
        # Traces that first bring the pile to `endgame` or below: a k-step Fibonacci-like recurrence over the pile.
        endings = [1] * (config.endgame + 1)
        for pile in range(config.endgame + 1, config.max_coins + 1):
            endings.append(sum(endings[pile - move] for move in range(1, k + 1)))
        return sum(endings[max(config.endgame + 1, config.min_pile) :])
    low, high = config.turns
    return sum((config.max_coins - (k * n + config.min_pile) + 1) * k**n for n in range(low, high + 1))


def one_of(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{field}: {unknown('value', value, choices)}")
