"""A space with one tiny pair of networks: linear maps, which may be conditional, reconstruct, or collapse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Signature, Space, require


@final
class TinyGenerator(nn.Module):
    """Noise (batch, noise)[, label (batch,)] -> images; `deaf` ones hear no noise, and always give the same."""

    def __init__(self, noise: int, shape: tuple[int, int, int], classes: int, deaf: bool) -> None:
        super().__init__()
        self.shape, self.classes, self.deaf = tuple(shape), classes, deaf
        self.hidden = nn.Sequential(nn.Linear(noise + classes, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.image = nn.Linear(32, shape[0] * shape[1] * shape[2])

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        if label is not None:
            noise = torch.cat([noise, functional.one_hot(label, self.classes).to(noise.dtype)], 1)
        if self.deaf:
            return self.image.bias.tanh().view(self.shape).expand(len(noise), *self.shape)
        image: Tensor = self.image(self.hidden(noise)).tanh()
        return image.view(-1, *self.shape)


@final
class TinyDiscriminator(nn.Module):
    """Images[, label] -> scores (batch,), or images where it `reconstructs`."""

    def __init__(self, shape: tuple[int, int, int], classes: int, reconstructs: bool) -> None:
        super().__init__()
        pixels = shape[0] * shape[1] * shape[2]
        self.shape, self.classes, self.reconstructs = tuple(shape), classes, reconstructs
        self.code = nn.Linear(pixels + classes, 16)
        self.dropout = nn.Dropout(0.1)
        self.answer = nn.Linear(16, pixels if reconstructs else 1)

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        image = image.flatten(1)
        if label is not None:
            image = torch.cat([image, functional.one_hot(label, self.classes).to(image.dtype)], 1)
        answer: Tensor = self.answer(self.dropout(functional.leaky_relu(self.code(image), 0.2)))
        return answer.view(-1, *self.shape) if self.reconstructs else answer[:, 0]


@final
class TinyPair(nn.Module):
    """Both, as blueprints."""

    def __init__(self, generator: Mapping[str, Any], discriminator: Mapping[str, Any]) -> None:
        super().__init__()
        self.generator = Blueprint(**generator).build()
        self.discriminator = Blueprint(**discriminator).build()

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        image: Tensor = self.generator(noise) if label is None else self.generator(noise, label)
        return image


@final
@dataclass(frozen=True)
class TinyGan(Space):
    """Nothing to decide but whether the generator is deaf."""

    deaf: bool = False
    reconstructs: bool = False

    @property
    def decisions(self) -> Decisions:
        return Decisions({"deaf": Choice((self.deaf,))})

    def check(self, signature: Signature) -> None:
        label = {"label": 0} if "label" in signature.inputs else {}
        require(self, signature, "image_generation", {"noise": 1} | label, {"image": 3})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        known = {"shape": list(signature.outputs["image"]), "classes": signature.vocabularies.get("label", 0)}
        generator = {"noise": signature.inputs["noise"][0], "deaf": candidate["deaf"], **known}
        discriminator = {"reconstructs": self.reconstructs, **known}
        parts = {
            "generator": {"network": "tiny_gan:TinyGenerator", "arguments": generator},
            "discriminator": {"network": "tiny_gan:TinyDiscriminator", "arguments": discriminator},
        }
        return Blueprint("tiny_gan:TinyPair", parts)
