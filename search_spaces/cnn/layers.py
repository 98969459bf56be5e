"""Layers (Zoph & Le 2017): a chain of convolutions of any shape, each reading any of the layers before it.

Decisions, for layer n = 1, 2, ..., active when `depth` >= n:

| name | value |
|---|---|
| `depth` | how many layers, one of the option `depths` |
| `layer<n>_height`, `layer<n>_width` | of the filters |
| `layer<n>_filters` | how many |
| `layer<n>_stride_height`, `layer<n>_stride_width` | only there with more than one of `strides` |
| `layer<n>_reads<m>` | whether it reads layer m < n; a layer that reads none reads the image |

A layer named in `pooling` is a 2x2 max pool of the layer before it and has no decisions of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, final

from search_spaces.cnn.cell_space import check_images
from search_spaces.cnn.tally import Shape, Tally
from search_spaces.decision import Choice, Decision, DecisionError, Value, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.ordering import canonical_order
from search_spaces.space import Blueprint, Description, Graph, Node, Signature, Space, UnfitError


@final
@dataclass(frozen=True)
class LayersSpace(Space):
    """Convolutions with skip connections; as published by default: 15 layers, no strides, no pooling.

    - `depths`: how many layers; several to choose from, or to grow through (the paper: from 6 on, by 2).
    - `kernels`, `filters`, `strides`: what to choose from; the paper also tries strides [1, 2, 3].
    - `skip_connections`: without, each layer reads the one before it.
    - `pooling`: numbers of the layers that are 2x2 max pools (the paper: 13 and 24).
    - `dropout`: the probability to drop a feature before the classifier.

    `smallest` and `grow` are there with several `depths`; they are lazy and long: take what you need.
    """

    depths: Sequence[int] = (15,)
    kernels: Sequence[int] = (1, 3, 5, 7)
    filters: Sequence[int] = (24, 36, 48, 64)
    strides: Sequence[int] = (1,)
    skip_connections: bool = True
    pooling: Sequence[int] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("depths", "kernels", "filters", "strides"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if not values or min(values) < 1 or list(values) != sorted(set(values)):
                raise DecisionError(f"{name} is {list(values)}, but must be rising numbers from 1 on, at least one")
        object.__setattr__(self, "pooling", tuple(self.pooling))
        if even := [size for size in self.kernels if size % 2 == 0]:
            raise DecisionError(f"kernels has {even[0]}, but a kernel's size is odd, so that it has a centre")
        if self.pooling and not 2 <= min(self.pooling) <= max(self.pooling) <= self.depths[-1]:
            raise DecisionError(f"pooling is {list(self.pooling)}, but a pool is a layer from 2 to {self.depths[-1]}")
        if not 0 <= self.dropout < 1:
            raise DecisionError(f"dropout is {self.dropout}, but must be at least 0 and below 1: it is what is dropped")

    @cached_property
    def decisions(self) -> Decisions:
        table: dict[str, Decision] = {"depth": Choice(tuple(self.depths))}
        for number in range(1, self.depths[-1] + 1):
            table |= self._layer_decisions(number)
        return Decisions(table)

    @property
    def progressive(self) -> bool:
        return len(self.depths) > 1

    def smallest(self) -> Iterator[Candidate]:
        """The different networks of the least depth, drawn up one by one."""
        yield from self._different({"depth": self.depths[0]}, 1)

    def grow(self, candidate: Candidate) -> Iterator[Candidate]:
        """The different networks that have the next larger depth and start as `candidate` does, one by one."""
        place = self.depths.index(int(candidate["depth"])) + 1
        if place < len(self.depths):
            yield from self._different({**candidate, "depth": self.depths[place]}, int(candidate["depth"]) + 1)

    def canonical(self, candidate: Candidate) -> Hashable:
        layers = self.layers_of(candidate)
        return canonical_order([((y["filters"], *y["kernel"], *y["stride"]), y["inputs"]) for y in layers])

    def layers_of(self, candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The layers of `candidate`, as `LayerNetwork` takes them."""
        layers = []
        for number in range(1, candidate["depth"] + 1):
            start = f"layer{number}_"
            before = [number - 1] if number > 1 else []
            if number in self.pooling:
                layers.append({"filters": 0, "kernel": [2, 2], "stride": [2, 2], "inputs": before})
                continue
            if self.skip_connections:
                before = [source for source in range(1, number) if candidate[f"{start}reads{source}"]]
            fixed = self.strides[0]
            stride = [candidate.get(f"{start}stride_{side}", fixed) for side in ("height", "width")]
            kernel = [candidate[f"{start}height"], candidate[f"{start}width"]]
            filters = candidate[f"{start}filters"]
            layers.append({"filters": filters, "kernel": kernel, "stride": stride, "inputs": before})
        return layers

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        (classes,) = signature.outputs["logits"]
        arguments = {
            "image": list(signature.inputs["image"]),
            "classes": classes,
            "layers": self.layers_of(candidate),
            "dropout": self.dropout,
        }
        return Blueprint("search_spaces.cnn.layer_network:LayerNetwork", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        (classes,) = signature.outputs["logits"]
        layers = self.layers_of(candidate)
        tally = Tally()
        read = {source for layer in layers for source in layer["inputs"] or [0]}
        channels, height, width = signature.inputs["image"]
        maps = [Shape(channels, height, width)]
        for layer in layers:
            image = _joined([maps[source] for source in layer["inputs"] or [0]])
            kernel, stride = tuple(layer["kernel"]), tuple(layer["stride"])
            if layer["filters"]:
                maps.append(tally.relu(tally.norm(tally.convolution(image, layer["filters"], kernel, stride))))
            else:
                maps.append(tally.pool(image, "max", stride))
        unread = [maps[number] for number in range(1, len(maps)) if number not in read]
        tally.linear(Shape(sum(shape.channels for shape in unread), 1, 1), classes)
        return Description(
            tally.parameters, tally.multiply_adds, tally.activation_bytes, {"network": _graph(layers, read)}
        )

    def check(self, signature: Signature) -> None:
        check_images(self, signature)
        size = min(signature.inputs["image"][1:])
        halvings = len(self.pooling)
        if size < 2**halvings:
            raise UnfitError(
                f"images of {'x'.join(map(str, signature.inputs['image'][1:]))} are too small for {halvings} pools: "
                f"name fewer layers in pooling"
            )

    def _layer_decisions(self, number: int) -> dict[str, Decision]:
        if number in self.pooling:
            return {}
        when = When.at_least("depth", number) if number > self.depths[0] else None
        kernels, strides = Choice(tuple(self.kernels), when), Choice(tuple(self.strides), when)
        table: dict[str, Decision] = {"height": kernels, "width": kernels, "filters": Choice(tuple(self.filters), when)}
        if len(self.strides) > 1:
            table |= {"stride_height": strides, "stride_width": strides}
        if self.skip_connections:
            table |= {f"reads{source}": Choice((False, True), when) for source in range(1, number)}
        return {f"layer{number}_{name}": decision for name, decision in table.items()}

    def _different(self, start: Mapping[str, Value], first: int) -> Iterator[Candidate]:
        """The different candidates that continue `start` from layer `first` to the depth it names."""
        table = {
            name: decision
            for number in range(first, int(start["depth"]) + 1)
            for name, decision in self._layer_decisions(number).items()
        }
        seen = set()
        for values in product(*(decision.points for decision in table.values())):
            candidate = Candidate({**start, **dict(zip(table, values, strict=True))})
            if (key := self.canonical(candidate)) not in seen:
                seen.add(key)
                yield candidate


def _joined(shapes: Sequence[Shape]) -> Shape:
    """The concatenation of maps that are padded to one size."""
    if len(shapes) == 1:
        return shapes[0]
    return Shape(sum(s.channels for s in shapes), max(s.height for s in shapes), max(s.width for s in shapes))


def _graph(layers: Sequence[Mapping[str, Any]], read: set[int]) -> Graph:
    names = ["image", *(f"layer{number}" for number in range(1, len(layers) + 1))]
    nodes, edges = [Node("image", "image")], []
    for name, layer in zip(names[1:], layers, strict=True):
        size, stride = ("x".join(map(str, layer[part])) for part in ("kernel", "stride"))
        label = f"convolution {size} {layer['filters']}" if layer["filters"] else f"max pool {size}"
        nodes.append(Node(name, label + (f" /{stride}" if layer["stride"] != [1, 1] else "")))
        edges += [(names[source], name) for source in layer["inputs"] or [0]]
    nodes.append(Node("classifier", "classifier"))
    edges += [(names[number], "classifier") for number in range(1, len(names)) if number not in read]
    return Graph(tuple(nodes), tuple(edges))
