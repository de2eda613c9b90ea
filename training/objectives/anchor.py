"""L2-SP: a spring from every weight back to the base model (Li, Grandvalet and Davoine, ICML 2018, arXiv:1802.01483).

The penalty is `weight * sum((theta - theta_0) ** 2)` over the anchored parameters. Its gradient is known in closed
form, `2 * weight * (theta - theta_0)`, so it is added to the gradients directly, once per optimizer step, after the
last backward pass and before clipping: the same numbers as a penalty written into the loss, without an autograd graph
over every weight, and however many micro-batches the step has.

Weights are anchored; biases and normalisation layers are not. Which is which is decided by the type of the module that
holds the parameter, never by a fragment of its name.

In a Trainer of your own, of `transformers` or TRL:

    class AnchoredSFTTrainer(AnchorMixin, SFTTrainer):
        pass

    AnchoredSFTTrainer(model=..., args=..., train_dataset=..., anchor_weight=1e-4).train()
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from nim_dataset.errors import UserError
from training.fields import ModelConfig
from training.model.base import BUILT_IN, BaseModel, load_base
from training.model.shards import local_part
from training.objectives.interface import Objective, objective
from training.objectives.mixin import ObjectivesMixin

NORM_LAYERS: tuple[type[nn.Module], ...] = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,
)

START = "start"
"""The centre that a run itself begins with."""

# Elements handled at a time. On a CPU the difference then stays in the cache between the two passes over it; on a
# GPU it bounds the extra memory while one fused kernel still covers many tensors.
CHUNK_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}


def is_norm(module: nn.Module) -> bool:
    """True for torch's normalisation layers and for the models' own, which by convention are named `...Norm`."""
    return isinstance(module, NORM_LAYERS) or type(module).__name__.endswith("Norm")


def anchored_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable weights to hold, by name; a weight shared by several modules (tied embeddings) counts once."""
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        if is_norm(module):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            is_bias = name == "bias" or name.endswith("_bias")
            if parameter.requires_grad and not is_bias and id(parameter) not in seen:
                seen.add(id(parameter))
                found[f"{module_name}.{name}" if module_name else name] = parameter
    return found


def describe(model: nn.Module) -> str:
    """A line per module type that is anchored and not anchored, with parameter counts, for the start of a run."""
    anchored_ids = {id(parameter) for parameter in anchored_parameters(model).values()}
    counts: dict[bool, dict[str, int]] = {True: {}, False: {}}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            kind = f"{type(module).__name__}.{name}"
            kinds = counts[id(parameter) in anchored_ids]
            kinds[kind] = kinds.get(kind, 0) + parameter.numel()
    lines = []
    for anchored, label in ((True, "anchored"), (False, "free or frozen")):
        kinds = counts[anchored]
        listing = ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items(), key=lambda item: -item[1]))
        lines.append(f"{label}: {sum(kinds.values()):,} parameters ({listing or 'none'})")
    return "\n".join(lines)


def load_centre(name: str) -> BaseModel:
    """The model that `anchor_to` names: a folder, or a Hub id, with `@REVISION` or at its latest step.

    Raises `UserError` when it cannot be had, and for a built-in model, whose weights are random.
    """
    model, _, revision = name.partition("@") if not os.path.isdir(name) else (name, "", "")
    if model in {folder.name for folder in BUILT_IN.iterdir()}:
        raise UserError(f"anchor_to: '{model}' starts from random weights; give 'start', a folder or a Hub id")
    try:
        return load_base(ModelConfig(model, revision or ModelConfig.revision), seed=0)
    except UserError as error:
        raise UserError(f"anchor_to: {str(error).removeprefix('model: ')}") from None


def _weight_of(centre: BaseModel, name: str, like: nn.Parameter) -> Tensor:
    """A weight of `centre` where, and sharded as, the parameter is that it is the centre of."""
    weight = dict(centre.model.named_parameters()).get(name)
    if weight is None or weight.shape != like.shape:
        there = "no such weight" if weight is None else f"{tuple(weight.shape)}"
        raise UserError(
            f"anchor_to: '{centre.name}' is not of the model's shape: {name} is {tuple(like.shape)} here, and there"
            f" {there}; give a model that only its weights tell apart"
        )
    whole = weight.detach().to(like.device, like.dtype)
    return distribute_tensor(whole, like.device_mesh, like.placements) if isinstance(like, DTensor) else whole


@objective("anchor")
@dataclass
class Anchor(Objective):
    """Holds `theta_0`, the anchored parameters as they were when it was prepared, or as another model has them, and
    pulls back to it.

    Under FSDP2 the parameters are sharded DTensors; the copy is sharded like them, and a step touches only the local
    shards. Raises `UserError` for a weight that is not above 0.
    """

    weight: float = field(default=1e-4, metadata={"help": "The factor of the squared distance."})
    to: str = field(default=START, metadata={"help": "'start', or the model whose weights are held to."})

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise UserError(f"anchor_weight: {self.weight} is out of range; it must be above 0, and finite")

    def prepare(self, model: nn.Module) -> None:
        anchored = anchored_parameters(model)
        self.parameters = list(anchored.values())
        centre = None if self.to == START else load_centre(self.to)
        self.theta_0 = [
            parameter.detach().clone() if centre is None else _weight_of(centre, name, parameter)
            for name, parameter in anchored.items()
        ]
        self.held_to = {}
        if centre is not None:
            self.held_to = {"to": f"{centre.name} ({centre.commit or 'local'})", "weights": centre.fingerprint()}

    @torch.no_grad()
    def add_gradient(self, scale: float = 1.0) -> None:
        """Adds `2 * weight * (theta - theta_0)` to the gradients; `scale` is a gradient scaler's factor (fp16)."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for theta, theta_0, grad in self._chunks():
            torch._foreach_add_(grad, torch._foreach_sub(theta, theta_0), alpha=2 * self.weight * scale)

    @torch.no_grad()
    def distance(self) -> float:
        """`||theta - theta_0||`, the same on every process. The penalty is `weight * distance ** 2`."""
        total = torch.zeros((), dtype=torch.float64)
        for theta, theta_0 in zip(self.parameters, self.theta_0, strict=True):
            squared = (theta.detach() - theta_0).float().square().sum()
            total += (squared.full_tensor() if isinstance(squared, DTensor) else squared).cpu().double()
        return float(total.sqrt())

    def figures(self) -> dict[str, float]:
        distance = self.distance()
        return {"penalty": self.weight * distance**2, "distance": distance}

    def state_dict(self) -> dict[str, Any]:
        """Whose weights are held to, and their hash, where that is not where the run starts."""
        return self.held_to

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises `UserError` unless the weights held to are those that the run was anchored to."""
        if self.held_to.get("weights") != state["weights"]:
            raise UserError(
                f"anchor_to: the run was anchored to {state['to']}, and '{self.to}' is another; give what it had"
            )

    def _chunks(self) -> Iterator[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
        """Matching lists of flat local pieces of (theta, theta_0, gradient), a bounded number of elements at a time."""
        budget = 0
        chunk: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for parameter, theta_0 in zip(self.parameters, self.theta_0, strict=True):
            assert parameter.grad is not None
            flat = [local_part(tensor).view(-1) for tensor in (parameter.detach(), theta_0, parameter.grad)]
            limit = CHUNK_ELEMENTS.get(flat[0].device.type, CHUNK_ELEMENTS["cuda"])
            for pieces in zip(*(tensor.split(limit) for tensor in flat), strict=True):
                for collected, piece in zip(chunk, pieces, strict=True):
                    collected.append(piece)
                budget += pieces[0].numel()
                if budget >= limit:
                    yield chunk
                    budget, chunk = 0, ([], [], [])
        if budget:
            yield chunk


class AnchorMixin(ObjectivesMixin):
    """Goes before a Trainer class among the bases of a class; `anchor_weight` is the factor of the squared distance.

    What is trainable is held to what it was when training began (with PEFT, the adapter's weights to their first
    values), or to the weights of the model that `anchor_to` names: a folder, or a Hub id as `load_centre` takes it. The
    log gains `penalty` and `distance`; the loss stays the Trainer's own. A weight of 0 trains freely.
    """

    def __init__(
        self, *args: Any, anchor_weight: float = Anchor.weight, anchor_to: str = Anchor.to, **kwargs: Any
    ) -> None:
        anchor = {"anchor": Anchor(anchor_weight, anchor_to)} if anchor_weight else {}
        super().__init__(*args, objectives=anchor, **kwargs)
