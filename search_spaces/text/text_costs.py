"""TextCosts: what a classifier of texts costs for one example, and its graph: in closed form, without torch."""

from __future__ import annotations

from typing import final

from search_spaces.space import Description, Graph, Node

GATES = {"rnn": 1, "gru": 3, "lstm": 4}
KEPT = {"rnn": 1, "gru": 5, "lstm": 7}  # numbers per unit and step: gates, states and their tanh


@final
class TextCosts:
    """Counts of the layers that were added, and the graph: each method adds a node that reads `sources`.

    Kept for the backward pass are the inputs of all layers with weights, what recurrent units compute inside, and
    what is pooled.
    """

    def __init__(self, vocabulary: int, embedding: int, steps: int) -> None:
        self.parameters = vocabulary * embedding
        self.multiply_adds = 0
        self.kept = steps * embedding
        self.nodes = [Node("tokens", "tokens"), Node("embedding", f"embedding {embedding}")]
        self.edges = [("tokens", "embedding")]

    def node(self, name: str, label: str, *sources: str) -> None:
        """A part without weights."""
        self.nodes.append(Node(name, label))
        self.edges += [(source, name) for source in sources]

    def convolution(self, name: str, sizes: tuple[int, int, int], steps: int, *sources: str) -> None:
        """A convolution with bias at `steps` places, and its nonlinearity; `sizes`: inputs, filters, width."""
        inputs, filters, width = sizes
        self.parameters += (inputs * width + 1) * filters
        self.multiply_adds += steps * inputs * width * filters
        self.kept += steps * filters
        self.node(name, f"convolution {width} x {filters}", *sources)

    def pool(self, name: str, pooling: str, features: int, *sources: str) -> None:
        """A pool over time that gives `features`."""
        self.kept += features
        self.node(name, "max and mean pool" if pooling == "both" else f"{pooling} pool", *sources)

    def recurrent(self, name: str, unit: str, sizes: tuple[int, int], steps: int, *sources: str) -> None:
        """A recurrent layer of `sizes`: inputs, units, with the two biases of torch's, over so many steps in all."""
        inputs, hidden = sizes
        weights = GATES[unit] * hidden * (inputs + hidden)
        self.parameters += weights + 2 * GATES[unit] * hidden
        self.multiply_adds += steps * weights
        self.kept += steps * (inputs + KEPT[unit] * hidden)
        self.node(name, f"{unit} {hidden}", *sources)

    def linear(self, name: str, sizes: tuple[int, int], label: str, *sources: str) -> None:
        """A linear layer of `sizes`: inputs, outputs."""
        self.weigh(sizes, 1)
        self.node(name, label, *sources)

    def weigh(self, sizes: tuple[int, int], steps: int, bias: bool = True) -> None:
        """The weights of a linear layer at `steps` places, without a node."""
        inputs, outputs = sizes
        self.parameters += (inputs + bias) * outputs
        self.multiply_adds += steps * inputs * outputs
        self.kept += steps * inputs

    def describe(self) -> Description:
        """The counts so far; a number has 32 bits."""
        graph = Graph(tuple(self.nodes), tuple(self.edges))
        return Description(self.parameters, self.multiply_adds, 4 * self.kept, {"network": graph})
