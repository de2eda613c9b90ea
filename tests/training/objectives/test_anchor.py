"""The anchor is exact: `AnchoredTrainer` beside a plain loop that writes the penalty out and lets autograd do it."""

from typing import Any

import pytest
import torch
from torch import nn

from nim_dataset.errors import UserError
from tests.training.objectives.recorder import Recorder
from training.config import TrainConfig, parse_config
from training.data.encoding import AnswerCollator
from training.objectives.anchor import Anchor, anchored_parameters, describe
from training.trainer import AnchoredTrainer

STEPS, WEIGHT, LEARNING_RATE = 24, 1e-2, 3e-3


def freeze_some(model: Any) -> None:
    model.get_input_embeddings().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if ".0." in name:
            parameter.requires_grad_(False)


def train(data: Any, model: nn.Module, tmp_path: Any, weight: float = WEIGHT, **options: Any) -> Recorder:
    settings: dict[str, Any] = {"per_device_train_batch_size": 8, "max_grad_norm": 1e9, **options}
    args = TrainConfig(
        output_dir=str(tmp_path),
        max_steps=STEPS,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        warmup_steps=0,
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        anchor_weight=weight,
        **settings,
    )
    recorder = Recorder()
    trainer = AnchoredTrainer(
        model=model,
        args=args,
        train_dataset=data.encoded,
        processing_class=data.tokenizer,
        objectives={"anchor": Anchor(weight)},
        callbacks=[recorder],
    )
    trainer.train()
    return recorder


def reference(data: Any, model: nn.Module, batch: int, accumulate: int, clip: float, bf16: bool) -> Recorder:
    """The same run, as plainly as it can be written: all logits, and the penalty in the loss."""
    anchored = anchored_parameters(model)
    theta_0 = {name: parameter.detach().clone() for name, parameter in anchored.items()}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=LEARNING_RATE, weight_decay=0.0)
    collate, recorder = AnswerCollator(data.tokenizer.pad_token_id), Recorder()
    model.train()
    for step in range(STEPS):
        first = step * batch * accumulate
        micro = [collate([data.encoded[first + i * batch + j] for j in range(batch)]) for i in range(accumulate)]
        answer_tokens = sum(int((m["labels"] != -100).sum()) for m in micro)
        optimizer.zero_grad()
        data_loss = torch.zeros(())
        for i, inputs in enumerate(micro):
            labels = inputs.pop("labels")
            del inputs["shift_labels"], inputs["logits_to_keep"]
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(**inputs).logits
            K = labels.shape[1]
            loss = nn.functional.cross_entropy(
                logits[:, -K:].float().flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum"
            )
            objective = loss / answer_tokens
            data_loss = data_loss + objective.detach()
            if i == accumulate - 1:
                penalty = sum((parameter - theta_0[name]).pow(2).sum() for name, parameter in anchored.items())
                objective = objective + WEIGHT * penalty
            objective.backward()
        norm = nn.utils.clip_grad_norm_(trainable, clip)
        optimizer.step()
        with torch.no_grad():
            squared = sum((parameter - theta_0[name]).double().pow(2).sum() for name, parameter in anchored.items())
        recorder.logs.append(
            {
                "loss": data_loss.item(),
                "grad_norm": norm.item(),
                "penalty": WEIGHT * float(squared),
                "distance": float(squared) ** 0.5,
            }
        )
    return recorder


@pytest.mark.parametrize(
    ("shape", "accumulate", "clip", "frozen", "bf16"),
    [
        pytest.param("gpt_neox", 1, 1e9, False, False, marks=pytest.mark.slow),
        ("gpt_neox", 4, 0.05, False, False),
        ("gpt2", 2, 0.05, False, False),  # tied embeddings
        pytest.param("llama", 1, 0.05, True, False, marks=pytest.mark.slow),
        pytest.param("gpt_neox", 2, 0.05, True, True, marks=pytest.mark.slow),
    ],
)
def test_equals_the_penalty_written_into_the_loss(
    data: Any, tmp_path: Any, shape: str, accumulate: int, clip: float, frozen: bool, bf16: bool
) -> None:
    # In double precision, but for bf16: a key's bias has a true gradient of 0, and Adam makes steps of rounding errors.
    dtype = torch.float32 if bf16 else torch.float64
    ours, plain, base = (data.model(shape, dtype) for _ in range(3))
    for model in (ours, plain):
        if frozen:
            freeze_some(model)
    measured = train(
        data,
        ours,
        tmp_path,
        gradient_accumulation_steps=accumulate,
        max_grad_norm=clip,
        bf16=bf16,
        per_device_train_batch_size=8 // accumulate,
    )
    expected = reference(data, plain, 8 // accumulate, accumulate, clip, bf16)

    assert len(measured.logs) == len(expected.logs) == STEPS
    # The model's own loss is computed in fp32; bf16 rounds products to 8 bits.
    tolerance = 1e-3 if bf16 else 1e-6
    for ours_now, expected_now in zip(measured.logs, expected.logs, strict=True):
        for key in ("loss", "grad_norm", "penalty", "distance"):
            assert ours_now[key] == pytest.approx(expected_now[key], rel=tolerance, abs=1e-7), key
    travelled = torch.cat([(p - p0).flatten() for p, p0 in zip(plain.parameters(), base.parameters(), strict=True)])
    apart = torch.cat([(p - p0).flatten() for p, p0 in zip(ours.parameters(), plain.parameters(), strict=True)])
    assert travelled.norm() > 1
    assert apart.norm() < (1e-2 if bf16 else 1e-6) * travelled.norm()


def test_one_gradient_equals_autograd_to_the_last_bits(data: Any) -> None:
    model = data.model("gpt2", torch.float64)
    anchor = Anchor(0.3)
    anchor.prepare(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    start = [torch.randn_like(parameter) for parameter in anchor.parameters]
    for parameter, gradient in zip(anchor.parameters, start, strict=True):
        parameter.grad = gradient.clone()
    anchor.add_gradient()
    squares = [(p - p0).pow(2).sum() for p, p0 in zip(anchor.parameters, anchor.theta_0, strict=True)]
    penalty = 0.3 * torch.stack(squares).sum()
    for parameter, gradient, expected in zip(
        anchor.parameters, start, torch.autograd.grad(penalty, anchor.parameters), strict=True
    ):
        torch.testing.assert_close(parameter.grad, gradient + expected, rtol=1e-14, atol=1e-14)
    assert 0.3 * anchor.distance() ** 2 == pytest.approx(penalty.item(), rel=1e-6)


@pytest.mark.parametrize("shape", ["gpt_neox", "gpt2", "llama"])
def test_weights_are_anchored_and_biases_and_norms_are_not(data: Any, shape: str) -> None:
    model = data.model(shape)
    anchored = set(anchored_parameters(model))
    norms = ("layernorm", "layer_norm", "ln_1", "ln_2", "ln_f", "norm.weight")
    for name, parameter in model.named_parameters():
        is_free = name.endswith("bias") or any(norm in name for norm in norms)
        assert (name in anchored) != is_free, f"{name} {tuple(parameter.shape)}"
    held, free = describe(model).splitlines()
    total = sum(p.numel() for p in model.parameters())
    assert sum(int(line.split(":")[1].split()[0].replace(",", "")) for line in (held, free)) == total


def test_weight_zero_keeps_no_copy_and_a_negative_weight_is_refused() -> None:
    assert parse_config(["--train_data", "357", "--anchor_weight", "0"]).objectives == {}
    assert parse_config(["--train_data", "357"]).objectives == {"anchor": Anchor(1e-4)}
    with pytest.raises(UserError, match="anchor_weight: -1"):
        Anchor(-1)
