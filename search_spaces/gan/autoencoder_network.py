"""Autoencoder: an image through a code of few numbers and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@final
class Encoder(nn.Module):
    """Images (batch, channels, height, width) -> (code,), or (mean, log variance); each (batch, latent).

    `body` has `widths` (of the layers before the code: filters where `convolutional`, else units), `activation`,
    `batch_norm` and `dropout`. Without widths the code itself is activated. A convolution halves height and width.
    """

    def __init__(self, image: Sequence[int], latent: int, body: Mapping[str, Any], variational: bool = False) -> None:
        super().__init__()
        self.variational = variational
        self.layers = nn.Sequential()
        channels, size = image[0], list(image[1:])
        if not body["convolutional"]:
            self.layers.append(nn.Flatten())
            channels, size = math.prod(image), []
        for width in body["widths"]:
            if body["convolutional"]:
                self.layers.append(nn.Conv2d(channels, width, 3, 2, 1, bias=not body["batch_norm"]))
                size = [halved(side) for side in size]
            else:
                self.layers.append(nn.Linear(channels, width, bias=not body["batch_norm"]))
            self.layers.extend(behind(width, body))
            channels = width
        if body["convolutional"]:
            self.layers.append(nn.Flatten())
        self.to_code = nn.Linear(channels * math.prod(size), latent * (2 if variational else 1))
        plain = bool(body["widths"]) or variational
        self.activation = nn.Identity() if plain else ACTIVATIONS[body["activation"]]()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        code = self.activation(self.to_code(self.layers(image)))
        return tuple(code.chunk(2, dim=1)) if self.variational else (code,)


@final
class Decoder(nn.Module):
    """Codes (batch, latent) -> images (batch, channels, height, width): the encoder's layers in reverse.

    `output` is `sigmoid`, intensities between 0 and 1, or `linear`.
    """

    def __init__(self, image: Sequence[int], latent: int, body: Mapping[str, Any], output: str) -> None:
        super().__init__()
        widths = list(reversed(body["widths"]))
        self.layers = nn.Sequential()
        if body["convolutional"]:
            sizes = [list(image[1:])]
            for _ in widths:
                sizes.append([halved(side) for side in sizes[-1]])
            sizes.reverse()
            self.layers.append(nn.Linear(latent, widths[0] * math.prod(sizes[0])))
            self.layers.append(nn.Unflatten(1, (widths[0], *sizes[0])))
            self.layers.append(ACTIVATIONS[body["activation"]]())
            for place, channels in enumerate(widths):
                odd = (1 - sizes[place + 1][0] % 2, 1 - sizes[place + 1][1] % 2)
                last = place + 1 == len(widths)
                filters = image[0] if last else widths[place + 1]
                bias = last or not body["batch_norm"]
                self.layers.append(nn.ConvTranspose2d(channels, filters, 3, 2, 1, odd, bias=bias))
                self.layers.extend([] if last else behind(filters, body))
        else:
            for width in widths:
                self.layers.append(nn.Linear(latent, width, bias=not body["batch_norm"]))
                self.layers.extend(behind(width, body))
                latent = width
            self.layers.extend([nn.Linear(latent, math.prod(image)), nn.Unflatten(1, tuple(image))])
        self.output = nn.Sigmoid() if output == "sigmoid" else nn.Identity()

    def forward(self, code: Tensor) -> Tensor:
        image: Tensor = self.output(self.layers(code))
        return image


@final
class Autoencoder(nn.Module):
    """Images (batch, channels, height, width) -> reconstructions of the same shape.

    A `variational` one (Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014) draws its code in training from
    torch's generator, and then keeps `divergence`, that of each example's code from N(0, 1) (batch,) in nats; in
    evaluation the code is the mean.
    """

    def __init__(
        self,
        image: Sequence[int],
        latent: int,
        body: Mapping[str, Any],
        variational: bool = False,
        output: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.latent, self.variational = latent, variational
        self.encoder = Encoder(image, latent, body, variational)
        self.decoder = Decoder(image, latent, body, output)
        self.divergence: Tensor | None = None

    def encode(self, image: Tensor) -> tuple[Tensor, ...]:
        """The code, or the mean and the log variance of the code."""
        found: tuple[Tensor, ...] = self.encoder(image)
        return found

    def decode(self, code: Tensor) -> Tensor:
        """The image of a code (batch, latent)."""
        image: Tensor = self.decoder(code)
        return image

    def forward(self, image: Tensor) -> Tensor:
        code, *spread = self.encoder(image)
        if self.training and spread:
            self.divergence = divergence(code, spread[0])
            code = code + (0.5 * spread[0]).exp() * torch.randn_like(code)
        return self.decode(code)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of N(mean, variance) from N(0, 1), summed over a code; nats (batch,)."""
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)


def halved(side: int) -> int:
    """The side of a map behind a strided convolution."""
    return (side + 1) // 2


def behind(width: int, body: Mapping[str, Any]) -> list[nn.Module]:
    """What follows a layer of `width` units or filters."""
    found: list[nn.Module] = []
    if body["batch_norm"]:
        found.append(nn.BatchNorm2d(width) if body["convolutional"] else nn.BatchNorm1d(width))
    found.append(ACTIVATIONS[body["activation"]]())
    if body["dropout"]:
        found.append(nn.Dropout(body["dropout"]))
    return found
