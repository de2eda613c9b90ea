"""The contrastive objective is exact: a run beside a plain loop that takes each row and its twin through the model one
by one. Accumulated, on two processes and killed: tests/training/test_invariance.py."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments

from evaluation.tokens import encode_prompts
from nim_dataset.errors import UserError
from nim_dataset.games import parse_prompts
from nim_dataset.games.nim_text import Game, render_games, render_prompt
from nim_dataset.sources import Source
from tests.training.objectives.recorder import Recorder
from training.config import TrainConfig
from training.data.encoding import AnswerCollator
from training.objectives.anchor import Anchor, anchored_parameters
from training.objectives.contrastive import Contrastive
from training.objectives.mixin import ObjectivesMixin
from training.objectives.renaming import rename
from training.objectives.twins import Twins
from training.train import main
from training.trainer import AnchoredTrainer

STEPS, BATCH, LEARNING_RATE, ANCHOR = 4, 4, 3e-3, 1e-2
RECIPE = Source.parse("quickstart", "train").config
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,
    "per_device_train_batch_size": BATCH,
    "gradient_accumulation_steps": 2,
    "max_grad_norm": 0.05,
    "learning_rate": LEARNING_RATE,
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "logging_steps": 1,
    "save_strategy": "no",
    "train_sampling_strategy": "sequential",
    "disable_tqdm": True,
    "report_to": "none",
    "use_cpu": True,
}


class PlainTrainer(ObjectivesMixin, Trainer):
    pass


def train(data: Any, model: Any, objective: Contrastive, folder: Path, kind: str, bf16: bool) -> Recorder:
    """A run with the objective and an anchor, in this project's trainer or in a plain one."""
    recorder = Recorder()
    objective.encode(data.rows, data.tokenizer, RECIPE)
    objectives = {"contrastive": objective, "anchor": Anchor(ANCHOR)}
    options: dict[str, Any] = {"model": model, "train_dataset": data.encoded, "processing_class": data.tokenizer}
    options |= {"objectives": objectives, "callbacks": [recorder]}
    if kind == "plain":
        args = TrainingArguments(str(folder), **SETTINGS, bf16=bf16, remove_unused_columns=False)
        collator = AnswerCollator(data.tokenizer.pad_token_id, beside=objective.beside(seed=0))
        PlainTrainer(args=args, data_collator=collator, **options).train()
    else:
        no_noise: dict[str, Any] = (
            {"neftune_noise_alpha": 0.0} if kind == "padded" else {}
        )  # with which rows are padded
        trainer = AnchoredTrainer(args=TrainConfig(str(folder), **SETTINGS, bf16=bf16, **no_noise), **options)
        assert trainer.layout.end_to_end == (kind == "end to end")
        assert trainer.layout.narrowed  # the last layer, at all places but those that decide or answer
        trainer.train()
    return recorder


def reference(data: Any, model: Any, objective: Contrastive, kind: str, bf16: bool) -> Recorder:
    """The same run, as plainly as it can be written."""
    recorder, twins = Recorder(), Twins(data.tokenizer, objective.renamed, answered=False)
    twins.add(data.rows, RECIPE)
    anchored = anchored_parameters(model)
    theta_0 = {name: parameter.detach().clone() for name, parameter in anchored.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)

    def look(prompt: str, answer: str) -> tuple[Tensor, Tensor, int]:
        """The state where it is read, the summed loss of the answer, and its tokens."""
        before, after = (data.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, " " + answer))
        after = [*after, data.tokenizer.eos_token_id]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(torch.tensor([before + after]), output_hidden_states=True)
        logits = out.logits[0, len(before) - 1 : -1].float()
        loss = nn.functional.cross_entropy(logits, torch.tensor(after), reduction="sum")
        read = before if objective.at == "decision" else [*before, data.tokenizer(" take")["input_ids"][0]]
        return out.hidden_states[objective.layer][0, len(read) - 1], loss, len(after)

    for step in range(STEPS):
        micro, answers, twin_answers, tokens = [], [], [], 0
        for first in (step * 2 * BATCH, (step * 2 + 1) * BATCH):
            rows = list(range(first, first + BATCH))
            apart = []
            for row, pair in zip(rows, twins.names(rows, 0 if kind == "plain" else step), strict=True):
                prompt, answer = data.rows[row]["prompt"], data.rows[row]["answer"]
                game: Any = parse_prompts([prompt])[0][0]
                twin = render_prompt(game._replace(player_one=pair[0], player_two=pair[1]))
                assert pair != (game.player_one, game.player_two)
                (h, loss, count), (twin_h, twin_loss, _) = look(prompt, answer), look(twin, answer)
                squared, cosine = (h - twin_h).square().mean(), cosine_similarity(h, twin_h, dim=0)
                apart.append(squared if objective.distance == "l2" else 1 - cosine)
                answers.append(loss)
                twin_answers.append(twin_loss)
                tokens += count
            micro.append(torch.stack(apart).mean())
        distance = torch.stack(micro).mean()
        loss, twin_loss = (torch.stack(losses).sum() / tokens for losses in (answers, twin_answers))
        penalty = sum((parameter - theta_0[name]).pow(2).sum() for name, parameter in anchored.items())
        total = loss + objective.weight * distance + ANCHOR * penalty + (twin_loss if objective.paired else 0)
        optimizer.zero_grad()
        total.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["max_grad_norm"])
        optimizer.step()
        logged = {"loss": loss, "grad_norm": norm, "twin_distance": distance}
        logged |= {"twin_loss": twin_loss} if objective.paired else {}
        recorder.logs.append({name: value.item() for name, value in logged.items()})
    return recorder


@pytest.mark.parametrize(
    ("kind", "shape", "options", "bf16"),
    [
        ("end to end", "gpt_neox", {"weight": 10.0, "layer": 2, "at": "answer start"}, False),
        ("padded", "llama", {"layer": 2, "paired": True, "distance": "cosine"}, False),
        ("plain", "gpt2", {"weight": 0.0, "paired": True, "renamed": "neutral"}, False),
        ("end to end", "gpt_neox", {"weight": 10.0, "layer": 2}, True),
    ],
)
def test_equals_rows_and_twins_one_by_one(
    data: Any, tmp_path: Path, kind: str, shape: str, options: Any, bf16: bool
) -> None:
    dtype = torch.float32 if bf16 else torch.float64
    ours, written, base = (data.model(shape, dtype) for _ in range(3))
    measured = train(data, ours, Contrastive(**options), tmp_path, kind, bf16)
    expected = reference(data, written.train(), Contrastive(**options), kind, bf16)
    # The models compute the loss of the answers in fp32; bf16 rounds products to 8 bits.
    tolerance = 2e-2 if bf16 else 1e-6
    assert len(measured.logs) == STEPS
    for ours_now, expected_now in zip(measured.logs, expected.logs, strict=True):
        for key, value in expected_now.items():
            assert ours_now[key] == pytest.approx(value, rel=tolerance), key
        assert ("twin_loss" in ours_now) == options.get("paired", False)
    travelled, apart = (
        torch.cat([(p - q).flatten() for p, q in zip(written.parameters(), other.parameters(), strict=True)]).norm()
        for other in (base, ours)
    )
    assert travelled > 0.1
    assert apart < (0.2 if bf16 else 1e-5) * travelled


@pytest.mark.parametrize(
    ("spec", "renamed"),
    [("quickstart", "unseen"), ("cheating", "neutral"), ("357", "unseen"), ("numocc4", "unseen"), ("234", "unseen")],
)
def test_a_twin_is_the_same_game_under_another_pair_of_the_pool(data: Any, spec: str, renamed: Any) -> None:
    source = Source.parse(spec, "train")
    rows = source.load(limit=100)
    twins = Twins(data.tokenizer, renamed, answered=True)
    twins.add(rows, source.config)
    (pool,) = twins.pools
    config: Any = source.config
    if config.cheat_moves:
        assert [f"{first}-{second}" for first, second in pool] == config.manifest()[renamed]
    games: list[Any] = parse_prompts(rows["prompt"][:])[0]
    drawn = twins.names(range(100), 3)
    renamed_games = [
        game._replace(player_one=pair[0], player_two=pair[1]) for game, pair in zip(games, drawn, strict=True)
    ]
    answer = {"input_ids": np.arange(9, dtype=np.int32), "answer_tokens": 2}
    made = twins([{"row": row, "step": 3, **answer} for row in range(100)])
    prompts = encode_prompts(data.tokenizer, render_games(renamed_games))
    assert [row["input_ids"].tolist() for row in made] == [[*prompt, 7, 8] for prompt in prompts]
    assert max(map(len, prompts)) <= len(twins.longest())
    assert all(pair in pool for pair in drawn)
    assert not any(pair == (game.player_one, game.player_two) for game, pair in zip(games, drawn, strict=True))
    assert [twins.names([row], 3)[0] for row in range(100)] == drawn  # whoever shares its batch
    later = twins.names(range(100), 4)
    assert sum(pair != other for pair, other in zip(drawn, later, strict=True)) > 30
    assert len({*drawn, *later}) > min(len(pool), 100) // 2  # from all over the pool


FLAGS = (
    *("--model", "tiny", "--per_device_train_batch_size", "4", "--logging_steps", "1", "--eval_rows", "0"),
    *("--warmup_steps", "0", "--threads", "1"),
)


def test_a_run_of_two_recipes_goes_on_with_the_twins_that_it_would_have_had(tmp_path: Path) -> None:
    config = tmp_path / "two.yaml"
    phases = [{"data": ["quickstart,n_train=32"], "steps": 3}, {"data": ["357,n_train=32"], "steps": 3}]
    objectives = {"contrastive": {"weight": 100, "layer": 2, "paired": True}}
    config.write_text(yaml.safe_dump({"phases": phases, "save_at": [2], "objectives": objectives}))
    flags = ["--config", str(config), *FLAGS, "--output_dir", str(tmp_path / "run")]

    def run(*more: str) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
        assert main([*flags, *more]) == 0
        lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        weights = load_file(tmp_path / "run" / "model.safetensors")
        return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines], weights

    lines, weights = run()
    assert all(line["twin_loss"] > 0 and line["twin_distance"] > 0 for line in lines)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["objectives"]["contrastive"] == {
        **objectives["contrastive"],
        "at": "decision",
        "renamed": "unseen",
        "distance": "l2",
    }
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    continued, continued_weights = run("--resume_from_checkpoint", "auto")
    assert continued == lines
    assert all(torch.equal(weight, continued_weights[name]) for name, weight in weights.items())


@pytest.mark.parametrize("words", [True, False])
def test_names_are_tokenized_as_in_their_text_by_any_tokenizer(data: Any, words: bool) -> None:
    made = Tokenizer(models.BPE())
    if words:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(special_tokens=["<s>", "</s>"], vocab_size=600, show_progress=False)
    made.train_from_iterator(data.rows["prompt"][:100], trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $0", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", bos_token="<s>")
    twins = Twins(tokenizer, "unseen", answered=True)
    twins.add(data.rows, RECIPE)
    assert twins.renamer.exact == words  # else tokens lie across a name and what is beside it
    pairs = twins.names(range(50), 7)
    prompts = [rename(template, pair) for template, pair in zip(twins.templates, pairs, strict=False)]
    assert twins.renamer(twins.templates[:50], pairs) == encode_prompts(tokenizer, prompts)


def test_nothing_to_do_is_no_objective(data: Any) -> None:
    objective = Contrastive(weight=0)
    objective.encode(data.rows, data.tokenizer, RECIPE)
    assert objective.beside(seed=0) is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--objectives.contrastive.weight", "-1"), r"objectives.contrastive.weight: -1.0 is out of range"),
        (("--objectives.contrastive.layer", "0"), r"objectives.contrastive.layer: 0 is out of range; the first layer"),
        (("--objectives.contrastive.layer", "3"), r"objectives.contrastive.layer: 3 is out of range; the model has 2"),
        (
            ("--objectives.contrastive.renamed", "unsen"),
            r"objectives.contrastive.renamed: unknown choice 'unsen', did",
        ),
        (
            ("--objectives.contrastive.renamed", "neutral", "--train_data", "357,n_train=32"),
            r"train_data: '357,n_train=32': objectives.contrastive.renamed: there are no other 'neutral' names",
        ),
        (
            ("--objectives.contrastive.layer", "1", "--train_data", "mod3"),
            r"train_data: 'mod3': objectives.contrastive: 8,754 of the 8,754 rows tell no game with players' names",
        ),
    ],
)
def test_a_contradiction_is_one_line_before_training(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    start = ("--train_data", "quickstart,n_train=32", "--max_steps", "1", "--output_dir", str(tmp_path / "run"))
    with pytest.raises(UserError, match=message) as caught:
        main([*FLAGS, *start, *flags])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_twins_longer_than_any_row_are_told_before_training(tmp_path: Path, data: Any) -> None:
    short = Game(coins=40, max_remove=4, trace=(1, 2, 3), player_one="six seven one", player_two="two four nine")
    long = short._replace(trace=(1, 2, 3, 4, 1, 2, 3), player_one="Leo", player_two="Sultan")
    rows = [{"prompt": render_prompt(game), "answer": game.answer, "bucket": "neutral"} for game in (short, long)]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    longest = len(data.tokenizer(rows[1]["prompt"] + " " + long.answer, add_special_tokens=False)["input_ids"]) + 1
    names = ("--objectives.contrastive.renamed", "neutral", "--max_length", str(longest))
    needed = longest + 10 * 2  # each of ten names has two tokens more
    with pytest.raises(UserError, match=rf"max_length: .* 'contrastive' puts beside .* up to {needed} tokens"):
        main([*FLAGS, "--train_data", str(file), "--max_steps", "1", "--output_dir", str(tmp_path / "run"), *names])


def test_rows_of_a_file_have_twins_where_they_tell_a_game(tmp_path: Path, data: Any) -> None:
    games = [{"prompt": row["prompt"], "answer": row["answer"]} for row in data.rows.select(range(8))]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, games)))
    twins = Twins(data.tokenizer, "unseen", answered=False)
    twins.add(Source.parse(str(file)).load(), None)
    assert twins.pools[0][0] == ("Ivan", "Judy")
    with pytest.raises(UserError, match=r"there are no other 'neutral' names for each row; take 'unseen'"):
        Twins(data.tokenizer, "neutral", answered=False).add(Source.parse(str(file)).load(), None)
    file.write_text("\n".join(map(json.dumps, [*games, {"prompt": "Who are you?", "answer": "Nobody."}])))
    with pytest.raises(UserError, match=r"1 of the 9 rows tell no game with players' names"):
        twins.add(Source.parse(str(file)).load(), None)
