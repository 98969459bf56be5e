"""A space with one small network without batch norm: its gradient over a batch is the mean over the batch's parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space


@final
class PlainNet(nn.Module):
    """A convolution and a linear classifier; `norm` puts batch norm between them."""

    def __init__(self, channels: int, filters: int, classes: int, norm: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, filters, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(filters) if norm else nn.Identity()
        self.classifier = nn.Linear(filters * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.relu(self.norm(self.stem(images))).flatten(1))
        return logits


@final
@dataclass(frozen=True)
class PlainSpace(Space):
    """One decision: how many filters."""

    norm: bool = False

    @property
    def decisions(self) -> Decisions:
        return Decisions({"filters": Choice((4, 8, 16))})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        arguments = {
            "channels": signature.inputs["image"][0],
            "filters": candidate["filters"],
            "classes": signature.outputs["logits"][0],
            "norm": self.norm,
        }
        return Blueprint("plain_space:PlainNet", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        channels, classes, filters = signature.inputs["image"][0], signature.outputs["logits"][0], candidate["filters"]
        assert isinstance(filters, int)
        stem, last = (9 * channels + 1) * filters, (16 * filters + 1) * classes
        return Description(stem + last + 2 * filters * self.norm, 16 * stem + last, 4 * 16 * filters)
