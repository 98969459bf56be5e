"""With which weights the networks begin, as their papers have it; the recipe's initialiser may come after."""

from __future__ import annotations

from torch import nn

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def begin_normal(network: nn.Module) -> None:
    """N(0, 0.02) for weights and N(1, 0.02) for gains of batch normalisation (Radford et al., ICLR 2016), no biases."""
    for layer in network.modules():
        if isinstance(layer, CONVOLUTIONS):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            _no_bias(layer)
        elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02)


def begin_xavier(network: nn.Module) -> None:
    """Glorot's uniform weights (Gong et al., ICCV 2019), no biases."""
    for layer in network.modules():
        if isinstance(layer, CONVOLUTIONS):
            nn.init.xavier_uniform_(layer.weight)
            _no_bias(layer)


def _no_bias(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
