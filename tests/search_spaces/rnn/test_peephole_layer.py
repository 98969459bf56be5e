"""The LSTM with peepholes, against numpy, and against torch's LSTM where the peepholes are closed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search_spaces.rnn.fused_layer import FusedLayer
from search_spaces.rnn.peephole_layer import PeepholeLayer


@pytest.fixture
def layer() -> PeepholeLayer:
    torch.manual_seed(0)
    return PeepholeLayer(3, 5)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-values)))


def recomputed(layer: PeepholeLayer, text: np.ndarray) -> np.ndarray:
    """The equations of Gers & Schmidhuber (2000), one gate and one step at a time."""
    own = {name: weight.detach().double().numpy() for name, weight in layer.named_parameters()}
    (wi, wf, wg, wo), (ui, uf, ug, uo) = (np.split(own[f"{part}.weight"], 4) for part in ("inputs", "state"))
    bi, bf, bg, bo = np.split(own["inputs.bias"], 4)
    (pi, pf), po = np.split(own["early"][0], 2), own["late"][0]
    given = memory = np.zeros(5)
    outputs = []
    for x in text:
        into = sigmoid(wi @ x + ui @ given + pi * memory + bi)
        kept = sigmoid(wf @ x + uf @ given + pf * memory + bf)
        memory = kept * memory + into * np.tanh(wg @ x + ug @ given + bg)
        given = sigmoid(wo @ x + uo @ given + po * memory + bo) * np.tanh(memory)
        outputs.append(given)
    return np.stack([*outputs, memory])


def test_is_what_numpy_computes_from_the_published_equations(layer: PeepholeLayer) -> None:
    texts = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))
    outputs, given, memory = layer(texts)
    for place, text in enumerate(texts):
        expected = recomputed(layer, text.double().numpy())
        np.testing.assert_allclose(outputs[place].detach(), expected[:6], atol=1e-6)
        np.testing.assert_allclose(given[place].detach(), expected[5], atol=1e-6)
        np.testing.assert_allclose(memory[place].detach(), expected[6], atol=1e-6)


def gradients(outputs: Tensor, *weights: Tensor) -> list[Tensor]:
    falling = torch.linspace(1.0, -1.0, outputs.numel()).view_as(outputs)
    return list(torch.autograd.grad((outputs * falling).sum(), weights))


def test_without_peepholes_it_is_the_lstm_of_torch_with_its_gradients(layer: PeepholeLayer) -> None:
    lstm = nn.LSTM(3, 5, batch_first=True)
    ours, theirs = dict(layer.named_parameters()), dict(lstm.named_parameters())
    names = {"weight_ih_l0": "inputs.weight", "weight_hh_l0": "state.weight", "bias_ih_l0": "inputs.bias"}
    with torch.no_grad():
        layer.early.zero_()
        layer.late.zero_()
        theirs["bias_hh_l0"].zero_()
        for one, other in names.items():
            theirs[one].copy_(ours[other])
    texts, given, memory = torch.randn(4, 6, 3), torch.randn(4, 5), torch.randn(4, 5)
    outputs, *state = layer(texts, given, memory)
    expected, last = lstm(texts, (given.unsqueeze(0), memory.unsqueeze(0)))
    torch.testing.assert_close(outputs, expected)
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other.squeeze(0))
    found = gradients(outputs, *(ours[name] for name in names.values()))
    torch.testing.assert_close(found, gradients(expected, *(theirs[name] for name in names)))


@pytest.mark.parametrize("unit", ["rnn", "lstm", "gru", "peephole_lstm"])
def test_pieces_of_a_text_give_what_the_whole_gives(unit: str) -> None:
    torch.manual_seed(0)
    layer = PeepholeLayer(3, 5) if unit == "peephole_lstm" else FusedLayer(unit, 3, 5)
    text = torch.randn(2, 7, 3)
    whole, *end = layer(text)
    outputs, state = [], tuple(torch.zeros(2, size) for size in layer.state_sizes)
    for piece in torch.split(text, [3, 1, 3], 1):
        output, *behind = layer(piece, *state)
        outputs.append(output)
        state = tuple(behind)
    torch.testing.assert_close(torch.cat(outputs, 1), whole)
    torch.testing.assert_close(list(state), end)
