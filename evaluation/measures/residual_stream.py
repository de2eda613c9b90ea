"""The residual stream of a model, layer by layer: read it, or put another one in and let the model go on from there.

The decoder layers are found by the model's own structure (`decoder_layers`). Layer l of L is what goes into the l-th of
them, from 0 (the embeddings); L is what the last one gives, before the final norm.

Shapes: S sequences of T tokens, D channels.
"""

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from evaluation.last_layer import decoder_layers
from evaluation.measures.measure import CannotMeasureError


class ResidualStream:
    """That of one model. Raises `CannotMeasureError` where the model's structure does not tell its layers."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        found = decoder_layers(model)
        if found is None:
            count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
            raise CannotMeasureError(f"{type(model).__name__} shows no list of its {count} decoder layers")
        self.layers: nn.ModuleList = found
        self.rest: tuple[Any, ...] | None = None
        """What a layer gives after its hidden states; None where it gives these alone, not a tuple."""

    def __len__(self) -> int:
        """The number L of layers."""
        return len(self.layers)

    def read(self, inputs: dict[str, Any], wanted: Iterable[int]) -> dict[int, Tensor]:
        """Layer -> its residual stream (S, T, D), for the layers wanted, of one forward pass with these inputs."""
        found: dict[int, Tensor] = {}

        def keep_input(layer: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found[layer] = args[0] if args else kwargs["hidden_states"]

        def keep_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            states, self.rest = (output, None) if isinstance(output, Tensor) else (output[0], output[1:])
            if len(self) in wanted:
                found[len(self)] = states

        wanted = set(wanted)
        with contextlib.ExitStack() as hooks:
            for layer in wanted - {len(self)}:
                handle = self.layers[layer].register_forward_pre_hook(partial(keep_input, layer), with_kwargs=True)
                hooks.callback(handle.remove)
            hooks.callback(self.layers[-1].register_forward_hook(keep_output).remove)
            self.model.base_model(**inputs)
        return found

    @contextlib.contextmanager
    def taken_from(self, layer: int, states_STD: Tensor) -> Iterator[None]:
        """Inside, the model takes `states_STD` for the stream of `layer`, whatever its tokens; call `read` before.

        The layers before it are passed over. Of layer L, what is left are final norm and unembedding.
        """

        def put_in(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return ((states_STD, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states_STD})

        def pass_over(*args: Any, **kwargs: Any) -> Any:
            return states_STD if self.rest is None else (states_STD, *self.rest)

        with contextlib.ExitStack() as changes:
            for skipped in self.layers[:layer]:
                skipped.forward = pass_over  # of the instance: it hides the method of its class
                changes.callback(delattr, skipped, "forward")
            if layer < len(self):
                handle = self.layers[layer].register_forward_pre_hook(put_in, with_kwargs=True)
                changes.callback(handle.remove)
            yield
