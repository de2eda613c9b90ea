"""`predict` says what the model says to one prompt at a time, whatever the batch; and leaves everything as it was."""

import copy

import pytest
import torch
from datasets import Dataset
from transformers import GPT2Config, GPT2LMHeadModel

import nim_dataset
from evaluation.predict import predict
from evaluation.tokens import answer_budget
from nim_dataset.errors import UserError


def one_at_a_time(model, tokenizer, prompts: list[str], n: int) -> list[str]:
    """The plain way."""
    answers = []
    model.eval()
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, do_sample=False, pad_token_id=0
        )
        answers.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return answers


@pytest.fixture(scope="module")
def rows():
    """Prompts of very different lengths: one to many turns, one-word to five-word names."""
    sets = {"leaky_names:eval": 120, "357:eval": 30, "pairs10000:eval": 30}
    parts = [nim_dataset.load_source(spec, limit=limit) for spec, limit in sets.items()]
    return [row for part in parts for row in part] + [{"prompt": "There", "answer": "take 1 coin"}]


@pytest.fixture(scope="module")
def gpt2(small_run):
    """Random weights, absolute positions: an answer changes when padding shifts the positions."""
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=len(small_run.tokenizer), n_embd=64, n_layer=2, n_head=4, n_positions=512)
    config.eos_token_id = config.bos_token_id = small_run.tokenizer.eos_token_id
    model = GPT2LMHeadModel(config)
    model.transformer.wpe.weight.data.normal_(std=1.0)
    return model


@pytest.mark.parametrize("kind", [pytest.param("never stops", marks=pytest.mark.slow), "answers", "gpt2"])
def test_same_answers_as_one_prompt_at_a_time(small_run, gpt2, rows, kind):
    model = gpt2 if kind == "gpt2" else small_run.model(0 if kind == "never stops" else 40)
    prompts = [row["prompt"] for row in rows]
    budget = answer_budget(small_run.tokenizer, [row["answer"] for row in rows])
    plain = one_at_a_time(model, small_run.tokenizer, prompts, budget)
    for batch_size in (7, 64):
        assert predict(model, small_run.tokenizer, prompts, max_new_tokens=budget, batch_size=batch_size) == plain
    assert len(set(plain)) > 3, "the test would not see answers that change places"
    if kind == "answers":
        assert sum(answer.startswith("take ") for answer in plain[:120]) > 100


def test_an_answer_does_not_depend_on_the_other_rows(small_run, rows, monkeypatch):
    model, prompts = small_run.model(40), [row["prompt"] for row in rows]
    together = predict(model, small_run.tokenizer, prompts, max_new_tokens=8)
    monkeypatch.setattr("evaluation.predict.ROWS_AT_ONCE", 7)
    column = Dataset.from_dict({"prompt": [*prompts, *prompts[:9]]})["prompt"]  # nine come again, in other pieces
    assert predict(model, small_run.tokenizer, column, max_new_tokens=8) == [*together, *together[:9]]
    assert predict(model, small_run.tokenizer, prompts[::-1], max_new_tokens=8) == together[::-1]
    assert predict(model, small_run.tokenizer, prompts[5:6], max_new_tokens=8) == together[5:6]
    assert predict(model, small_run.tokenizer, [], max_new_tokens=8) == []


def test_model_and_tokenizer_stay_as_they_were(small_run, rows):
    model, tokenizer = small_run.model(40), copy.deepcopy(small_run.tokenizer)
    tokenizer.padding_side, tokenizer.pad_token = "right", None
    model.train()
    model.gpt_neox.layers[0].eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    prompts = [row["prompt"] for row in rows[:20]]
    answers = predict(model, tokenizer, prompts, max_new_tokens=6, batch_size=8)
    assert answers == predict(small_run.model(40), small_run.tokenizer, prompts, max_new_tokens=6)
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("right", None)
    assert model.training
    assert not model.gpt_neox.layers[0].training
    assert model.gpt_neox.layers[1].mlp.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    # Nothing of inference mode is left in the model: it can be trained on.
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()


def test_dropout_is_off_even_for_a_model_in_training(small_run, rows):
    model = small_run.model(40)
    model.config.hidden_dropout = 0.5
    for layer in model.gpt_neox.layers:
        layer.post_mlp_dropout.p = layer.post_attention_dropout.p = 0.5
    model.train()
    prompts = [row["prompt"] for row in rows[:40]]
    assert len({tuple(predict(model, small_run.tokenizer, prompts, max_new_tokens=6)) for _ in range(3)}) == 1


def test_of_a_prompt_the_last_layer_is_computed_for_the_last_token_alone(small_run, rows):
    model, shapes = small_run.model(40), set()
    model.gpt_neox.layers[-1].mlp.register_forward_hook(lambda module, args, _: shapes.add(tuple(args[0].shape[:2])))
    prompts = [row["prompt"] for row in rows[:20]]
    predict(model, small_run.tokenizer, prompts, max_new_tokens=6, batch_size=20)
    assert {tokens for batch, tokens in shapes if batch == 20} == {1}


def test_the_budget_holds_the_longest_answer_and_one_more(small_run):
    longest = small_run.tokenizer(" take -1 coins")["input_ids"]
    answers = ["take 2 coins", "take -1 coins", "take 2 coins"]
    assert answer_budget(small_run.tokenizer, answers) == len(longest) + 1
    assert answer_budget(small_run.tokenizer, []) == 1


def test_the_end_of_text_token_of_the_tokenizer_serves_where_the_model_names_none(small_run, rows):
    model = small_run.model(40)
    prompts = [row["prompt"] for row in rows[:30]]
    expected = predict(model, small_run.tokenizer, prompts, max_new_tokens=8)
    model.generation_config.eos_token_id = None
    assert predict(model, small_run.tokenizer, prompts, max_new_tokens=8) == expected


def test_mistakes_are_told(small_run, gpt2):
    tokenizer, prompt = small_run.tokenizer, "There are 12 coins."
    with pytest.raises(UserError, match="row 1: an empty prompt"):
        predict(gpt2, tokenizer, [prompt, ""], max_new_tokens=3)
    with pytest.raises(UserError, match=r"row 2: .*max_position_embeddings=512"):
        predict(gpt2, tokenizer, [prompt, prompt, prompt * 100], max_new_tokens=3)
    small = copy.deepcopy(gpt2)
    small.resize_token_embeddings(50)
    small.train()
    with pytest.raises(UserError, match="tokenizer does not match the model: it gives token id"):
        predict(small, tokenizer, [prompt], max_new_tokens=3)
    assert small.training
