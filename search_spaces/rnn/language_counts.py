"""The costs and graphs of a LanguageNetwork from its arguments, without torch; mirrors `language_network`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from search_spaces.rnn.cell_families import cell_costs, cell_drawing
from search_spaces.space import Description, Graph, Node


def describe(arguments: Mapping[str, Any], steps: int) -> Description:
    """Counts of one sequence of `steps` tokens, and the graphs `network` and `cell`.

    Multiply-adds are those of matrix products. Activations: 4 bytes for each number that a vertex of a cell, the
    embedding, the projection or the decoder gives.
    """
    vocabulary, sizes = arguments["vocabulary"], arguments["sizes"]
    width, hidden, layers = sizes["embedding"], sizes["hidden"], sizes["layers"]
    costs = [cell_costs(arguments["cell"], hidden if place else width, hidden) for place in range(layers)]
    projected = arguments["tied"] and width != hidden
    projection = width * hidden if projected else 0
    decoded = width if arguments["tied"] else hidden
    parameters = vocabulary * width + sum(layer.parameters for layer in costs) + projection
    parameters += vocabulary + (0 if arguments["tied"] else vocabulary * hidden)
    products = sum(layer.multiply_adds for layer in costs) + projection + decoded * vocabulary
    values = width + sum(layer.values for layer in costs) + (width if projected else 0) + vocabulary
    graphs = {"network": _network(arguments, projected), "cell": cell_drawing(arguments["cell"])}
    return Description(parameters, steps * products, 4 * steps * values, graphs)


def _network(arguments: Mapping[str, Any], projected: bool) -> Graph:
    """A chain from the tokens to the logits."""
    sizes = arguments["sizes"]
    nodes = [Node("tokens", "tokens"), Node("embedding", f"embedding {sizes['embedding']}")]
    family = arguments["cell"]["family"]
    nodes += [Node(f"layer{i}", f"{family} cell {sizes['hidden']}") for i in range(1, sizes["layers"] + 1)]
    nodes += [Node("projection", f"linear {sizes['embedding']}")] if projected else []
    nodes.append(Node("decoder", f"decoder {arguments['vocabulary']}" + (", tied" if arguments["tied"] else "")))
    edges = tuple((first.name, second.name) for first, second in pairwise(nodes))
    return Graph(tuple(nodes), edges)
