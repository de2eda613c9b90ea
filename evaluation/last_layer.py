"""Less of the last layer: at places whose logits nobody asks for, most of what it computes goes to nothing.

Of those places, attention reads the last layer's keys and values; its MLP, and where they are modules of their own its
query and output projections, are read at the places with logits alone. Computed only there, with zeros elsewhere, they
give the same logits and gradients. Which modules these are is found by trying, whatever they are called.

What is changed is the last layer's output at the other places, so nobody may want it there.

Shapes: B sequences of L tokens, D channels.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

Places = int | Tensor
"""Of each sequence, as transformers' `logits_to_keep`: so many at the end, or the indices of some."""
TOLERANCE = 1e-4
"""Of the largest value: rounding stays below it."""


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList | None:
    """The first list of modules that is as long as the model's configuration says there are layers."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList))
    return next((module for module in lists if len(module) == count and count), None)


@contextlib.contextmanager
def computed_at(places: Places, modules: Iterable[nn.Module], elsewhere: float = 0.0) -> Iterator[None]:
    """Inside, each of `modules`, which make (B, L, D') of (B, L, D), computes at the places and is `elsewhere` else.

    A backward pass that computes the forward pass again (gradient checkpointing) belongs inside.
    """
    kept = slice(-places, None) if isinstance(places, int) else places
    lengths: dict[nn.Module, int] = {}

    def narrow(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        lengths[module] = args[0].shape[1]
        return args[0][:, kept].contiguous(), *args[1:]  # as any module is used to

    def widen(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        whole_BLD = output.new_full((output.shape[0], lengths[module], output.shape[2]), elsewhere)
        whole_BLD[:, kept] = output
        return whole_BLD

    with contextlib.ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_pre_hook(narrow).remove)
            hooks.callback(module.register_forward_hook(widen).remove)
        yield


@torch.no_grad()
def needed_at_places_only(model: PreTrainedModel, inputs: dict[str, Any]) -> list[nn.Module]:
    """The modules of the last layer that `computed_at` may narrow to the `logits_to_keep` of `inputs`; none overlap.

    Tried on these `inputs`, in evaluation mode: a module gives the same at the places when it sees no others, and what
    it gives at the others, NaN, reaches no logit. The rule found so is good for any inputs of this kind.
    """
    layers = decoder_layers(model)
    if layers is None or "logits_to_keep" not in inputs:
        return []
    places = inputs["logits_to_keep"]
    kept = slice(-places, None) if isinstance(places, int) else places
    inputs = {**inputs, "use_cache": False}
    with _outputs_of(layers[-1].modules()) as plain:
        logits = model(**inputs).logits

    def may_be_narrowed(module: nn.Module) -> bool:
        try:
            with computed_at(places, [module], elsewhere=torch.nan), _outputs_of([module]) as narrowed:
                same = _same(model(**inputs).logits, logits)
            return same and _same(narrowed[module][:, kept], plain[module][:, kept])
        except Exception:  # whatever a module may say to such inputs: it is no module of this kind
            return False

    found, open_ones = [], list(layers[-1].children())
    for module in open_ones:  # which grows
        if any(parameter.dim() > 1 for parameter in module.parameters()):
            if may_be_narrowed(module):
                found.append(module)
            else:
                open_ones += module.children()
    return found


@contextlib.contextmanager
def _outputs_of(modules: Iterable[nn.Module]) -> Iterator[dict[nn.Module, Any]]:
    found: dict[nn.Module, Any] = {}
    with contextlib.ExitStack() as hooks:
        for module in modules:
            hook = module.register_forward_hook(lambda module, args, output: found.update({module: output}))
            hooks.callback(hook.remove)
        yield found


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one - other).abs() <= TOLERANCE * other.abs().max()).all())
