"""An objective is a plug: one from a single file outside the package trains, logs, and goes on exactly."""

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import nim_dataset
from nim_dataset.errors import UserError
from training.config import parse_config
from training.data.encoding import AnswerCollator, encode_rows
from training.data.end_to_end import BY_ROW, OWN, attention
from training.objectives.anchor import Anchor
from training.objectives.places import decision_places, row_starts
from training.train import main

FLAGS = (
    *("--model", "tiny", "--train_data", "quickstart,n_train=64", "--per_device_train_batch_size", "4"),
    *("--max_steps", "6", "--save_at", "3", "--logging_steps", "1", "--eval_rows", "0", "--warmup_steps", "0"),
)


@pytest.fixture(scope="module", autouse=True)
def toy() -> None:
    spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy"] = module  # where a dataclass looks its types up
    spec.loader.exec_module(module)


def train(folder: Path, *flags: str) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    assert main([*FLAGS, "--output_dir", str(folder), *flags]) == 0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines], load_file(
        folder / "model.safetensors"
    )


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_a_toy_objective_trains_logs_and_goes_on_exactly(tmp_path: Path) -> None:
    plain, plain_weights = train(tmp_path / "plain")
    lines, weights = train(tmp_path / "run", "--objectives.toy.weight", "0.5")
    assert lines[0]["loss"] == plain[0]["loss"]  # the loss is that of the answers alone
    assert lines[0]["grad_norm"] != plain[0]["grad_norm"]
    assert all(line["toy"] > 0 for line in lines)
    assert len({line["toy_offset"] for line in lines}) == len(lines)  # its own parameter moves
    assert not all(torch.equal(weight, plain_weights[name]) for name, weight in weights.items())

    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert recorded["objectives"] == {"toy": {"weight": 0.5}}
    with pytest.raises(UserError, match=r"objectives: the run in .* has \{'toy': .*0.5\}\}, not None"):
        train(tmp_path / "run", "--resume_from_checkpoint", "auto")
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    again = ("--objectives.toy.weight", "0.5", "--resume_from_checkpoint", "auto")
    continued, continued_weights = train(tmp_path / "run", *again)
    assert continued == lines
    assert_equal(continued_weights, weights)

    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    (tmp_path / "run" / "checkpoint-3" / "objectives.pt").unlink()
    with pytest.raises(UserError, match=r"objectives.pt is missing"):
        train(tmp_path / "run", *again)


def test_accumulated_micro_batches_add_up_to_the_same_objective(tmp_path: Path) -> None:
    flags = ("--objectives.toy.weight", "0.5", "--max_steps", "1")
    (once,), _ = train(tmp_path / "once", *flags)
    split = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2")
    (twice,), _ = train(tmp_path / "twice", *flags, *split)
    for figure in ("loss", "toy", "grad_norm"):
        assert twice[figure] == pytest.approx(once[figure], rel=1e-5), figure


def test_objectives_are_options_by_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train_data: ['357']\nobjectives: {anchor: {weight: 1e-3}, toy: {weight: 2}}\n")
    config = parse_config(["--config", str(path)])
    assert {name: vars(o)["weight"] for name, o in config.objectives.items()} == {"toy": 2.0, "anchor": 1e-3}
    assert config.train.anchor_weight == 1e-3
    config = parse_config(["--config", str(path), "--objectives.anchor.weight", "3", "--objectives.toy.weight=4"])
    assert {name: vars(o)["weight"] for name, o in config.objectives.items()} == {"toy": 4.0, "anchor": 3.0}
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    assert parse_config(["--config", str(tmp_path / "again.yaml")]).objectives == config.objectives
    assert list(parse_config(["--config", str(path), "--anchor_weight", "0"]).objectives) == ["toy"]


def test_the_anchor_s_further_options_are_recorded() -> None:
    @dataclass
    class Layered(Anchor):
        layers: int = 2

    config = parse_config(["--train_data", "357", "--anchor_weight", "3"])
    assert "objectives" not in yaml.safe_load(config.to_yaml())
    recorded = yaml.safe_load(replace(config, objectives={"anchor": Layered(3, layers=5)}).to_yaml())
    assert recorded["anchor_weight"] == 3
    assert recorded["objectives"] == {"anchor": {"layers": 5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectives: {ancor: {}}", r"objectives: unknown objective 'ancor', did you mean 'anchor'"),
        ("objectives: {toy: {wieght: 1}}", r"objectives.toy: unknown option 'wieght', did you mean 'weight'"),
        ("objectives: {anchor: {wieght: 1}}", r"objectives.anchor: unknown option 'wieght', did you mean 'weight'"),
        ("objectives: {toy: {weight: much}}", r"objectives.toy: .*invalid float value: 'much'"),
        ("objectives: [toy]", r"objectives must hold options by name"),
        ("objectives: {toy: 3}", r"objectives must hold options by name"),
        ("objectives: {anchor: {weight: 1}}\nanchor_weight: 2", r"anchor_weight and objectives.anchor.weight are the"),
        ("objectives: {anchor: {weight: -1}}", r"anchor_weight: -1.0 is out of range"),
    ],
)
def test_a_mistake_in_objectives_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("train_data: ['357']\n" + text)
    with pytest.raises(UserError, match=message) as caught:
        parse_config(["--config", str(path)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["loss", "distance"])
def test_a_figure_of_an_objective_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    toy = type(parse_config(["--objectives.toy.weight", "1", "--train_data", "357"]).objectives["toy"])
    monkeypatch.setattr(toy, "figures", lambda self: {name: 0.0})
    with pytest.raises(UserError, match=rf"objectives\.\w+: its figure '{name}' is logged already"):
        main([*FLAGS, "--output_dir", str(tmp_path / "run"), "--objectives.toy.weight", "1"])


def test_a_column_that_the_rows_lack_is_one_line(data: Any) -> None:
    with pytest.raises(UserError, match=r"objectives: the rows of 'mine' have no column 'operand'; they have .*prompt"):
        encode_rows(data.rows, data.tokenizer, 128, "mine", ["operand"])


def test_a_column_is_of_one_kind_in_all_batches(data: Any) -> None:
    rows = nim_dataset.load("cheating", "train", n_train=64)
    moves = rows["cheat_move"][:]
    numbers = [i for i, move in enumerate(moves) if move is not None]
    assert 0 < len(numbers) < len(moves)
    columns = ("cheat_move", "coins")
    encoded = encode_rows(rows, data.tokenizer, 128, "mine", columns)
    collate = AnswerCollator(data.tokenizer.pad_token_id, columns=columns)
    for some in (numbers, range(64)):
        batch = collate([encoded[i] for i in some])
        assert batch["cheat_move"] == [moves[i] for i in some]
        assert torch.equal(batch["coins"], torch.tensor([rows["coins"][i] for i in some]))


def test_a_batch_keeps_what_is_asked_and_states_at_the_decision_are_those_of_either_layout(data: Any) -> None:
    columns = ("pile", "player_one")
    encoded = encode_rows(data.rows, data.tokenizer, 128, "quickstart", columns)
    rows = [encoded[i] for i in range(7)]
    model = data.model("gpt_neox").eval()
    states: list[torch.Tensor] = []
    firsts: list[torch.Tensor] = []
    for end_to_end in (False, True):
        batch = AnswerCollator(data.tokenizer.pad_token_id, end_to_end, columns)(rows)
        assert batch.pop("pile").tolist() == data.rows["pile"][:7]
        assert batch.pop("player_one") == data.rows["player_one"][:7]
        with attention(model, BY_ROW if end_to_end else OWN):
            hidden = model(**batch, output_hidden_states=True).hidden_states
        states.append(hidden[-1].flatten(0, 1)[decision_places(batch)])
        firsts.append(hidden[0].flatten(0, 1)[row_starts(batch)])
    torch.testing.assert_close(states[0], states[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(firsts[0], firsts[1])
    prompt = data.tokenizer(data.rows["prompt"][2], add_special_tokens=False, return_tensors="pt")["input_ids"]
    alone = model(prompt, output_hidden_states=True).hidden_states[-1][0, -1]
    torch.testing.assert_close(states[0][2], alone, rtol=1e-4, atol=1e-5)
