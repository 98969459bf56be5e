"""CellNetwork: a stem, cells stacked on it, a classifier; as in the code that NASNet, PNAS and DARTS published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from search_spaces.cnn.operations import FactorizedReduction, Style, Zero, operation, pointwise


def drop_path(state: Tensor, rate: float) -> Tensor:
    """`state` without each example's share with probability `rate`; what is kept is divided by the chance to be."""
    keep = 1.0 - rate
    mask = torch.floor(keep + torch.rand(state.shape[0], 1, 1, 1, dtype=state.dtype, device=state.device))
    return state * (mask / keep)


@final
@dataclass(frozen=True)
class Map:
    """A feature map: its channels, and how often height and width were halved since the stem."""

    channels: int
    halvings: int = 0


@final
class BlockModule(nn.Module):
    """Two operations on two states, added, or concatenated to twice the channels."""

    def __init__(self, operations: Sequence[nn.Module], dropped: Sequence[bool], combine: str) -> None:
        super().__init__()
        self.left, self.right = operations
        self.drop_left, self.drop_right = dropped
        self.combine = combine

    def forward(self, first: Tensor, second: Tensor, rate: float) -> Tensor:
        left, right = self.left(first), self.right(second)
        if rate > 0 and self.training:
            left = drop_path(left, rate) if self.drop_left else left
            right = drop_path(right, rate) if self.drop_right else right
        return torch.cat([left, right], dim=1) if self.combine == "concat" else left + right


@final
class CellModule(nn.Module):
    """One cell: both inputs brought to `filters` channels and one size, blocks, the concatenation of some states.

    State 0 is the previous cell's output, state 1 the output of the cell before (None: state 1 is the previous cell's
    output as it is), states 2, 3, ... are the blocks'. With stride 2 the operations on states 0 and 1 halve the map.
    """

    def __init__(
        self, cell: Mapping[str, Any], current: Map, previous: Map | None, filters: int, stride: int, style: Style
    ) -> None:
        super().__init__()
        self.wiring = [(first, second) for _, first, _, second, _ in cell["blocks"]]
        self.concat = list(cell["concat"])
        halves = [half for n1, s1, n2, s2, _ in cell["blocks"] for half in ((n1, s1), (n2, s2))]
        read = {state for name, state in halves if name != "none"} | set(self.concat)
        channels = [filters, current.channels]
        self.adjust: nn.Module | None = pointwise(current.channels, filters, style) if 0 in read else None
        self.adjust_previous: nn.Module | None = nn.Identity()
        if previous is not None:
            channels[1] = filters
            if 1 not in read:
                self.adjust_previous = None
            elif previous.halvings < current.halvings:
                self.adjust_previous = FactorizedReduction(previous.channels, filters, style)
            elif previous.channels != filters or style.code == "darts":
                self.adjust_previous = pointwise(previous.channels, filters, style)
        self.blocks = nn.ModuleList()
        for name1, input1, name2, input2, combine in cell["blocks"]:
            left = operation(name1, channels[input1], filters, stride if input1 < 2 else 1, style)
            right = operation(name2, channels[input2], filters, stride if input2 < 2 else 1, style)
            dropped = (_dropped(name1, left, style), _dropped(name2, right, style))
            self.blocks.append(BlockModule((left, right), dropped, combine))
            channels.append(2 * filters if combine == "concat" else filters)
        self.matches = nn.ModuleDict()
        for state in self.concat:
            if state < 2 and stride == 2:
                self.matches[str(state)] = FactorizedReduction(channels[state], filters, style, relu=False)
            elif state < 2 and channels[state] != filters:
                self.matches[str(state)] = pointwise(channels[state], filters, style, relu=False)
        self.output = Map(sum(filters if s < 2 else channels[s] for s in self.concat), current.halvings + stride - 1)

    def forward(self, current: Tensor, previous: Tensor, rate: float) -> Tensor:
        states = [
            current if self.adjust is None else self.adjust(current),
            current if self.adjust_previous is None else self.adjust_previous(previous),
        ]
        for (first, second), block in zip(self.wiring, self.blocks, strict=True):
            states.append(block(states[first], states[second], rate))
        parts = [self.matches[str(s)](states[s]) if str(s) in self.matches else states[s] for s in self.concat]
        return torch.cat(parts, dim=1)


def _dropped(name: str, module: nn.Module, style: Style) -> bool:
    """Whether drop path may drop an operation's output: never an identity, nor what stands for one in TensorFlow."""
    return not isinstance(module, (nn.Identity, Zero)) and (style.code == "darts" or name != "identity")


@final
class AuxiliaryHead(nn.Module):
    """A second classifier on an inner map, (batch, channels, height, width) -> (batch, classes).

    Height and width must be at least 5.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int, style: Style) -> None:
        super().__init__()
        pooled = [(length - 5) // 3 + 1 for length in size]
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=3),
            *(nn.Conv2d(channels, 128, 1, bias=False), style.norm(128), nn.ReLU()),
            *(nn.Conv2d(128, 768, (pooled[0], pooled[1]), bias=False), style.norm(768), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(768, classes)),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image)
        return logits


@final
class CellNetwork(nn.Module):
    """Images (batch, channels, height, width) -> logits (batch, classes).

    - `image`: (channels, height, width).
    - `stem`: kind (`cifar`: 3x3; `imagenet`: 3x3 with stride 2 and no padding) and filters.
    - `cells`: kind -> blocks `[operation, input, operation, input, combine]`, and the states that are concatenated.
    - `layout`: per cell `[kind, filters, stride, current map, previous map or null]`; map 0 is the stem's output, map n
      the output of the n-th cell.
    - `options`: code and epsilon (see `Style`), drop_path (the probability to drop), dropout (before the classifier),
      auxiliary (the map that a second classifier reads, or null).

    `progress` goes from 0 to 1 over the training and scales the drop path rate, which (except in DARTS) also rises
    from cell to cell. After a training forward `auxiliary_logits` are the second classifier's, else None; who
    trains weighs their loss.
    """

    def __init__(
        self,
        image: Sequence[int],
        classes: int,
        stem: Mapping[str, Any],
        cells: Mapping[str, Mapping[str, Any]],
        layout: Sequence[Sequence[Any]],
        options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.style = Style(options["code"], options["epsilon"])
        self.drop_path = float(options["drop_path"])
        self.progress = 0.0
        self.auxiliary_logits: Tensor | None = None
        small = stem["kind"] == "cifar"
        self.stem = nn.Sequential(
            nn.Conv2d(image[0], stem["filters"], 3, stride=1 if small else 2, padding=1 if small else 0, bias=False),
            self.style.norm(stem["filters"]),
        )
        maps = [Map(stem["filters"])]
        self.inputs: list[tuple[int, int]] = []
        self.cells = nn.ModuleList()
        for kind, filters, stride, current, previous in layout:
            before = None if previous is None else maps[previous]
            cell = CellModule(cells[kind], maps[current], before, filters, stride, self.style)
            self.inputs.append((current, current if previous is None else previous))
            self.cells.append(cell)
            maps.append(cell.output)
        self.activation = nn.Identity() if self.style.code == "darts" else nn.ReLU()
        self.dropout = nn.Dropout(options["dropout"])
        self.classifier = nn.Linear(maps[-1].channels, classes)
        self.auxiliary_map: int | None = options["auxiliary"]
        self.auxiliary: AuxiliaryHead | None = None
        if self.auxiliary_map is not None:
            inner = maps[self.auxiliary_map]
            size = [length if small else (length - 3) // 2 + 1 for length in image[1:]]
            height, width = (-(-length // 2**inner.halvings) for length in size)
            self.auxiliary = AuxiliaryHead(inner.channels, (height, width), classes, self.style)

    def features(self, image: Tensor) -> Tensor:
        """The last cell's output, after the final ReLU where there is one (not in DARTS)."""
        maps = [self.stem(image)]
        for index, (cell, (current, previous)) in enumerate(zip(self.cells, self.inputs, strict=True)):
            maps.append(cell(maps[current], maps[previous], self.drop_rate(index)))
        self.auxiliary_logits = None
        if self.auxiliary is not None and self.auxiliary_map is not None and self.training:
            self.auxiliary_logits = self.auxiliary(maps[self.auxiliary_map])
        last: Tensor = self.activation(maps[-1])
        return last

    def drop_rate(self, index: int) -> float:
        """The probability that an operation's output in cell `index` is dropped now."""
        depth = 1.0 if self.style.code == "darts" else (index + 1) / len(self.cells)
        return self.drop_path * depth * self.progress

    def __getstate__(self) -> dict[str, Any]:
        """All but the logits of the last step, whose graph cannot be copied."""
        return {**self.__dict__, "auxiliary_logits": None}

    def forward(self, image: Tensor) -> Tensor:
        pooled = self.features(image).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits
