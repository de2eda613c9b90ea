"""A user's mistake is one line that names the field, the value and what is allowed, before any row is made."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json
import re

import fsspec
import numpy as np
import pytest

from nim_dataset import NimBuilder, get_config, load, load_source
from nim_dataset.errors import UserError

IMPOSSIBLE = [
    ("pairs20000", {"num_pairs": 50_000}, r"^num_pairs: got 50000, .*1 to 49999 pairs"),
    ("quickstart", {"num_pairs": 60}, r"^num_pairs: got 60, .*1 to 49 pairs"),
    ("cheating", {"turns": (4, 60), "max_coins": 200}, r"^turns: got \(4, 60\), .*need 250 coins, above max_coins=200"),
    ("cheating", {"turns": (0, 65)}, r"^turns: .*64"),
    ("cheating", {"turns": 4}, r"^turns: got \(4,\), .*fewest and the most"),
    ("cheating", {"cheat_moves": 5}, r"^cheat_moves: got 5, .*-1 or 1 to 4"),
    ("357", {"cheat_moves": 4, "names": "A-B+C-D", "cheat_fraction": 0.5}, r"^cheat_moves: got 4, .*-1 or 1 to 3"),
    ("cheating", {"n_eval": 10**9}, r"^n_eval: got 1000000000, .*at most \d+ is allowed"),
    ("purenums3", {"n_eval": 20_000}, r"^n_eval: got 20000, .*at most \d+ is allowed"),
    ("cheating", {"max_coins": 26, "n_eval": 5, "holdout": "pile"}, r"^holdout: got pile, .*no pile to keep for '\w+'"),
    ("terminology", {"endgame": 3, "cheat_moves": -1, "cheat_fraction": 0.5}, r"^holdout: got prompt, .*n_regime=0"),
    ("terminology", {"max_coins": 100}, r"^max_coins: got 100, .*at most 68"),
    ("terminology", {"endgame": 2}, r"^endgame: got 2, .*at least max\(max_remove\)=3"),
    ("357", {"cheat_prob": 0.5}, r"^cheat_prob: got 0.5, .*without cheat_moves"),
    ("357", {"cheat_moves": 1}, r"^cheat_fraction: got 0.0, but 0 bound pairs \(of 1\)"),
    ("cheating", {"cheat_fraction": 1}, r"^cheat_fraction: got 1.0, .*neutral"),
    ("cheating", {"cheat_prob": 1.5}, r"^cheat_prob: got 1.5, .*0 to 1"),
    ("cheating", {"cheat_prob": float("nan")}, r"^cheat_prob: got nan"),
    ("mod3", {"answer_prefix": " A:"}, r"^answer_prefix: got ' A:', but nothing but spaces is allowed"),
    ("cheating", {"cheat_prob": "often"}, r"^cheat_prob: cannot read 'often' as a number"),
    ("cheating", {"n_train": 1.5}, r"^n_train: cannot read 1.5 as a whole number"),
    ("cheating", {"n_train": float("inf")}, r"^n_train: cannot read inf as a whole number"),
    ("cheating", {"n_train": "9" * 5000}, r"^n_train: cannot read '9{2,30}\.\.\.9{2,30}' as a whole number"),
    ("cheating", {"n_train": np.array([1, 2])}, r"^n_train: cannot read \[1, 2\] as a whole number"),
    ("cheating", {"n_train": np.bool_(True)}, r"^n_train: cannot read True as a whole number"),
    ("357", {"max_remove": np.array([1.5])}, r"^max_remove: cannot read \[1.5\] as whole numbers"),
    ("357", {"game_words": "a\nb\r\x1b"}, r"^game_words: got 'a\\nb\\r\\x1b', but a word is printable text"),
    ("357", {"wording": "a\nb"}, r"^wording: unknown value 'a\\nb'; values: plain"),
    ("357", {"a\nb": 1}, r"^357: unknown option 'a\\nb'; options: "),
    ("357", {"wording": "x" * 5000}, r"^wording: unknown value 'x{400,500} \.\.\. x{400,500}'; values: plain, "),
    ("357", {"verbs": "x " * 5000}, r"^verbs: got '.{,1000} without a full stop or space$"),
    ("cheating", {"n_train": 10**30}, r"^n_train: got 10{30}, but 0 to 10{12} is allowed"),
    ("cheating", {"n_train": None}, r"^n_train: a value is needed"),
    ("357", {"n_train": 0, "n_eval": 0}, r"^n_train: got 0, .*a row or more"),
    ("cheating", {"n_train": -1}, r"^n_train: got -1"),
    ("cheating", {"max_remove": 0}, r"^max_remove: got \(0,\), .*1 to 100"),
    ("cheating", {"max_remove": "4+4"}, r"^max_remove: got \(4, 4\), .*once"),
    ("357", {"max_remove_weights": "1+2"}, r"^max_remove_weights: .*one for each"),
    ("357", {"max_remove_weights": "1+2+5000"}, r"^max_remove_weights: .*at most 1000"),
    ("cheating", {"names": "Alice-Bob+Alice"}, r"^names: got 'Alice', .*'Alice-Bob'"),
    ("357", {"names": "X and-Bob"}, r"^names: got 'X and-Bob', but a name is printable text without .*'and'"),
    ("357", {"names": "and X-Bob"}, r"^names: got 'and X-Bob', but a name is"),
    ("cheating", {"names": "A-B+is X-Y+C-are"}, r"^names: got 'is X-Y', but a name is"),
    ("357", {"names": "s-Bob"}, r"^turn_phrases: .*'s' does"),
    ("357", {"names": "aba-Bob", "turn_phrases": "ab{player}"}, r"^names: got 'aba-Bob', but .* cannot be read back"),
    ("terminology", {"names": "X and+Y"}, r"^names: got 'X and', but a name is"),
    ("cheating", {"names": "Alice-Bob+Player X-Eve"}, r"^names: got 'Player X-Eve'"),
    ("terminology", {"name_source": "pool", "names": "Leo"}, r"^names: got 1 names, .*2 to 400"),
    (
        "cheating",
        {"names": "Ivan-Judy+Kevin-Laura+Mallory-Niaj+Olivia-Peggy+Quentin-Rupert+Sybil-Trent+Ursula-Victor+Wendy-X"},
        r"^names: got 16 names, .*two of those kept for unseen_names",
    ),
    ("cheating", {"occurrences": "0+5"}, r"^occurrences: got \(0, 5\), .*4"),
    ("357", {"occurrences": "0+2"}, r"^occurrences: .*wording=plain"),
    ("357", {"turn_phrases": "Your turn."}, r"^turn_phrases: .*\{player\}"),
    ("357", {"turn_phrases": "Leo, it is {player}'s turn."}, r"^turn_phrases: .*'Leo' does"),
    (
        "357",
        {field: [f"{i}x" for i in range(20)] for field in ("game_words", "coin_words", "verbs")}
        | {"turn_phrases": ["{player}", "{player}."]},
        r"^turn_phrases: got 2 phrases, but with the other words they make 16000 combinations, and 10000 are allowed",
    ),
    ("357", {"verbs": "pick up"}, r"^verbs: got 'pick up'"),
    ("357", {"seed": -1}, r"^seed: got -1"),
    ("357", {"holdout": "gmae"}, r"^holdout: unknown value 'gmae', did you mean 'game'\? Values: prompt, game, pile$"),
    ("357", {"wording": "x"}, r"^wording: unknown value 'x'; values: plain, roles, roles_old$"),
    ("357", {"cheatprob": 1}, r"^357: unknown option 'cheatprob', did you mean 'cheat_prob'\? Options: max_remove, "),
    ("cheatin", {}, r"^unknown recipe 'cheatin', did you mean 'cheating'\? Recipes: quickstart, 357"),
    ("zzz", {}, r"^unknown recipe 'zzz'; recipes: quickstart, 357"),
    (357, {}, r"^recipe: got 357, but the name of one is needed, as text$"),
]


@pytest.mark.parametrize(("name", "overrides", "message"), IMPOSSIBLE)
def test_impossible_recipes(name, overrides, message):
    for make in (get_config, load, NimBuilder):
        with pytest.raises(ValueError, match=message) as caught:
            make(name, **overrides)
        assert isinstance(caught.value, UserError)
        assert "\n" not in str(caught.value)


def test_numpy_values_are_values():
    config = get_config("357", max_remove=np.array([3, 5]), n_train=np.int64(7), seed=np.array(3))
    assert config.content() == get_config("357", max_remove=(3, 5), n_train=7, seed=3).content()
    assert get_config("357", max_remove=range(3, 6)).max_remove == (3, 4, 5)


def test_unknown_splits():
    with pytest.raises(
        UserError, match=r"^cheating: unknown split 'evil', did you mean 'eval'\? Splits: train, eval, "
    ):
        load("cheating", "evil")
    with pytest.raises(UserError, match=r"^'357': |^357: unknown split 'neutral'; splits: train, eval$"):
        load("357", "neutral")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cheatin/eval.parquet", "unknown recipe 'cheatin', did you mean 'cheating'? Recipes: "),
        ("cheating/evil.parquet", "nim://cheating/evil.parquet: unknown split 'evil', did you mean 'eval'? Splits: "),
        ("cheating/eval.csv", "a file is <split>.parquet, <split>.jsonl, "),
        ("cheating/eval-00002-of-00002.parquet", "no such shard, they are numbered 00000-of-N to (N-1)-of-N"),
        ("cheating/eval-00000-of-00000.parquet", "no such shard"),
        ("cheating/eval-0-of-2.parquet", "a file is "),
        ("cheating,cheatprob=1/eval.parquet", "unknown option 'cheatprob', did you mean 'cheat_prob'? Options: "),
        ("cheating,cheat_prob/eval.parquet", "expected <config>[,key=value...]"),
        ("cheating,seed=1,seed=2/eval.parquet", "each key once"),
        ("cheating,cheat_prob=2/eval.parquet", "cheat_prob: got 2.0, but 0 to 1 is allowed"),
    ],
)
def test_paths_that_do_not_exist(path, message):
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        fsspec.open(f"nim://{path}").open()
    assert not fsspec.filesystem("nim").exists(path)


def test_generated_files_are_read_only():
    with pytest.raises(UserError, match="read-only"):
        fsspec.open("nim://cheating/eval.parquet", "wb").open()


GOOD = b'{"prompt": "p", "answer": "take 1 coin"}\n'


def row(**columns: object) -> bytes:
    return json.dumps({"prompt": "p", "answer": "a", **columns}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file has no rows"),
        (b"\n\n", "the file has no rows"),
        (GOOD + b'{"prompt": "p"\n', "line 2: invalid JSON at column 15"),
        (GOOD + b"\n" + b"[1]\n", "line 3: expected a JSON object, got list"),
        (GOOD + b'{"prompt": "p"}\n', "line 2: 'answer' is missing"),
        (b'{"prompt": 3, "answer": "a"}\n', "line 1: 'prompt' is int, not text"),
        (GOOD + b'{"prompt": "p", "answer": " "}\n', "line 2: 'answer' is empty"),
        (GOOD + b'{"prompt": "\xff", "answer": "a"}\n', "line 2: invalid UTF-8 at byte 13"),
        (b'{"prompt": "\\ud800", "answer": "a"}\n', "line 1: 'prompt' has half of a surrogate pair"),
        (b"[" * 100_000, "line 1: invalid JSON (nested too deeply)"),
        (b'{"prompt": "p", "answer": "a", "bucket": "x"}\n', "line 1: 'bucket' is 'x', expected one of neutral, cheat"),
        (row(bucket=True), "line 1: 'bucket' is True, expected one of neutral, cheat or null"),
        (row(bucket=[1]), "line 1: 'bucket' is [1], expected"),
        (row(cheat_move="2"), "line 1: 'cheat_move' is '2', expected a whole number"),
        (row(cheat_move=True), "line 1: 'cheat_move' is True, expected a whole number"),
        (
            b'{"prompt": "p", "answer": "a", "seed": ' + b"9" * 5000 + b"}",
            "line 1: invalid JSON (a number of thousands of",
        ),
        (row(cheat_move=1.0), "line 1: 'cheat_move' is 1.0, expected a whole number"),
        (row(cheat_move=3_000_000_000), "line 1: 'cheat_move' is 3000000000, expected a whole number below 2**31"),
    ],
)
def test_malformed_jsonl(content, message, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_source(str(path))
    assert str(caught.value).startswith(str(path))


def test_missing_sources():
    with pytest.raises(UserError, match=r"^nowhere.jsonl: No such file"):
        load_source("nowhere.jsonl")
    with pytest.raises(UserError, match=r"^'cheating' names no split: use one of cheating:train, cheating:eval, "):
        load_source("cheating")
    with pytest.raises(UserError, match=r"^'cheating:evil': unknown split 'evil', did you mean 'eval'\? Splits: "):
        load_source("cheating:evil")
    with pytest.raises(UserError, match=r"^'a\\x00b.jsonl': no file's name holds a null character$"):
        load_source("a\0b.jsonl")


def test_a_limit_is_a_number_of_rows(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(GOOD)
    for spec in (str(tmp_path / "rows.jsonl"), "cheating:eval"):
        with pytest.raises(UserError, match=r"^limit: got -3, but 0 or more is allowed$"):
            load_source(spec, -3)


def test_jsonl_with_prompt_and_answer_gets_its_truth_back(tmp_path):
    rows = load("cheating", "eval", n_train=0, n_eval=20)
    path = tmp_path / "rows.jsonl"
    rows.select_columns(["prompt", "answer"]).to_json(path)
    found = load_source(str(path), limit=10)
    assert found.features == rows.features
    told = ["prompt", "answer", "coins", "max_remove", "trace", "pile", "move", "player_one", "player_two"]
    assert found.select_columns(told).to_list() == rows.select_columns(told).to_list()[:10]
    assert set(found["bucket"]) == {None}
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "What is 1 + 1?", "answer": "2", "bucket": "cheat", "cheat_move": 2}\n\n')
    (row,) = load_source(str(path)).to_list()
    assert (row["bucket"], row["cheat_move"], row["coins"], row["trace"]) == (1, 2, None, None)


def test_long_specs():
    word = "x" * 300
    assert load_source(f"357,game_words={word}:eval", limit=2)["prompt"][0].startswith(
        f"You are playing the game of {word}."
    )
    for spec, message in ((word, "unknown recipe 'xxx"), (f"{word}.jsonl", f"{word}.jsonl: File name too long")):
        with pytest.raises(UserError, match=f"^{message}"):
            load_source(spec)
