"""The loss sees the answer and one end-of-text token, and nothing else; batches and their layout change nothing."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    RecurrentGemmaConfig,
    RwkvConfig,
)

from evaluation.last_layer import needed_at_places_only
from evaluation.predict import predict
from evaluation.tokens import ANSWER_PREFIX
from nim_dataset.errors import UserError
from training.config import TrainConfig
from training.data.encoding import IGNORE, AnswerCollator, encode_rows
from training.data.end_to_end import BY_ROW, OWN, attention, rows_stay_apart
from training.data.layout import Layout, choose_layout, describe_layout
from training.data.padding import padding_is_ignored
from training.objectives.anchor import Anchor
from training.trainer import AnchoredTrainer

ROWS = range(12)
NARROWED = {
    "gpt_neox": ["mlp", "attention.dense"],
    "gpt2": ["mlp", "attn.c_proj"],
    "llama": ["mlp", "self_attn.q_proj", "self_attn.o_proj"],
    "opt": ["self_attn.q_proj", "self_attn.out_proj"],
}
"""Of the last layer: what is computed at the answers only, by shape."""


@pytest.fixture
def collate(data: Any) -> AnswerCollator:
    return AnswerCollator(data.tokenizer.pad_token_id)


@pytest.fixture
def end_to_end(data: Any) -> AnswerCollator:
    return AnswerCollator(data.tokenizer.pad_token_id, end_to_end=True)


def test_only_the_answer_and_one_end_token_are_labels(
    data: Any, collate: AnswerCollator, end_to_end: AnswerCollator
) -> None:
    batch, flat = (collator([data.encoded[i] for i in ROWS]) for collator in (collate, end_to_end))
    K = batch["logits_to_keep"]
    assert batch["labels"].shape[1] == K
    end = 0
    for i in ROWS:
        counted = [token for token in batch["labels"][i].tolist() if token != IGNORE]
        answer = data.tokenizer(ANSWER_PREFIX + data.rows[i]["answer"], add_special_tokens=False)["input_ids"]
        assert counted == [*answer, data.tokenizer.eos_token_id]
        prompt = data.tokenizer(data.rows[i]["prompt"], add_special_tokens=False)["input_ids"]
        real = batch["input_ids"][i][batch["attention_mask"][i].bool()].tolist()
        assert real == prompt + counted[:-1]  # the end token is predicted, and predicts nothing
        assert batch["attention_mask"][i, -1] == 1  # padding is on the left
        start, end = end, end + flat["row_lengths"][i]
        assert flat["input_ids"][0, start:end].tolist() == real
        assert flat["position_ids"][0, start:end].tolist() == list(range(len(real)))
    assert flat["input_ids"].shape == (1, end)
    assert flat["labels"][0].tolist() == batch["labels"][batch["labels"] != IGNORE].tolist()
    ends = np.cumsum(flat["row_lengths"])
    answers = [int((row != IGNORE).sum()) for row in batch["labels"]]
    expected = [place for end, n in zip(ends, answers, strict=True) for place in range(end - n, end)]
    assert flat["logits_to_keep"].tolist() == expected


@pytest.mark.parametrize("shape", ["gpt_neox", "gpt2", "llama", "opt"])
def test_both_layouts_give_the_loss_and_gradient_of_all_logits(
    data: Any, collate: AnswerCollator, end_to_end: AnswerCollator, shape: str
) -> None:
    model = data.model(shape, torch.float64)
    batch = collate([data.encoded[i] for i in ROWS])
    ends = {"input_ids": batch["labels"][:, -1:], "attention_mask": torch.ones(len(ROWS), 1, dtype=torch.int64)}
    ends["position_ids"] = batch["position_ids"][:, -1:] + 1
    wide = {key: torch.cat([batch[key], end], dim=1) for key, end in ends.items()}
    labels = nn.functional.pad(
        batch["labels"], (wide["input_ids"].shape[1] - batch["labels"].shape[1], 0), value=IGNORE
    )
    full = model(**wide, labels=labels).loss
    expected = torch.autograd.grad(full, list(model.parameters()))
    names = {module: name for name, module in model.named_modules()}
    for layout, why_padded in ((batch, "asked for"), (end_to_end([data.encoded[i] for i in ROWS]), "")):
        with Layout(model, why_padded).applied(layout):
            narrowed = needed_at_places_only(model, layout)
        assert [names[module].partition(".1.")[2] for module in narrowed] == NARROWED[shape]
        for modules in ([], narrowed):
            with Layout(model, why_padded, modules).applied(layout):
                ours = model(**layout).loss
                gradients = torch.autograd.grad(ours, list(model.parameters()))
            torch.testing.assert_close(ours, full, rtol=1e-6, atol=0)
            for mine, theirs in zip(gradients, expected, strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-8)


def test_gradient_checkpointing_computes_the_same_again(data: Any, end_to_end: AnswerCollator) -> None:
    model = data.model("gpt_neox", torch.float64).train()
    batch = end_to_end([data.encoded[i] for i in ROWS])
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        with Layout(model, "", [model.gpt_neox.layers[-1].mlp]).applied(batch):
            gradients.append(torch.autograd.grad(model(**batch).loss, list(model.parameters())))
    torch.testing.assert_close(*gradients)


def test_a_loss_that_reads_the_last_layer_elsewhere_is_computed_in_full(data: Any, collate: AnswerCollator) -> None:
    size: Any = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    experts: Any = {"num_local_experts": 4, "num_key_value_heads": 1, "vocab_size": len(data.tokenizer)}
    for balanced in (False, True):  # a loss of how the experts share all tokens
        torch.manual_seed(0)
        config = MixtralConfig(**size, **experts, output_router_logits=balanced, router_aux_loss_coef=1.0)
        model, rows = AutoModelForCausalLM.from_config(config), data.encoded
        layout = choose_layout(model, TrainConfig("unused"), rows, collate, rows.longest_inputs())
        assert bool(layout.narrowed) != balanced


@pytest.mark.parametrize("shape", ["gpt_neox", "gpt2", "llama"])
def test_end_to_end_a_row_changes_no_other_row(data: Any, end_to_end: AnswerCollator, shape: str) -> None:
    model = data.model(shape, torch.float64).eval()
    batch = end_to_end([data.encoded[i] for i in ROWS])
    inputs = {key: batch[key] for key in ("input_ids", "position_ids", "row_lengths")}
    first = batch["row_lengths"][0]
    with attention(model, BY_ROW):
        before = model(**inputs).logits
        inputs["input_ids"][0, first - 1] = 9  # the last token of the first row
        after = model(**inputs).logits
    assert not torch.equal(before[0, first - 1], after[0, first - 1])
    torch.testing.assert_close(before[0, first:], after[0, first:], rtol=0, atol=0)
    torch.testing.assert_close(before[0, : first - 1], after[0, : first - 1], rtol=0, atol=0)


def test_models_whose_rows_would_touch_are_padded(data: Any, tmp_path: Any) -> None:
    size: Any = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    common: Any = {"vocab_size": len(data.tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    windowed = MistralConfig(**size, **common, num_key_value_heads=1, sliding_window=8)
    shapes: dict[str, tuple[Any, bool]] = {
        "grouped keys and values": (LlamaConfig(**size, **common, num_key_value_heads=1), True),
        "a wide window": (MistralConfig(**size, **common, num_key_value_heads=1, sliding_window=512), True),
        "a window shorter than a row": (windowed, False),
        "a state that runs through": (MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4, **common), False),
        "positions that come with the mask": (BloomConfig(hidden_size=32, n_layer=2, n_head=2, **common), False),
    }
    for name, (config, apart) in shapes.items():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():  # a freshly made model attends to everything alike
            for parameter in model.parameters():
                parameter.mul_(3)
        assert rows_stay_apart(model, data.encoded.longest_inputs()) == apart, name

    args = TrainConfig(output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=4, disable_tqdm=True)
    trainer = AnchoredTrainer(
        model=AutoModelForCausalLM.from_config(windowed),
        args=args,
        train_dataset=data.encoded,
        processing_class=data.tokenizer,
        objectives={"anchor": Anchor()},
    )
    assert not trainer.layout.end_to_end
    said = r"padded to the longest, 0\.\d% more tokens \(end to end, a mistral model would not keep rows apart\)"
    assert re.fullmatch(said, describe_layout(trainer.layout, data.encoded, 4))
    assert trainer.train().global_step == 2


def test_a_model_that_reads_padding_is_refused_and_predicts_without_it(data: Any, tmp_path: Any) -> None:
    size: Any = {"hidden_size": 32, "vocab_size": len(data.tokenizer), "eos_token_id": 0, "num_hidden_layers": 2}
    heads: Any = {"num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64, "lru_width": 32}
    torch.manual_seed(0)
    readers = (
        RwkvConfig(**size, attention_hidden_size=32),
        RecurrentGemmaConfig(**size, **heads, block_types=("recurrent", "attention")),
    )
    args = TrainConfig(output_dir=str(tmp_path), max_steps=2, disable_tqdm=True)
    for config in readers:
        model = AutoModelForCausalLM.from_config(config)
        with pytest.raises(UserError, match=f"model: a {config.model_type} model reads the padding of shorter rows"):
            AnchoredTrainer(model=model, args=args, train_dataset=data.encoded, processing_class=data.tokenizer)
    rwkv = AutoModelForCausalLM.from_config(readers[0])
    with torch.no_grad():  # a freshly made model says the same to everything
        for parameter in rwkv.parameters():
            parameter.mul_(3)
    prompts = ["There are 12 coins.", *data.rows["prompt"][:6]]
    alone = [predict(rwkv, data.tokenizer, [prompt], max_new_tokens=4)[0] for prompt in prompts]
    assert predict(rwkv, data.tokenizer, prompts, max_new_tokens=4) == alone
    assert padding_is_ignored(data.model("gpt2"), data.encoded[0], data.tokenizer.pad_token_id)


def test_a_model_that_was_trained_end_to_end_attends_as_before(data: Any, tmp_path: Any) -> None:
    model = data.model("gpt_neox")
    args = TrainConfig(output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=4, disable_tqdm=True)
    trainer = AnchoredTrainer(
        model=model,
        args=args,
        train_dataset=data.encoded,
        processing_class=data.tokenizer,
        objectives={"anchor": Anchor()},
    )
    assert trainer.layout.end_to_end
    trainer.train()
    assert model.config._attn_implementation == OWN


@pytest.mark.parametrize("shape", ["gpt_neox", "gpt2", "llama"])
def test_what_is_in_the_padding_changes_no_loss(data: Any, collate: AnswerCollator, shape: str) -> None:
    model = data.model(shape, torch.float64).eval()
    rows = sorted((data.encoded[i] for i in ROWS), key=lambda row: len(row["input_ids"]))
    alone = [model(**collate([row])).loss.item() for row in rows]
    # A row of padding's length in front of everything: eleven more columns than any row needs.
    longer = {"input_ids": np.concatenate([np.full(11, 5, np.int32), rows[-1]["input_ids"]]), "answer_tokens": 1}
    batch = collate([*rows, longer])
    for i, expected in enumerate(alone):
        row = {key: value[i : i + 1] if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
        padding = row["attention_mask"] == 0
        assert padding.any()
        for token in (7, data.tokenizer.eos_token_id):
            row["input_ids"] = torch.where(padding, token, row["input_ids"])
            assert model(**row).loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_answer_is_predicted_from_the_prompt_and_not_from_itself(data: Any, collate: AnswerCollator) -> None:
    model = data.model("gpt_neox", torch.float64).eval()
    batch = collate([data.encoded[0]])
    K = batch["logits_to_keep"]
    before = model(**batch).logits[0, 0]
    batch["input_ids"][0, -K + 1 :] = 9
    torch.testing.assert_close(model(**batch).logits[0, 0], before)


def test_rows_that_do_not_fit_are_an_error_that_counts_them(data: Any) -> None:
    longest = max(len(data.encoded[i]["input_ids"]) for i in range(len(data.encoded)))
    with pytest.raises(UserError, match=rf"max_length: \d+ of the 640 rows .*the longest has {longest}\)"):
        encode_rows(data.rows, data.tokenizer, longest - 1, "quickstart")
    assert len(encode_rows(data.rows, data.tokenizer, longest, "quickstart")) == 640


def test_rows_of_the_same_text_are_encoded_alike(data: Any) -> None:
    order = [3, 1, 3, 0, 1, 3]
    encoded = encode_rows(data.rows.select(order), data.tokenizer, 128, "quickstart")
    for i, row in enumerate(order):
        mine = encoded[i]
        assert mine["input_ids"].tolist() == data.encoded[row]["input_ids"].tolist()
        assert mine["answer_tokens"] == data.encoded[row]["answer_tokens"]


def test_no_rows_and_no_end_token_are_errors(data: Any) -> None:
    with pytest.raises(UserError, match="train_data: 'empty' has no rows"):
        encode_rows(data.rows.select([]), data.tokenizer, 128, "empty")
    blank = data.rows.select([0, 1]).map(lambda row, i: {"prompt": "" if i else row["prompt"]}, with_indices=True)
    with pytest.raises(UserError, match="prompt: row 1 of 'blank' has no tokens"):
        encode_rows(blank, data.tokenizer, 128, "blank")
    endless = type(data.tokenizer)(tokenizer_object=data.tokenizer.backend_tokenizer)
    with pytest.raises(UserError, match="tokenizer: it has no end-of-text token"):
        encode_rows(data.rows, endless, 128, "quickstart")


@pytest.mark.parametrize(
    ("fp16", "remedy"), [(False, "lower --learning_rate"), (True, "fp16 overflows above 65,504.* take --bf16 true")]
)
def test_a_non_finite_loss_stops_the_run(data: Any, tmp_path: Any, fp16: bool, remedy: str) -> None:
    model = data.model("gpt_neox")
    with torch.no_grad():
        model.get_input_embeddings().weight[int(data.encoded[0]["input_ids"][0])] = float("inf")
    args = TrainConfig(output_dir=str(tmp_path), max_steps=5, learning_rate=3e-4, disable_tqdm=True, fp16=fp16)
    trainer = AnchoredTrainer(
        model=model,
        args=args,
        train_dataset=data.encoded,
        processing_class=data.tokenizer,
        objectives={"anchor": Anchor()},
    )
    with pytest.raises(UserError, match=rf"loss became nan at step 1 \(learning rate .* checkpoint is none; {remedy}"):
        trainer.train()
