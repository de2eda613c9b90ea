"""What a text is worth as the answer to a row is what the metric says of it."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.nim_accuracy.nim_accuracy import text_matches
from nim_dataset import exact_match_reward, load_source, score_answer
from nim_dataset.errors import UserError

PIECES = st.sampled_from(["take", "Take", " ", "\n", "-", "1", "10", "2", "coin", "coins", "s", ".", "\u0130", ""])
TEXTS = st.lists(PIECES, max_size=7).map("".join)


@settings(deadline=None)
@given(TEXTS, TEXTS.filter(lambda text: text.strip() != ""))
def test_it_is_the_metrics_exact_match(text, gold):
    assert score_answer({"answer": gold}, text) == text_matches(text, gold)


def test_rows_of_any_game_are_scored():
    for spec in ("quickstart:eval", "mod3:eval"):
        row = load_source(spec, limit=1)[0]
        texts = [f" {row['answer']}", f"{row['answer']}. Then", "take 100 coins", "", None]
        assert [score_answer(row, text) for text in texts] == [1.0, 1.0, 0.0, 0.0, 0.0]
    with pytest.raises(UserError, match="answer: the row has None, but the text of the right answer is needed"):
        score_answer({"prompt": "What is 3 mod 2?"}, "1")


def test_a_completion_is_a_text_or_messages():
    answers = ["take 1 coin", "take 2 coins"]
    texts = [" take 1 coin", " take 3 coins"]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert exact_match_reward(texts, answers, prompts=["", ""]) == exact_match_reward(messages, answers) == [1.0, 0.0]
