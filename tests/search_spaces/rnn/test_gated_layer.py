"""Gated cells against torch's own LSTM and GRU, and against published formulas."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.rnn.gated_layer import GatedLayer
from search_spaces.rnn.published_cells import GRU, LSTM, MINIMAL_GATED_UNIT, PEEPHOLE_LSTM, TORCH_GRU

INPUTS, HIDDEN = 5, 7


def weigh(layer: GatedLayer, node: str, *parts: Tensor, bias: Tensor) -> None:
    """Give a linear node these matrices, side by side, and this bias."""
    linear = layer.linears[node]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.cat(parts, 1))
        linear.bias.copy_(bias)


def gradient(layer: GatedLayer, node: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of the inputs' matrix, of the other one, of the bias."""
    linear = layer.linears[node]
    assert isinstance(linear, nn.Linear)
    assert linear.weight.grad is not None
    assert linear.bias.grad is not None
    return linear.weight.grad[:, :INPUTS], linear.weight.grad[:, INPUTS:], linear.bias.grad


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def of(torchs: nn.RNNBase, name: str, row: slice, gradient: bool = False) -> Tensor:
    """The part of one gate in a parameter of torch's layer, or in its gradient."""
    weight = torchs.get_parameter(name)
    if not gradient:
        return weight[row]
    assert weight.grad is not None
    return weight.grad[row]


def scored(outputs: Tensor, *state: Tensor) -> Tensor:
    """A number that every output and state matters to, differently."""
    return sum((one * torch.linspace(-1, 1, one.numel()).view_as(one)).sum() for one in (outputs, *state))  # type: ignore[return-value]


def test_an_lstm_is_torch_s_over_a_sequence_gradients_included() -> None:
    torch.manual_seed(0)
    layer, torchs = GatedLayer(LSTM, INPUTS, HIDDEN), nn.LSTM(INPUTS, HIDDEN, batch_first=True)
    rows = [slice(HIDDEN * gate, HIDDEN * (gate + 1)) for gate in range(4)]
    for gate, row in enumerate(rows, start=1):
        bias = of(torchs, "bias_ih_l0", row) + of(torchs, "bias_hh_l0", row)
        weigh(layer, f"node{gate}", of(torchs, "weight_ih_l0", row), of(torchs, "weight_hh_l0", row), bias=bias)
    inputs, h, c = torch.randn(3, 11, INPUTS), torch.randn(3, HIDDEN), torch.randn(3, HIDDEN)
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    outputs, *state = layer(ours, h, c)
    expected, (last, memory) = torchs(theirs, (h[None], c[None]))
    close(outputs, expected)
    close(state[0], last[0])
    close(state[1], memory[0])
    torch.autograd.backward([scored(outputs, *state), scored(expected, last[0], memory[0])])
    assert ours.grad is not None
    assert theirs.grad is not None
    close(ours.grad, theirs.grad)
    for gate, row in enumerate(rows, start=1):
        inner, recurrent, bias = gradient(layer, f"node{gate}")
        close(inner, of(torchs, "weight_ih_l0", row, gradient=True))
        close(recurrent, of(torchs, "weight_hh_l0", row, gradient=True))
        close(bias, of(torchs, "bias_hh_l0", row, gradient=True))


def test_a_gru_is_torch_s_over_a_sequence_gradients_included() -> None:
    torch.manual_seed(0)
    layer, torchs = GatedLayer(TORCH_GRU, INPUTS, HIDDEN), nn.GRU(INPUTS, HIDDEN, batch_first=True)
    reset, update, new = (slice(HIDDEN * gate, HIDDEN * (gate + 1)) for gate in range(3))
    for node, row in (("node1", reset), ("node2", update)):
        bias = of(torchs, "bias_ih_l0", row) + of(torchs, "bias_hh_l0", row)
        weigh(layer, node, of(torchs, "weight_ih_l0", row), of(torchs, "weight_hh_l0", row), bias=bias)
    weigh(layer, "node3", of(torchs, "weight_ih_l0", new), bias=of(torchs, "bias_ih_l0", new))
    weigh(layer, "node4", of(torchs, "weight_hh_l0", new), bias=of(torchs, "bias_hh_l0", new))
    inputs, h = torch.randn(3, 11, INPUTS), torch.randn(3, HIDDEN)
    ours, theirs = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    outputs, state = layer(ours, h)
    expected, last = torchs(theirs, h[None])
    close(outputs, expected)
    close(state, last[0])
    torch.autograd.backward([scored(outputs, state), scored(expected, last[0])])
    assert ours.grad is not None
    assert theirs.grad is not None
    close(ours.grad, theirs.grad)
    for node, row in (("node1", reset), ("node2", update)):
        inner, recurrent, bias = gradient(layer, node)
        close(inner, of(torchs, "weight_ih_l0", row, gradient=True))
        close(recurrent, of(torchs, "weight_hh_l0", row, gradient=True))
        close(bias, of(torchs, "bias_ih_l0", row, gradient=True))
    close(gradient(layer, "node3")[0], of(torchs, "weight_ih_l0", new, gradient=True))
    close(gradient(layer, "node4")[2], of(torchs, "bias_hh_l0", new, gradient=True))


def affine(layer: GatedLayer, node: str, *sources: Tensor) -> Tensor:
    linear = layer.linears[node]
    assert isinstance(linear, nn.Linear)
    return torch.cat(sources, 1) @ linear.weight.t() + linear.bias


def test_the_first_gru_resets_before_the_matrix() -> None:
    """Cho et al. 2014: the candidate is tanh(W x + U (r * h))."""
    torch.manual_seed(1)
    layer = GatedLayer(GRU, INPUTS, HIDDEN)
    x, h = torch.randn(3, INPUTS), torch.randn(3, HIDDEN)
    r, z = torch.sigmoid(affine(layer, "node1", x, h)), torch.sigmoid(affine(layer, "node2", x, h))
    new = torch.tanh(affine(layer, "node6", x, r * h))
    close(layer(x[:, None], h)[1], z * h + (1 - z) * new)


def test_a_peephole_lstm_sees_its_memory() -> None:
    """Gers & Schmidhuber 2000: the gates see c through a diagonal, the output gate the new one."""
    torch.manual_seed(2)
    layer = GatedLayer(PEEPHOLE_LSTM, INPUTS, HIDDEN)
    x, h, c = torch.randn(3, INPUTS), torch.randn(3, HIDDEN), torch.randn(3, HIDDEN)
    i = torch.sigmoid(affine(layer, "node1", x, h) + layer.scales["node5"] * c)
    f = torch.sigmoid(affine(layer, "node2", x, h) + layer.scales["node8"] * c)
    memory = f * c + i * torch.tanh(affine(layer, "node3", x, h))
    o = torch.sigmoid(affine(layer, "node4", x, h) + layer.scales["node15"] * memory)
    _, last, kept = layer(x[:, None], h, c)
    close(kept, memory)
    close(last, o * torch.tanh(memory))


def test_a_minimal_gated_unit_has_one_gate() -> None:
    """Zhou et al. 2016: h = (1 - f) * h + f * tanh(W x + U (f * h) + b)."""
    torch.manual_seed(3)
    layer = GatedLayer(MINIMAL_GATED_UNIT, INPUTS, HIDDEN)
    x, h = torch.randn(3, INPUTS), torch.randn(3, HIDDEN)
    f = torch.sigmoid(affine(layer, "node1", x, h))
    close(layer(x[:, None], h)[1], (1 - f) * h + f * torch.tanh(affine(layer, "node4", x, f * h)))


def test_what_no_node_reads_is_averaged() -> None:
    torch.manual_seed(4)
    nodes = [["linear", "inputs", "state1"], ["tanh", "node1"], ["relu", "node1"]]
    layer = GatedLayer({"nodes": nodes, "output": ["node2", "node3"], "states": ["output"]}, INPUTS, HIDDEN)
    x, h = torch.randn(3, INPUTS), torch.randn(3, HIDDEN)
    value = affine(layer, "node1", x, h)
    close(layer(x[:, None], h)[1], (torch.tanh(value) + torch.relu(value)) / 2)
