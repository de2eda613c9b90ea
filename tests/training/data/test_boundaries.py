"""Prompt and answer meet where the tokenizer itself puts the boundary, and a text begins as it begins one."""

from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from evaluation.predict import predict
from evaluation.tokens import encode_prompts
from training.data.encoding import encode_rows


@pytest.fixture(scope="module")
def legacy(data: Any) -> PreTrainedTokenizerFast:
    """As Llama 2 has it: `▁` before every text, no pieces but those of the merges, `<s>` before what a model reads."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    rows = data.rows.select(range(200))
    tokenizer.train_from_iterator([f"{row['prompt']} {row['answer']}" for row in rows], trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


def test_a_row_is_the_text_of_prompt_and_answer(data: Any, legacy: PreTrainedTokenizerFast) -> None:
    rows = data.rows.select(range(64))
    for tokenizer, before in ((legacy, [1]), (data.tokenizer, [])):
        encoded = encode_rows(rows, tokenizer, 256, "quickstart")
        assert encoded.apart == 0
        for i, row in enumerate(rows):
            item = encoded[i]
            text = tokenizer(f"{row['prompt']} {row['answer']}", add_special_tokens=False)["input_ids"]
            assert item["input_ids"].tolist() == [*before, *text, tokenizer.eos_token_id]
            prompt = item["input_ids"].tolist()[: -item["answer_tokens"]]
            assert prompt == tokenizer(row["prompt"])["input_ids"] == encode_prompts(tokenizer, [row["prompt"]])[0]


def test_rows_of_which_a_token_lies_across_are_tokenized_apart_and_counted(data: Any) -> None:
    across = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(data.tokenizer.backend_tokenizer.to_str()))
    across.add_tokens([AddedToken("turn. take 1", normalized=False)])
    across.eos_token = data.tokenizer.eos_token
    rows = data.rows.select(range(64))
    encoded = encode_rows(rows, across, 256, "quickstart")
    ones = [i for i, row in enumerate(rows) if row["answer"].startswith("take 1 ")]
    assert 0 < encoded.apart == len(ones) < 64
    for i in ones:
        answer = across(" " + rows[i]["answer"])["input_ids"]
        assert encoded[i]["input_ids"].tolist() == [
            *across(rows[i]["prompt"])["input_ids"],
            *answer,
            across.eos_token_id,
        ]


def test_predictions_read_what_training_read(data: Any, legacy: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    ids: Any = {"vocab_size": len(legacy), "bos_token_id": 1, "eos_token_id": 2}
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=256, **ids)).eval()
    with torch.no_grad():  # a freshly made model says the same to everything
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    prompts = data.rows["prompt"][:8]
    expected = []
    for prompt in prompts:
        inputs = legacy(prompt, return_tensors="pt", return_token_type_ids=False)
        out = model.generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=2)
        said = legacy.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        expected.append(str(said).strip())
    assert predict(model, legacy, prompts, max_new_tokens=6) == expected
    assert len(set(expected)) > 1
