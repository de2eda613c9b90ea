"""Parameters that FSDP2 shards over processes."""

from torch import Tensor
from torch.distributed.tensor import DTensor


def local_part(tensor: Tensor) -> Tensor:
    """This process's own part of a sharded tensor; a view, so that adding to it adds to the whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
