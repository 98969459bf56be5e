"""Steps of tree and graph cells, computed once more in numpy from the formulas of the papers."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from search_spaces.rnn.graph_layer import GraphLayer
from search_spaces.rnn.layer_families import recurrent_layer
from search_spaces.rnn.published_cells import CELLS, DARTS_V2, ENAS, TREE_EXAMPLE
from search_spaces.rnn.recurrent_cell import RecurrentCellSpace
from search_spaces.rnn.tree_layer import TreeLayer

Vector: TypeAlias = npt.NDArray[np.float64]

INPUTS, HIDDEN, STEPS = 4, 3, 6


def activated(name: str, values: Vector) -> Vector:
    if name == "identity":
        return values
    if name == "relu":
        return np.where(values > 0, values, 0.0)
    return 1 / (1 + np.exp(-values)) if name == "sigmoid" else (np.exp(2 * values) - 1) / (np.exp(2 * values) + 1)


def weights(linear: object) -> Vector:
    assert isinstance(linear, nn.Linear)
    assert linear.bias is None
    found: Vector = linear.weight.detach().numpy()
    return found


def graph_step(cell: Mapping[str, Any], layer: GraphLayer, x: Vector, h: Vector) -> Vector:
    """DARTS' appendix and code: every node moves what it reads towards its candidate, as far as its gate is open."""

    def towards(s: Vector, product: Vector, activation: str) -> Vector:
        gate, new = product[:HIDDEN], product[HIDDEN:]
        return s + 1 / (1 + np.exp(-gate)) * (activated(activation, new) - s)

    states = [towards(h, weights(layer.inputs) @ x + weights(layer.state) @ h, "tanh")]
    for node, (activation, source) in enumerate(cell["nodes"]):
        states.append(towards(states[source], weights(layer.nodes[node]) @ states[source], activation))
    mean: Vector = np.mean([states[node] for node in cell["output"]], axis=0)
    return mean


def tree_step(cell: Mapping[str, Any], layer: TreeLayer, x: Vector, h: Vector, c: Vector) -> tuple[Vector, Vector]:
    """Zoph & Le 2017, section 3.4, node by node, level by level."""

    def combined(how: str, one: Vector, other: Vector) -> Vector:
        return one + other if how == "add" else one * other

    leaves = (len(cell["nodes"]) + 1) // 2
    left, right = (
        (weights(part) @ read).reshape(leaves, HIDDEN) for part, read in ((layer.inputs, x), (layer.state, h))
    )
    level, index, memory = list(zip(left, right, strict=True)), 0, c
    while True:
        values = []
        for one, other in level:
            combine, activation = cell["nodes"][index]
            before = combined(combine, one, other)
            if index == cell["memory"]:
                memory = before
            after = activated(activation, before)
            if index == cell["injected"]:
                after = activated(cell["inject"][1], combined(cell["inject"][0], after, c))
            values.append(after)
            index += 1
        if len(values) == 1:
            return values[0], memory
        level = list(zip(values[::2], values[1::2], strict=True))


def sampled(family: str, seed: int, **options: Any) -> Mapping[str, Any]:
    space = RecurrentCellSpace(cell=family, **options)  # type: ignore[arg-type]
    return space.cell_of(space.decisions.sample(Random(seed)))


@pytest.mark.parametrize(
    "cell",
    [DARTS_V2, ENAS, *(sampled("graph", seed) for seed in range(6)), sampled("graph", 6, output="loose_ends")],
)
def test_a_graph_cell_is_what_its_formulas_say(cell: Mapping[str, Any]) -> None:
    torch.manual_seed(0)
    layer = GraphLayer(cell, INPUTS, HIDDEN).double()
    inputs, start = torch.randn(2, STEPS, INPUTS).double(), torch.randn(2, HIDDEN).double()
    with torch.no_grad():
        outputs, last = layer(inputs, start)
    for sequence in range(2):
        h = start[sequence].numpy()
        for step in range(STEPS):
            h = graph_step(cell, layer, inputs[sequence, step].numpy(), h)
            np.testing.assert_allclose(outputs[sequence, step].numpy(), h, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(last[sequence].numpy(), h, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "cell",
    [
        TREE_EXAMPLE,
        *(sampled("tree", seed) for seed in range(8)),
        *(sampled("tree", seed, base=4) for seed in range(4)),
    ],
)
def test_a_tree_cell_is_what_its_formulas_say(cell: Mapping[str, Any]) -> None:
    torch.manual_seed(0)
    layer = TreeLayer(cell, INPUTS, HIDDEN).double()
    inputs, *state = (torch.randn(shape).double() for shape in ((2, STEPS, INPUTS), (2, HIDDEN), (2, HIDDEN)))
    with torch.no_grad():
        outputs, *last = layer(inputs, *state)
    for sequence in range(2):
        h, c = (one[sequence].numpy() for one in state)
        for step in range(STEPS):
            h, c = tree_step(cell, layer, inputs[sequence, step].numpy(), h, c)
            np.testing.assert_allclose(outputs[sequence, step].numpy(), h, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(last[0][sequence].numpy(), h, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(last[1][sequence].numpy(), c, rtol=1e-9, atol=1e-12)


def test_the_tree_of_the_paper_s_example() -> None:
    """Its equations, written out: base 2, the memory added to leaf 0, the new one from leaf 1 before its ReLU."""
    torch.manual_seed(1)
    layer = TreeLayer(TREE_EXAMPLE, INPUTS, HIDDEN)
    x, h, c = torch.randn(1, INPUTS), torch.randn(1, HIDDEN), torch.randn(1, HIDDEN)
    w1, w3 = layer.inputs.weight.chunk(2)
    w2, w4 = layer.state.weight.chunk(2)
    a0 = torch.relu(torch.tanh(x @ w1.t() + h @ w2.t()) + c)
    memory = (x @ w3.t()) * (h @ w4.t())
    _, last, kept = layer(x[:, None], h, c)
    torch.testing.assert_close(kept, memory)
    torch.testing.assert_close(last, torch.sigmoid(a0 * torch.relu(memory)))


@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_the_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    layer = recurrent_layer(CELLS[name], 2, 2).double()
    inputs = torch.randn(1, 3, 2).double()
    state = [torch.randn(1, size).double() for size in layer.state_sizes]
    for one in (inputs, *state):
        one.requires_grad_()
    names = [key for key, _ in layer.named_parameters()]

    def run(inputs: torch.Tensor, *further: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state, weights = further[: len(layer.state_sizes)], further[len(layer.state_sizes) :]
        found: tuple[torch.Tensor, ...] = torch.func.functional_call(
            layer, dict(zip(names, weights, strict=True)), (inputs, *state)
        )
        return found

    weights = [one.detach().clone().requires_grad_() for one in layer.parameters()]
    assert torch.autograd.gradcheck(run, (inputs, *state, *weights), fast_mode=True)
