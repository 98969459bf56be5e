"""A space with one small network that has all a recipe acts on: batch norm, drop path, an auxiliary head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space


@final
class TinyNet(nn.Module):
    """Convolution, batch norm, ReLU, a residual path that is dropped at times, and a linear classifier."""

    def __init__(self, channels: int, filters: int, classes: int, drop_path: float, auxiliary: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU())
        self.path = nn.Conv2d(filters, filters, 3, padding=1)
        self.head = nn.Linear(filters, classes) if auxiliary else None
        self.classifier = nn.Linear(filters, classes)
        self.drop_path, self.progress = drop_path, 0.0
        self.auxiliary_logits: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        images = self.stem(images)
        self.auxiliary_logits = None
        if self.training and self.head is not None:
            self.auxiliary_logits = self.head(images.mean((2, 3)))
        path = self.path(images)
        if self.training and self.drop_path:
            kept = 1 - self.drop_path * self.progress
            path = path * (torch.rand(len(path), 1, 1, 1) < kept) / kept
        logits: Tensor = self.classifier((images + path).mean((2, 3)))
        return logits


@final
@dataclass(frozen=True)
class TinySpace(Space):
    """One decision: how many filters."""

    drop_path: float = 0.0
    auxiliary: bool = False

    @property
    def decisions(self) -> Decisions:
        return Decisions({"filters": Choice((2, 4, 8))})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        arguments = {
            "channels": signature.inputs["image"][0],
            "filters": candidate["filters"],
            "classes": signature.outputs["logits"][0],
            "drop_path": self.drop_path,
            "auxiliary": self.auxiliary,
        }
        return Blueprint("tiny_space:TinyNet", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        channels, classes, filters = signature.inputs["image"][0], signature.outputs["logits"][0], candidate["filters"]
        assert isinstance(filters, int)
        convolutions = 9 * filters * (channels + filters) + 2 * filters
        return Description(convolutions + 2 * filters + (filters + 1) * classes, 64 * convolutions, 4 * 64 * filters)
