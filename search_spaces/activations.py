"""Nonlinearities without weights, and putting one in the place of every ReLU of a network."""

from __future__ import annotations

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
}


def replace_relu(network: nn.Module, activation: str) -> None:
    """Put `activation` in the place of each `nn.ReLU` inside `network`; names and shapes of all weights stay."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.ReLU:
                setattr(parent, name, ACTIVATIONS[activation]())
