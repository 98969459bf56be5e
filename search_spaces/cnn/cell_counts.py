"""The costs and graphs of a CellNetwork from its blueprint's arguments, without torch; mirrors `cell_network`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from search_spaces.cnn.cells import Cell
from search_spaces.cnn.tally import Shape, Tally
from search_spaces.space import Description, Graph, Node


def describe(arguments: Mapping[str, Any]) -> Description:
    """Counts and graphs of the `CellNetwork` with these arguments.

    An auxiliary head counts among parameters and activations, but not among the multiply-adds: only training runs it.
    """
    tally = _CellTally(arguments["options"]["code"])
    tally.network(arguments)
    graphs = {kind: Cell.from_json(cell).graph() for kind, cell in arguments["cells"].items()}
    graphs["network"] = network_graph(arguments["layout"])
    count = tally.tally
    return Description(count.parameters, count.multiply_adds, count.activation_bytes, graphs)


def network_graph(layout: Sequence[Sequence[Any]]) -> Graph:
    """The stack of cells: an edge from each of the two maps that a cell reads."""
    names = ["stem", *(f"cell{i + 1}" for i in range(len(layout)))]
    nodes = [Node("image", "image"), Node("stem", "stem")]
    edges = [("image", "stem")]
    for name, (kind, filters, stride, current, previous) in zip(names[1:], layout, strict=True):
        nodes.append(Node(name, f"{kind}, {filters} filters" + (", /2" if stride == 2 else "")))
        edges += [(names[current], name)]
        if previous is not None and previous != current:
            edges += [(names[previous], name)]
    nodes.append(Node("classifier", "classifier"))
    return Graph(tuple(nodes), (*edges, (names[-1], "classifier")))


@final
class _CellTally:
    """Walks through the layers in the order of the network's forward pass."""

    def __init__(self, code: str) -> None:
        self.tally = Tally(same=code != "darts")
        self.code = code

    def network(self, arguments: Mapping[str, Any]) -> None:
        channels, height, width = arguments["image"]
        stem, options = arguments["stem"], arguments["options"]
        image = Shape(channels, height, width)
        if stem["kind"] == "imagenet":
            output = self.tally.valid_convolution(image, stem["filters"], (3, 3), 2)
        else:
            output = self.tally.convolution(image, stem["filters"], (3, 3))
        maps = [self.tally.norm(output)]
        for kind, filters, stride, current, previous in arguments["layout"]:
            before = None if previous is None else maps[previous]
            maps.append(self.cell(arguments["cells"][kind], maps[current], before, filters, stride))
        if options["auxiliary"] is not None:
            inference = self.tally.multiply_adds
            self.auxiliary(maps[options["auxiliary"]], arguments["classes"])
            self.tally.multiply_adds = inference
        last = maps[-1] if self.code == "darts" else self.tally.relu(maps[-1])
        self.tally.linear(Shape(last.channels, 1, 1), arguments["classes"])

    def cell(self, cell: Mapping[str, Any], current: Shape, previous: Shape | None, filters: int, stride: int) -> Shape:
        halves = [half for n1, s1, n2, s2, _ in cell["blocks"] for half in ((n1, s1), (n2, s2))]
        read = {state for name, state in halves if name != "none"} | set(cell["concat"])
        states = [
            self.pointwise(current, filters) if 0 in read else current,
            self.previous(previous, current, filters) if previous is not None and 1 in read else current,
        ]
        for name1, input1, name2, input2, combine in cell["blocks"]:
            for name, state in ((name1, input1), (name2, input2)):
                half = self.operation(name, states[state], filters, stride if state < 2 else 1)
            states.append(Shape(2 * filters if combine == "concat" else filters, half.height, half.width))
        parts = [self.match(states[s], filters, stride) if s < 2 else states[s] for s in cell["concat"]]
        return Shape(sum(part.channels for part in parts), parts[0].height, parts[0].width)

    def previous(self, previous: Shape, current: Shape, filters: int) -> Shape:
        if (previous.height, previous.width) != (current.height, current.width):
            return self.factorized_reduction(previous, filters)
        if previous.channels != filters or self.code == "darts":
            return self.pointwise(previous, filters)
        return previous

    def match(self, state: Shape, filters: int, stride: int) -> Shape:
        if stride == 2:
            return self.factorized_reduction(state, filters, relu=False)
        return state if state.channels == filters else self.pointwise(state, filters, relu=False)

    def operation(self, name: str, image: Shape, filters: int, stride: int) -> Shape:
        tally, strides = self.tally, (stride, stride)
        if name == "none":
            return Shape(filters, -(-image.height // stride), -(-image.width // stride))
        if name == "identity":
            if stride == 1 and image.channels == filters:
                return image
            if stride == 2 and self.code == "darts":
                return self.factorized_reduction(image, filters)
            return self.pointwise(image, filters, stride)
        kind, _, size = name.rpartition("_")
        kernel = int(size.partition("x")[0])
        if kind in ("average_pool", "max_pool"):
            counted = self.code == "timm" and kind == "average_pool" and stride > 1
            source = tally.padded(image, (kernel, kernel), strides, evenly=True) if counted else image
            pooled = tally.pool(source, kind.partition("_")[0], strides)
            return pooled if image.channels == filters else self.pointwise(pooled, filters, relu=False)
        if kind == "separable":
            return self.separable(self.separable(image, filters, kernel, stride), filters, kernel, 1)
        if kind == "dilated_separable":
            return self.separable(image, filters, kernel, stride, dilation=2)
        relu = tally.relu(image)
        if kind == "factorized":
            wide = tally.convolution(relu, filters, (1, kernel), (1, stride))
            return tally.norm(tally.convolution(wide, filters, (kernel, 1), (stride, 1)))
        dilation = 2 if kind == "dilated" else 1
        return tally.norm(tally.convolution(relu, filters, (kernel, kernel), strides, dilation=dilation))

    def pointwise(self, image: Shape, filters: int, stride: int = 1, relu: bool = True) -> Shape:
        image = self.tally.relu(image) if relu else image
        return self.tally.norm(self.tally.convolution(image, filters, (1, 1), (stride, stride)))

    def separable(self, image: Shape, filters: int, kernel: int, stride: int, dilation: int = 1) -> Shape:
        relu, channels = self.tally.relu(image), image.channels
        deep = self.tally.convolution(relu, channels, (kernel, kernel), (stride, stride), channels, dilation)
        return self.tally.norm(self.tally.convolution(deep, filters, (1, 1)))

    def factorized_reduction(self, image: Shape, filters: int, relu: bool = True) -> Shape:
        image = self.tally.relu(image) if relu else image
        self.tally.keep(Shape(image.channels, image.height + 1, image.width + 1))
        shifted = Shape(image.channels, image.height, image.width, kept=True)
        half = self.tally.convolution(image, filters // 2, (1, 1), (2, 2))
        self.tally.convolution(shifted, filters // 2, (1, 1), (2, 2))
        return self.tally.norm(Shape(filters, half.height, half.width))

    def auxiliary(self, image: Shape, classes: int) -> None:
        tally = self.tally
        relu = tally.relu(image)
        height, width = ((size - 5) // 3 + 1 for size in (image.height, image.width))
        tally.keep(relu)
        narrow = tally.relu(tally.norm(tally.convolution(Shape(image.channels, height, width), 128, (1, 1))))
        full = tally.relu(tally.norm(tally.valid_convolution(narrow, 768, (height, width), 1)))
        tally.linear(full, classes)
