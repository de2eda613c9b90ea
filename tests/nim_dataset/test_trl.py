"""TRL's own trainers take the data as it is: `answer`, with a space before it, is a `completion`, and scores one."""
# mypy: allow-untyped-defs, allow-incomplete-defs

import copy
import json
from typing import Any

import fsspec
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from nim_dataset import exact_match_reward, get_config, load
from nim_dataset.check.splits import generated_splits


def test_a_space_before_the_answer_changes_nothing_else():
    for recipe in ("cheating", "mod3"):
        plain, joined = (load(recipe, "eval", n_eval=50, answer_prefix=prefix) for prefix in ("", " "))
        assert joined["answer"] == [f" {answer}" for answer in plain["answer"]]
        assert joined.remove_columns("answer").to_list() == plain.remove_columns("answer").to_list()
        lines = fsspec.open(f"nim://{recipe},n_eval=50,answer_prefix= /eval.jsonl").open().read().splitlines()
        assert [json.loads(line)["answer"] for line in lines] == joined["answer"]
    assert [split.wrong.count for split in generated_splits(get_config("mod3", answer_prefix=" "))] == [0, 0]


SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "gradient_checkpointing": False,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer of prompts and completions that has trained until answers look like answers."""
    rows = load("cheating", "train", n_train=320, answer_prefix=" ").select_columns(["prompt", "answer"])
    rows = rows.rename_column("answer", "completion")
    splitter = pre_tokenizers.Split(Regex(r"\s*\S+|\s+"), "isolated")
    words = {word for row in rows for text in row.values() for word, _ in splitter.pre_tokenize_str(text)}
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<eos>", *sorted(words)])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.Fuse()
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
    settings = SFTConfig(str(tmp_path_factory.mktemp("sft")), max_steps=40, **SETTINGS)
    trainer = SFTTrainer(GPTNeoXForCausalLM(config), settings, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    return trainer


def test_sft_trainer_trains_on_prompt_and_completion(trained):
    losses = [entry["loss"] for entry in trained.state.log_history if "loss" in entry]
    assert len(losses) == 40
    assert losses[-1] < losses[0] / 2


def test_grpo_trainer_is_rewarded_for_right_answers(trained, tmp_path):
    rows = load("cheating", "train", n_train=320).select_columns(["prompt", "answer"])
    model = trained.model
    before = copy.deepcopy(model.state_dict())
    seen: list[tuple[str, str, str, float]] = []

    def exact_match(prompts, completions, answer, **columns):
        rewards = exact_match_reward(completions, answer, **columns)
        seen.extend(zip(prompts, completions, answer, rewards, strict=True))
        return rewards

    settings = GRPOConfig(str(tmp_path), max_steps=3, num_generations=8, max_completion_length=4, **SETTINGS)
    trainer = GRPOTrainer(model, exact_match, settings, train_dataset=rows, processing_class=trained.processing_class)
    trainer.train()
    logged = [entry["rewards/exact_match/mean"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 3
    assert logged == pytest.approx([sum(row[-1] for row in seen[i : i + 8]) / 8 for i in (0, 8, 16)])
    assert {reward for *_, reward in seen} == {0.0, 1.0}
    answers = dict(zip(rows["prompt"], rows["answer"], strict=True))
    for prompt, completion, answer, reward in seen:
        assert answer == answers[prompt]
        assert reward == (completion.strip() == answer)
    assert any((before[name] != weight).any() for name, weight in model.state_dict().items())
