"""What this project needs of transformers.Trainer's insides: after an upgrade, a failure here says what to look at."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from training.config import TrainConfig
from training.trainer import AnchoredTrainer

ROOT = Path(__file__).resolve().parents[2]

OVERRIDDEN = {
    "_get_output_dir": (
        ["trial"],
        "it is the folder in which _save_checkpoint makes checkpoint-N; we give the staging folder",
    ),
    "_save_checkpoint": (
        ["model", "trial"],
        "it writes all that a run needs to continue into _get_output_dir()/checkpoint-N, trainer_state.json with what"
        " state.stateful_callbacks holds among it; we rename the folder when it returns",
    ),
    "_load_from_checkpoint": (
        ["resume_from_checkpoint", "model"],
        "it is called when a run continues, while the model still holds the base model's weights; under FSDP that is"
        " within _prepare_for_training, with the sharded model",
    ),
    "_prepare_for_training": (
        ["max_steps", "train_dataloader", "resume_from_checkpoint"],
        "it is called once before the first step and gives (model, train_dataloader), the model as it is trained",
    ),
    "_get_grad_norm": (
        ["model", "grad_norm"],
        "it is called once an optimizer step, after clipping and before the update, and gives the norm",
    ),
}
READ = {
    "_tr_loss": "the sum of the losses since the last line of the log, a tensor that is filled anew on a continued run",
    "_globalstep_last_logged": "the step of that line, set before on_train_begin",
}
PUBLIC = {
    "current_gradient_accumulation_steps": "the micro-batches of the step under way; what objectives add is divided"
    " by it",
    "model_accepts_loss_kwargs": "whether the model divides its loss by the answer tokens of the step; else the"
    " Trainer divides it",
}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_we_override_takes_what_it_took(name: str) -> None:
    parameters, need = OVERRIDDEN[name]
    method = getattr(Trainer, name, None)
    assert method is not None, f"Trainer.{name} is gone. We need: {need}"
    found = [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]
    assert found == parameters, f"Trainer.{name} takes {found}, not {parameters}. We need: {need}"


def test_what_we_override_is_called_in_training_and_what_we_read_is_there(data: Any, tmp_path: Path) -> None:
    called: list[str] = []

    def told(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return getattr(AnchoredTrainer, name)(self, *args, **kwargs)

        return method

    watched: Any = type("Watched", (AnchoredTrainer,), {name: told(name) for name in OVERRIDDEN})

    def trainer(steps: int) -> Any:
        args = TrainConfig(output_dir=str(tmp_path), max_steps=steps, save_steps=1, disable_tqdm=True)
        return watched(model=data.model("gpt2"), args=args, train_dataset=data.encoded, processing_class=data.tokenizer)

    trainer(1).train()
    first = list(called)
    continued = trainer(2)
    continued.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    for name, (_, need) in OVERRIDDEN.items():
        assert name in called, f"Trainer.{name} is no longer called. We need: {need}"
    assert "_load_from_checkpoint" not in first
    for name, need in (READ | PUBLIC).items():
        assert hasattr(continued, name), f"Trainer.{name} is gone. We need: {need}"
    assert isinstance(continued._tr_loss, torch.Tensor), READ["_tr_loss"]
    assert continued.current_gradient_accumulation_steps == 1


def test_this_list_is_complete() -> None:
    theirs = set(dir(Trainer)) | attributes(ast.parse(inspect.getsource(Trainer)), {"self"})
    used: set[str] = set()
    for path in (ROOT / "training").rglob("*.py"):
        tree = ast.parse(path.read_text())
        used |= attributes(tree, {"self", "super()", "trainer", "self.trainer"})
        used |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    private = {name for name in used & theirs if name.startswith("_") and not name.startswith("__")}
    assert private == set(OVERRIDDEN) | set(READ)


def attributes(tree: ast.AST, owners: set[str]) -> set[str]:
    """The names after the dot in `owner.name`."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in nodes if ast.unparse(node.value) in owners}
