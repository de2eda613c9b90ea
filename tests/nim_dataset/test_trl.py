"""TRL's own trainer takes the data as it is: `answer`, with a space before it, is its `completion`."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import json

import fsspec
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from nim_dataset import get_config, load
from nim_dataset.check.splits import generated_splits


def test_a_space_before_the_answer_changes_nothing_else():
    for recipe in ("cheating", "mod3"):
        plain, joined = (load(recipe, "eval", n_eval=50, answer_prefix=prefix) for prefix in ("", " "))
        assert joined["answer"] == [f" {answer}" for answer in plain["answer"]]
        assert joined.remove_columns("answer").to_list() == plain.remove_columns("answer").to_list()
        lines = fsspec.open(f"nim://{recipe},n_eval=50,answer_prefix= /eval.jsonl").open().read().splitlines()
        assert [json.loads(line)["answer"] for line in lines] == joined["answer"]
    assert [split.wrong.count for split in generated_splits(get_config("mod3", answer_prefix=" "))] == [0, 0]


def test_sft_trainer_trains_on_prompt_and_completion(tmp_path):
    rows = load("cheating", "train", n_train=64, answer_prefix=" ").select_columns(["prompt", "answer"])
    rows = rows.rename_column("answer", "completion")
    splitter = pre_tokenizers.Split(Regex(r"\s*\S+|\s+"), "isolated")
    words = {word for row in rows for text in row.values() for word, _ in splitter.pre_tokenize_str(text)}
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<eos>", *sorted(words)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    backend.pre_tokenizer = splitter
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", pad_token="<pad>")
    config = GPTNeoXConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=1,
    )
    settings = SFTConfig(
        str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        logging_steps=1,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        gradient_checkpointing=False,
    )
    trainer = SFTTrainer(GPTNeoXForCausalLM(config), settings, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
