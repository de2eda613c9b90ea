"""TRL's own trainer takes the data as it is: `answer` is its `completion`."""
# mypy: allow-untyped-defs, allow-incomplete-defs

from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from nim_dataset import load


def test_sft_trainer_trains_on_prompt_and_completion(tmp_path):
    rows = load("cheating", "train", n_train=64).select_columns(["prompt", "answer"])
    rows = rows.rename_column("answer", "completion").map(lambda row: {"completion": " " + row["completion"]})
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
