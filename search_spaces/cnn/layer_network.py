"""LayerNetwork: convolutions one after the other with skip connections, as Zoph & Le (2017) build their children."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.cnn.operations import Style, Window, convolution


@final
class LayerNetwork(nn.Module):
    """Images (batch, channels, height, width) -> logits (batch, classes).

    `layers`, in order: `filters` (0 for a 2x2 max pool with stride 2), `kernel` and `stride` as [height, width], and
    `inputs`: which earlier layers (counted from 1) it reads; none: the image. Several inputs are concatenated, the
    smaller ones padded with zeros at the right and below. What no layer reads is concatenated for the classifier,
    which reads the mean over height and width. A convolution is followed by batch normalisation and ReLU.
    """

    def __init__(
        self, image: Sequence[int], classes: int, layers: Sequence[Mapping[str, Any]], dropout: float = 0.0
    ) -> None:
        super().__init__()
        channels = [image[0]]
        style = Style()
        self.inputs = [list(layer["inputs"]) or [0] for layer in layers]
        self.layers = nn.ModuleList()
        for layer, inputs in zip(layers, self.inputs, strict=True):
            width = sum(channels[source] for source in inputs)
            if layer["filters"]:
                window = Window(tuple(layer["kernel"]), tuple(layer["stride"]))
                conv = convolution(width, layer["filters"], window, style)
                self.layers.append(nn.Sequential(conv, style.norm(layer["filters"]), nn.ReLU()))
            else:
                self.layers.append(nn.MaxPool2d(2, ceil_mode=True))
            channels.append(layer["filters"] or width)
        read = {source for inputs in self.inputs for source in inputs}
        self.outputs = [number for number in range(1, len(channels)) if number not in read]
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sum(channels[number] for number in self.outputs), classes)

    def features(self, image: Tensor) -> Tensor:
        """The outputs that no layer reads, concatenated."""
        maps = [image]
        for layer, inputs in zip(self.layers, self.inputs, strict=True):
            maps.append(layer(joined([maps[source] for source in inputs])))
        return joined([maps[number] for number in self.outputs])

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.features(image).mean(dim=(2, 3))))
        return logits


def joined(maps: Sequence[Tensor]) -> Tensor:
    """The maps concatenated along the channels, the smaller ones padded with zeros at the right and below."""
    if len(maps) == 1:
        return maps[0]
    height, width = (max(part.shape[axis] for part in maps) for axis in (2, 3))
    padded = [
        part
        if (part.shape[2], part.shape[3]) == (height, width)
        else functional.pad(part, (0, width - part.shape[3], 0, height - part.shape[2]))
        for part in maps
    ]
    return torch.cat(padded, dim=1)
