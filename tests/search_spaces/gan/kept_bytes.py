"""What autograd keeps of a forward pass, measured on the network itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def kept_bytes(network: nn.Module, image: tuple[int, ...]) -> int:
    """Bytes of the storages that a training forward pass keeps for one example, parameters left out.

    What does not grow with the batch counts once.
    """
    sizes = [_saved(network, torch.zeros(batch, *image)) for batch in (2, 3)]
    each = sizes[1] - sizes[0]
    return each + (sizes[0] - 2 * each)


def _saved(network: nn.Module, image: Tensor) -> int:
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outcome = network(image)
    assert outcome is not None
    return sum(size for size, _ in kept.values())
