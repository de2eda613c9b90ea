"""Gradient reversal is exact: `AnchoredTrainer` beside a plain loop in which both gradients are written out."""

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers.processors import TemplateProcessing
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer

import nim_dataset
from nim_dataset.errors import UserError
from training.config import TrainConfig
from training.data.encoding import AnswerCollator, EncodedRows
from training.objectives.adversarial import Adversarial
from training.objectives.anchor import Anchor, anchored_parameters
from training.objectives.contrastive import Contrastive
from training.objectives.interface import Objective
from training.objectives.mixin import ObjectivesMixin
from training.train import main
from training.trainer import AnchoredTrainer

STEPS, LR, CLIP, ANCHOR = 6, 0.5, 2.0, 1e-2


def make_trainer(
    data: Any, encoded: EncodedRows, model: nn.Module, folder: Any, objectives: dict[str, Objective], **options: Any
) -> AnchoredTrainer:
    settings: dict[str, Any] = {"per_device_train_batch_size": 4, "max_grad_norm": CLIP, "max_steps": STEPS, **options}
    args = TrainConfig(
        output_dir=str(folder),
        learning_rate=LR,
        lr_scheduler_type="constant",
        warmup_steps=0,
        logging_steps=2,
        save_strategy="no",
        train_sampling_strategy="sequential",
        optim="sgd",  # which takes a gradient for what it is, where Adam enlarges a rounding error of 0
        disable_tqdm=True,
        **settings,
    )
    return AnchoredTrainer(
        model=model, args=args, train_dataset=encoded, processing_class=data.tokenizer, objectives=objectives
    )


def names_tokens(data: Any, row: int) -> list[int]:
    """The tokens of the prompt that share a character with an occurrence of a name."""
    prompt = data.rows["prompt"][row]
    names = "|".join(re.escape(data.rows[player][row]) for player in ("player_one", "player_two"))
    spans = [match.span() for match in re.finditer(names, prompt)]
    assert len(spans) >= 4
    offsets = data.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [t for t, (begin, end) in enumerate(offsets) if any(begin < stop and start < end for start, stop in spans)]


def reference(
    data: Any, model: nn.Module, head: nn.Module, o: Adversarial, accumulate: int, bf16: bool
) -> list[dict[str, float]]:
    """The same run, as plainly as it can be written; gives the head's figures of every second step."""
    anchored = anchored_parameters(model)
    theta_0 = {name: parameter.detach().clone() for name, parameter in anchored.items()}
    theta, phi = list(model.parameters()), list(head.parameters())
    model_optimizer = torch.optim.SGD(theta, lr=LR)
    head_optimizer = torch.optim.Adam(phi, lr=o.lr)
    labels = data.rows["bucket" if o.label == "bucket" else "cheat_move"][:]
    classes = sorted({label for label in labels if label is not None})
    collate, logs, told = AnswerCollator(data.tokenizer.pad_token_id), [], []
    model.train()
    for step in range(STEPS):
        answers, adversary = torch.zeros(()), torch.zeros(())
        first, many = step * 4 * accumulate, 4 * accumulate
        micro = [range(first + 4 * i, first + 4 * i + 4) for i in range(accumulate)]
        answer_tokens = sum(int(data.encoded.answer_tokens[row]) for row in range(first, first + many))
        for rows in micro:
            inputs = collate([data.encoded[row] for row in rows])
            wanted = inputs.pop("labels")
            del inputs["shift_labels"], inputs["logits_to_keep"]
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                outputs = model(**inputs, output_hidden_states=True)
            logits = outputs.logits[:, -wanted.shape[1] :].float()  # as transformers does, of doubles too
            summed = cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum")
            answers = answers + summed / answer_tokens
            padding = (inputs["attention_mask"] == 0).sum(1).tolist()
            for place, row in enumerate(rows):
                if labels[row] is None:
                    continue
                tokens = [padding[place] + token for token in names_tokens(data, row)]
                scores = head(outputs.hidden_states[o.layer][place, tokens].mean(0))
                target = torch.tensor(classes.index(labels[row]))
                loss = cross_entropy(scores, target)
                adversary = adversary + loss / many
                told.append((int(scores.argmax()) == int(target), loss.item()))
        weight = o.weight * min(step / o.ramp, 1.0) if o.ramp else o.weight
        of_head = torch.autograd.grad(adversary, phi, retain_graph=True)
        of_model = torch.autograd.grad(answers - weight * adversary, theta, materialize_grads=True)
        by_penalty = {id(p): 2 * ANCHOR * (p.detach() - theta_0[name]) for name, p in anchored.items()}
        for p, gradient in zip([*phi, *theta], [*of_head, *of_model], strict=True):
            p.grad = gradient + by_penalty.get(id(p), torch.zeros(()))
        nn.utils.clip_grad_norm_(theta, CLIP)
        model_optimizer.step()
        head_optimizer.step()
        if step % 2:
            rights, losses = zip(*told, strict=True)
            logs.append({"adversary_accuracy": sum(rights) / len(told), "adversary_loss": sum(losses) / len(told)})
            told.clear()
    return logs


def apart(ours: nn.Module, theirs: nn.Module, start: nn.Module) -> float:
    """The distance between two models over that of one of them from where it started."""
    a, b, c = (nn.utils.parameters_to_vector(model.parameters()).double() for model in (ours, theirs, start))
    return ((a - b).norm() / (b - c).norm()).item()


@pytest.mark.parametrize(
    ("shape", "accumulate", "options", "layout"),
    [
        ("gpt_neox", 2, {"weight": 0.5, "lr": 1e-2}, "end to end"),
        ("gpt_neox", 2, {"weight": 0.5, "lr": 1e-2}, "padded"),
        ("gpt2", 1, {"weight": 2.0, "lr": 1e-2, "label": "bound_move", "layer": 2, "ramp": 4}, "end to end"),
        ("gpt_neox", 2, {"weight": 0.5, "lr": 1e-2}, "bf16"),
    ],
)
def test_equals_the_gradients_written_out(
    data: Any, tmp_path: Any, shape: str, accumulate: int, options: dict[str, Any], layout: str
) -> None:
    bf16 = layout == "bf16"
    objective = Adversarial(**options)
    columns = objective.encode(data.rows, data.tokenizer, None)
    encoded = EncodedRows(data.encoded.tokens, data.encoded.starts, data.encoded.answer_tokens, columns)
    ours = data.model(shape, torch.float32 if bf16 else torch.float64)
    if layout == "padded" or bf16:
        ours._supports_attention_backend = False
    start, theirs = copy.deepcopy(ours), copy.deepcopy(ours)
    objectives = {"anchor": Anchor(ANCHOR), "adversarial": objective}
    split = {"gradient_accumulation_steps": accumulate, "bf16": bf16}
    trainer = make_trainer(data, encoded, ours, tmp_path, objectives, **split)
    assert trainer.layout.end_to_end == (layout == "end to end")
    assert bool(trainer.layout.narrowed) == (objective.layer < 2)
    trainer.prepare_objectives(ours)
    head, head_start = copy.deepcopy(objective.head), copy.deepcopy(objective.head)
    trainer.train()
    logs = reference(data, theirs, head, objective, accumulate, bf16)
    tolerance = 1e-5 if bf16 else 1e-12
    assert apart(ours, theirs, start) < tolerance
    assert apart(objective.head, head, head_start) < tolerance
    logged = [line for line in trainer.state.log_history if "loss" in line]
    assert len(logged) == len(logs)
    for line, wanted in zip(logged, logs, strict=True):
        assert {name: line[name] for name in wanted} == pytest.approx(wanted, rel=tolerance)


def test_joins_the_anchor_and_contrastive(data: Any, tmp_path: Any) -> None:
    """One step of gradient descent goes as far with all as the steps with each go together."""
    start = data.model("gpt_neox", torch.float64)
    went = []
    choices: list[tuple[str, ...]] = [(), ("contrastive",), ("adversarial",), ("contrastive", "adversarial")]
    for wanted in choices:
        every = {
            "anchor": Anchor(ANCHOR),
            "contrastive": Contrastive(weight=100),
            "adversarial": Adversarial(weight=0.5),
        }
        objectives: dict[str, Objective] = {name: o for name, o in every.items() if name in {"anchor", *wanted}}
        columns: dict[str, Any] = {}
        for o in objectives.values():
            columns.update(o.encode(data.rows, data.tokenizer, nim_dataset.get_config("quickstart")))
        encoded = EncodedRows(data.encoded.tokens, data.encoded.starts, data.encoded.answer_tokens, columns)
        model = copy.deepcopy(start)
        make_trainer(data, encoded, model, tmp_path, objectives, max_steps=1, max_grad_norm=0).train()
        a, b = (nn.utils.parameters_to_vector(each.parameters()) for each in (model, start))
        went.append((a - b).detach())
    plain, contrastive, adversarial, both = went
    added = contrastive + adversarial - 2 * plain
    assert min((contrastive - plain).norm(), (adversarial - plain).norm()) > 1e-3
    assert (both - plain - added).norm() < 1e-6 * added.norm()


FLAGS = (
    *("--model", "tiny", "--train_data", "quickstart,n_train=64", "--per_device_train_batch_size", "4"),
    *("--max_steps", "6", "--save_at", "3", "--logging_steps", "2", "--eval_rows", "0", "--warmup_steps", "0"),
    *("--anchor_weight", "1e-3"),
)
HEAD = ("--objectives.adversarial.lr", "1e-2", "--objectives.adversarial.weight")


def run(folder: Path, *flags: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """What a run logs, and the model that it publishes."""
    assert main([*FLAGS, "--output_dir", str(folder), *flags]) == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timeless = [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]
    return timeless, load_file(folder / "model.safetensors")


def assert_same_bits(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_a_run_goes_on_exactly_with_its_head(tmp_path: Path) -> None:
    """Saved at step 3, between two lines of the log, and within the ramp."""
    flags = (*HEAD, "0.5", "--objectives.adversarial.ramp", "5")
    lines, weights = run(tmp_path / "run", *flags)
    assert all({"adversary_accuracy", "adversary_loss", "penalty"} <= line.keys() for line in lines)
    saved = torch.load(tmp_path / "run" / "checkpoint-6" / "objectives.pt", weights_only=True)
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    continued, continued_weights = run(tmp_path / "run", *flags, "--resume_from_checkpoint", "auto")
    assert continued == lines
    assert_same_bits(continued_weights, weights)
    again = torch.load(tmp_path / "run" / "checkpoint-6" / "objectives.pt", weights_only=True)
    assert_same_bits(again["adversarial"]["head"], saved["adversarial"]["head"])


def test_at_weight_0_a_head_follows_a_model_that_is_trained_as_without(tmp_path: Path) -> None:
    plain, weights = run(tmp_path / "plain")
    followed, followed_weights = run(tmp_path / "followed", *HEAD, "0")
    assert_same_bits(followed_weights, weights)
    assert [line["grad_norm"] for line in followed] == [line["grad_norm"] for line in plain]
    assert followed[-1]["adversary_loss"] != followed[0]["adversary_loss"]
    heads = [torch.load(tmp_path / "followed" / f"checkpoint-{step}" / "objectives.pt") for step in (3, 6)]
    first, last = (head["adversarial"]["head"]["0.weight"] for head in heads)
    assert not torch.equal(first, last)


def test_rows_without_a_label_teach_nothing_and_phases_and_sets_share_a_head(tmp_path: Path) -> None:
    path = tmp_path / "phases.yaml"
    path.write_text(
        "phases: [{data: ['mod3,n_train=32'], steps: 2},"
        " {data: ['mod3,n_train=32', 'quickstart,n_train=64,cheat_prob=1'], steps: 4}]\n"
        "objectives: {adversarial: {weight: 0.5, label: bound_move}}\n"
    )
    flags = [flag for flag in FLAGS if flag not in ("--train_data", "quickstart,n_train=64", "--max_steps", "6")]
    assert main(["--config", str(path), *flags, "--output_dir", str(tmp_path / "run")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ["adversary_accuracy" in line for line in lines] == [False, True, True]
    saved = torch.load(tmp_path / "run" / "checkpoint-6" / "objectives.pt")["adversarial"]
    assert len(saved["head"]["2.bias"]) == 4  # a class for each bound move of the set that has them


class AdversarialTrainer(ObjectivesMixin, Trainer):
    pass


def test_in_a_plain_trainer_it_is_the_same(data: Any, tmp_path: Any) -> None:
    def made() -> tuple[Adversarial, Any]:
        objective = Adversarial(weight=0.5, lr=1e-2)
        return objective, objective.encode(data.rows, data.tokenizer, None)

    def collate(rows: list[int]) -> dict[str, Any]:
        """Padded on the right, the labels where the tokens are, as examples of causal language models do it."""
        tokens = [torch.from_numpy(data.encoded[row]["input_ids"]).long() for row in rows]
        labels = [ids.clone() for ids in tokens]
        for row, ids in zip(rows, labels, strict=True):
            ids[: -data.encoded[row]["answer_tokens"]] = -100
        return {
            "input_ids": pad_sequence(tokens, batch_first=True, padding_value=data.tokenizer.pad_token_id),
            "attention_mask": pad_sequence([torch.ones_like(ids) for ids in tokens], batch_first=True),
            "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
            "adversary_label": columns["adversary_label"][rows],
            "adversary_tokens": [columns["adversary_tokens"][row] for row in rows],
        }

    start = data.model("gpt_neox", torch.float64)
    theirs, ours = copy.deepcopy(start), copy.deepcopy(start)
    objective, columns = made()
    encoded = EncodedRows(data.encoded.tokens, data.encoded.starts, data.encoded.answer_tokens, columns)
    trainer = make_trainer(data, encoded, theirs, tmp_path, {"adversarial": objective}, gradient_accumulation_steps=2)
    trainer.train()
    head = objective.head
    objective, columns = made()
    plain = AdversarialTrainer(
        model=ours,
        args=trainer.args,
        train_dataset=range(len(data.rows)),
        data_collator=collate,
        objectives={"adversarial": objective},
    )
    plain.train()
    assert apart(ours, theirs, start) < 1e-6  # the Trainer's loss takes doubles for floats
    torch.testing.assert_close(objective.head.state_dict(), head.state_dict(), rtol=1e-6, atol=1e-6)


def test_tokens_count_from_those_that_begin_a_text(data: Any) -> None:
    begun = copy.deepcopy(data.tokenizer)
    begun._tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", begun.eos_token_id)]
    )
    some = data.rows.select(range(8))
    plain, shifted = (Adversarial().encode(some, tokenizer, None) for tokenizer in (data.tokenizer, begun))
    assert plain["adversary_tokens"] == [names_tokens(data, row) for row in range(8)]
    assert shifted["adversary_tokens"] == [[token + 1 for token in row] for row in plain["adversary_tokens"]]


@pytest.mark.parametrize(
    ("rows", "option", "value", "message"),
    [
        ("quickstart,n_train=64", "layer", "3", ".layer: the model has 2, and 3 is beyond the last one$"),
        ("quickstart,n_train=64", "at", "nmaes", ".at: no prompt .* unknown item 'nmaes', did you mean 'names'"),
        ("quickstart,n_train=64", "label", "buket", ".label: unknown choice 'buket', did you mean 'bucket'"),
        ("quickstart,n_train=64", "weight", "-1", ".weight: -1.0 is out of range; it must be at least 0"),
        ("357,n_train=64", "weight", "1", ".label: all rows trained on have the same bucket"),
        ("text.jsonl", "weight", "1", ".at: no prompt trained on has it .* items: decision"),
    ],
)
def test_a_mistake_is_one_line_before_training(
    tmp_path: Path, rows: str, option: str, value: str, message: str
) -> None:
    if rows == "text.jsonl":
        rows = str(tmp_path / rows)
        Path(rows).write_text('{"prompt": "What is two and two?", "answer": "four"}\n' * 4)
    flags = ("--train_data", rows, "--output_dir", str(tmp_path / "run"), f"--objectives.adversarial.{option}", value)
    with pytest.raises(UserError, match=f"^objectives.adversarial{message}") as caught:
        main([*FLAGS, *flags])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("run/[!.]*"))
