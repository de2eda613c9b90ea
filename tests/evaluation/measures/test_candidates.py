"""`candidates` gives what a plain loop of full forward passes gives, whatever the model, the batch and the padding."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

import nim_dataset
from evaluation.measures.answers import greedy_answers
from evaluation.measures.candidates import Candidates, candidate_records
from evaluation.measures.known import Known
from evaluation.measures.measure import CannotMeasureError
from evaluation.measures.places import places
from evaluation.measures.questions import ask_subject
from evaluation.predict import Written, digest, predict
from evaluation.tokens import answer_budget
from nim_dataset.games import parse_prompts

from .conftest import FAMILIES


@torch.no_grad()
def plain(model, tokenizer, prompt: str, answers: list[str]) -> list[float]:
    """The log-probability of each whole answer, one forward pass each."""
    start = len(tokenizer(prompt)["input_ids"])
    found = []
    for answer in answers:
        ids = [*tokenizer(f"{prompt} {answer}")["input_ids"], tokenizer.eos_token_id]
        log_p_TV = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found.append(sum(log_p_TV[at - 1, ids[at]].item() for at in range(start, len(ids))))
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_equal_to_a_plain_loop(name, family, tiny_tokenizer, subject, monkeypatch):
    model = family(name)
    for spec in ("345678:eval", "mod3:eval"):  # prompts of several lengths, and of several numbers of answers
        some = subject(model, tiny_tokenizer, spec, limit=5, batch_size=2)
        records = Candidates().records(some)
        rows = some.eval_set.rows
        for row, game, record in zip(rows, some.eval_set.games, records, strict=True):
            assert record["moves"] == list(game.options())
            assert record["move"] == row["move"]
            expected = plain(model, tiny_tokenizer, row["prompt"], list(game.options().values()))
            assert record["log_probabilities"] == pytest.approx(expected, abs=1e-3 if name == "mamba" else 1e-4)
        assert np.ptp([record["log_probabilities"][0] for record in records]) > 1e-2, "rows that cannot be told apart"
        for rows_at_once in (5000, 2):
            monkeypatch.setattr("evaluation.measures.candidates.ROWS_AT_ONCE", rows_at_once)
            again = Candidates().records(subject(model, tiny_tokenizer, spec, limit=5))
            for one, other in zip(records, again, strict=True):
                assert one["log_probabilities"] == pytest.approx(other["log_probabilities"], abs=1e-4)


def test_prompts_begin_as_the_tokenizer_begins_a_text(family, tokenizer_with_bos, subject):
    """And the positions, patched and probed, are counted from there."""
    model = family("llama")
    some = subject(model, tokenizer_with_bos, "quickstart:counter_cheat", limit=4)
    records = Candidates().records(some)
    for row, game, record in zip(some.eval_set.rows, some.eval_set.games, records, strict=True):
        expected = plain(model, tokenizer_with_bos, row["prompt"], list(game.options().values()))
        assert record["log_probabilities"] == pytest.approx(expected, abs=1e-4)
    prompts = some.eval_set.rows["prompt"][:]
    for prompt, at in zip(
        prompts, places(ask_subject(some), prompts, tokenizer_with_bos, some.eval_set.games), strict=True
    ):
        offsets = tokenizer_with_bos(prompt, return_offsets_mapping=True)["offset_mapping"]
        coins = at["coins"][0]
        assert prompt[offsets[coins[0]][0] : offsets[coins[-1]][1]].strip() in re.findall(r"\d+", prompt)[:1]
        assert at["decision"] == [range(len(offsets) - 1, len(offsets))]


def test_greedy_answers_are_those_of_predict(small_run, subject):
    """What the candidates' pass tells is what decoding gives, and is not decoded again."""
    model, tokenizer = small_run.model(40), small_run.tokenizer
    some = subject(model, tokenizer, "leaky_names:eval", limit=60)
    prompts, budget = some.eval_set.rows["prompt"][:], answer_budget(tokenizer, some.eval_set.answers)
    Candidates().records(some)
    told = {digest(prompt): some.known.written.get(digest(prompt)) for prompt in prompts}
    some.known.written[digest(prompts[0])] = Written("said before", 2, ended=True)
    answers = greedy_answers(model, tokenizer, some.eval_set.rows, max_new_tokens=budget, known=some.known)
    expected = predict(model, tokenizer, prompts, max_new_tokens=budget)
    assert answers[1:] == expected[1:]
    assert answers[0] == "said before", "what is known is not asked again"
    assert sum(answer is not None for answer in told.values()) > 30
    for prompt, answer in zip(prompts, expected, strict=True):
        assert told[digest(prompt)] is None or told[digest(prompt)].text == answer
    fresh = subject(small_run.model(0), tokenizer, "leaky_names:eval", limit=5)
    Candidates().records(fresh)
    assert not fresh.known.written, "it writes no answer at all"
    model.generation_config.repetition_penalty = 1.5
    penalised = subject(model, tokenizer, "leaky_names:eval", limit=5)
    Candidates().records(penalised)
    assert not penalised.known.written, "logits alone do not tell what a penalty makes of them"


def test_an_answer_is_known_for_the_budgets_that_do_not_change_it(small_run):
    tokenizer, rows = small_run.tokenizer, nim_dataset.load_source("leaky_names:eval", limit=1)
    for model, ends in ((small_run.model(40), True), (small_run.model(0), False)):
        known = Known()
        for budget in (3, 9, 5):  # known, cut or not, from the ones before
            plain = predict(model, tokenizer, rows["prompt"], max_new_tokens=budget)
            assert greedy_answers(model, tokenizer, rows, max_new_tokens=budget, known=known) == plain
            assert known.written[digest(rows["prompt"][0])].ended == (ends and budget > 3)


def test_the_table_says_what_the_distributions_say():
    def record(right: int, cheat: int | None, p: list[float], bucket: str) -> dict:
        log_p = np.log(np.array(p) / 2).tolist()  # half of the probability goes to texts that are no answer
        moves = {"moves": [-1, 1, 2, 3], "move": right, "cheat_move": cheat, "bucket": bucket, "max_remove": 3}
        return {"row": 0, "log_probabilities": log_p, **moves}

    records = [
        record(2, 2, [0.1, 0.1, 0.7, 0.1], "cheat"),
        record(2, 1, [0.1, 0.5, 0.3, 0.1], "cheat"),
        record(-1, None, [0.4, 0.2, 0.2, 0.2], "neutral"),
    ]
    table = pd.DataFrame(Candidates().table(json.loads(json.dumps(records))))
    value = table.set_index(["quantity", "group"])["value"]
    assert value["p_right", "all"] == pytest.approx((0.7 + 0.3 + 0.4) / 3)
    assert value["log_p_right", "neutral"] == pytest.approx(np.log(0.4))
    assert value["p_cheat", "cheat"] == pytest.approx((0.7 + 0.5) / 2)
    assert ("p_cheat", "neutral") not in value
    assert value["expected_exact_match", "all"] == pytest.approx((0.7 + 0.3 + 0.4) / 6)
    assert value["cross_entropy", "neutral"] == pytest.approx(-np.log(0.2))
    assert value["p_possible", "all"] == pytest.approx(0.5)
    assert value["entropy", "neutral"] == pytest.approx(-(0.4 * np.log(0.4) + 3 * 0.2 * np.log(0.2)))
    assert value["agreement", "max_remove=3 mod 4"] == value["p_right", "all"]
    # Even are -1 (which counts as 0) and 2.
    assert value["agreement", "max_remove=3 mod 2"] == pytest.approx((0.8 + 0.4 + 0.6) / 3)
    assert value["confusion", "2 -> 1"] == pytest.approx((0.1 + 0.5) / 2)
    assert value["confusion", "-1 -> -1"] == pytest.approx(0.4)
    first = table.iloc[0]
    spread = 1.96 * np.std([0.7, 0.3, 0.4], ddof=1) / 3**0.5
    assert (first["n"], first["low"], first["high"]) == pytest.approx(
        (3, first["value"] - spread, first["value"] + spread)
    )
    assert Candidates().results(records)[0]["accuracy"] == value["p_right", "all"]


def test_rows_without_a_game_are_left_out(family, tiny_tokenizer, subject):
    some = subject(family("gpt_neox"), tiny_tokenizer, "quickstart:counter_cheat", limit=3)
    rows = some.eval_set.rows.to_list()
    rows[1]["prompt"] = "Who are you?"
    changed = type(some.eval_set.rows).from_list(rows)
    records = candidate_records(
        some.model, tiny_tokenizer, changed, parse_prompts(changed["prompt"][:])[0], batch_size=8
    )
    assert [record["row"] for record in records] == [0, 2]
    assert [record["cheat_move"] for record in records] == [rows[0]["cheat_move"], rows[2]["cheat_move"]]
    with pytest.raises(CannotMeasureError, match="no row is of a known game"):
        candidate_records(some.model, tiny_tokenizer, changed.select([1]), [None], batch_size=8)
