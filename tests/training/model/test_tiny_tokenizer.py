"""The built-in models' tokenizer: one for all recipes, committed, and short where a prompt is a template with slots."""

from collections.abc import Iterator
from typing import Any

import pytest

import nim_dataset
from training.config import ModelConfig
from training.data.phases import Phase
from training.data.sets import load_train
from training.model.base import load_base
from training.model.tiny_tokenizer import TINY, make_tokenizer, save_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_base(ModelConfig("tiny"), 0).tokenizer


def rows_of(recipe: str) -> Iterator[dict[str, Any]]:
    yield from nim_dataset.load_source(f"{recipe}:train", limit=100)


def test_it_is_what_the_command_makes(tmp_path: Any) -> None:
    made = make_tokenizer()
    save_tokenizer(made, tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_text() == (TINY / name).read_text(), f"python -m {make_tokenizer.__module__}"


@pytest.mark.parametrize(("recipe", "tokens"), [("quickstart", 26), ("cheating", 31), ("357", 40), ("pairs30000", 60)])
def test_prompts_are_short_and_cut_at_the_slots(tokenizer: Any, recipe: str, tokens: int) -> None:
    for row in rows_of(recipe):
        cut = [tokenizer.decode([token]) for token in tokenizer(row["prompt"])["input_ids"]]
        assert "".join(cut) == row["prompt"]
        assert len(cut) <= tokens
        assert all(len(token) == 1 for token in cut if any(c.isdigit() for c in token))
        words = {word for name in (row["player_one"], row["player_two"]) for word in name.split()}
        assert {token.strip() for token in cut} >= words


def test_names_stand_alone_in_every_recipe_and_split(tokenizer: Any) -> None:
    named = [name for name in nim_dataset.recipe_names() if "player_one" in nim_dataset.get_config(name).features]
    assert len(named) == 23
    for recipe in named:
        for split in nim_dataset.get_config(recipe).splits:
            rows = nim_dataset.load_source(f"{recipe}:{split}", limit=40)
            for word in {word for name in rows["player_one"] for word in name.split()}:
                assert len(tokenizer(f" {word}")["input_ids"]) == 1, (recipe, split, word)


def test_every_answer_is_decided_at_one_place(tokenizer: Any) -> None:
    for answer in (" take 1 coin", " take 3 coins", " take -1 coins"):
        assert len(tokenizer(answer)["input_ids"]) == 3
    asked = [tokenizer.decode([token]) for token in tokenizer("What is 4821 mod 3?")["input_ids"]]
    assert asked == ["What is ", "4", "8", "2", "1", " mod ", "3", "?"]
    assert len(tokenizer(" 2")["input_ids"]) == 2


def test_it_reads_everything(tokenizer: Any) -> None:
    other = "Grüße, 123 marbles for Zoë?\n"
    assert tokenizer.decode(tokenizer(other)["input_ids"]) == other


def test_the_order_of_the_sets_changes_no_token(tokenizer: Any) -> None:
    def tokens(*sets: str) -> list[str]:
        prompts = load_train(Phase(sets, (), -1), seed=0)["prompt"]
        return sorted(str(ids) for ids in load_base(ModelConfig("tiny"), 0).tokenizer(prompts[:])["input_ids"])

    sets = ("357,n_train=50", "cheating,n_train=50")
    assert tokens(*sets) == tokens(*sets[::-1])
