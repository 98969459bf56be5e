"""What a built network costs, measured on the network itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Measured:
    """Counts of one example."""

    parameters: int
    multiply_adds: int
    activation_bytes: int


def measure(network: nn.Module, image: tuple[int, ...]) -> Measured:
    """Parameters; multiply-adds by hooks on convolutions and linear layers; what autograd saves of one example."""
    return Measured(parameters(network), multiply_adds(network, image), activation_bytes(network, image))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def multiply_adds(network: nn.Module, image: tuple[int, ...]) -> int:
    """Of a forward pass in evaluation, one output element at a time: as many as one filter has weights."""
    total = 0

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        total += output[0].numel() * weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    network.eval()
    network(torch.zeros(1, *image, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return total


def activation_bytes(network: nn.Module, image: tuple[int, ...]) -> int:
    """The storages that autograd keeps of a training forward pass, parameters left out.

    Two examples, since batch normalisation refuses single values; what does not grow with the batch counts once.
    """
    sizes = [saved_bytes(network, torch.zeros(batch, *image)) for batch in (2, 3)]
    per_example = sizes[1] - sizes[0]
    return per_example + (sizes[0] - 2 * per_example)


def saved_bytes(network: nn.Module, image: Tensor) -> int:
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
