"""RCNN: against one word after the other, costs, options."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import Tensor, nn

from search_spaces.decision import DecisionError
from search_spaces.measuring import measured
from search_spaces.space import Signature
from search_spaces.text.rcnn import PUBLISHED, RcnnSpace
from search_spaces.text.rcnn_network import Context, RcnnNetwork

TEXTS = Signature("text_classification", {"tokens": (20,)}, {"logits": (5,)}, {"tokens": 60})
CELLS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}


def contexts(side: Context, unit: str, vectors: list[Tensor]) -> list[Tensor]:
    """What stands before each of the words, word by word with torch's cell."""
    sizes = (side.layer.layer.input_size, side.layer.layer.hidden_size)
    cell = CELLS[unit](*sizes)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in side.layer.layer.state_dict().items()})
    states: list[Tensor] = [side.start]
    memory = torch.zeros_like(side.start)
    for vector in vectors[:-1]:
        if unit == "lstm":
            state, memory = cell(vector, (states[-1], memory))
        else:
            state = cell(vector, states[-1])
        states.append(state)
    return states


@pytest.mark.parametrize(("unit", "width"), [("rnn", 1), ("gru", 3), ("lstm", 5)])
def test_it_equals_one_word_after_the_other(unit: str, width: int) -> None:
    torch.manual_seed(1)
    network = RcnnNetwork([60, 6, 3], unit, 4, 5, width, "tanh", 0.5).eval()
    with torch.no_grad():
        network.left.start.uniform_(-1, 1)
        network.right.start.uniform_(-1, 1)
    bias = network.convolution.bias
    assert bias is not None
    texts = [[5, 9, 9, 30], [2], [3, 59, 8, 11, 4, 7, 6]]
    tokens = torch.zeros(3, 9, dtype=torch.int64)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = torch.tensor(text)
    for row, text in enumerate(texts):
        vectors = list(network.embedding.weight[text])
        left = contexts(network.left, unit, vectors)
        right = contexts(network.right, unit, vectors[::-1])[::-1]
        words = [torch.cat(parts) for parts in zip(left, vectors, right, strict=True)]
        blank = [torch.zeros_like(words[0])] * (width // 2)
        around = [*blank, *words, *blank]
        latent = []
        for place in range(len(words)):
            window = torch.stack(around[place : place + width], 1)
            latent.append(torch.tanh((network.convolution.weight * window).sum((1, 2)) + bias))
        logits = network.classifier(torch.stack(latent).max(0).values)
        torch.testing.assert_close(network(tokens)[row], logits)


def test_the_published_network_has_its_matrices() -> None:
    """Lai et al. (2015), |e| = |c| = 50, H = 100: each side a matrix for context and word, W2 of 100 x 150, W4."""
    space = RcnnSpace()
    found = space.describe(space.decisions.candidate(dict(PUBLISHED)), TEXTS).parameters
    sides = 2 * (50 * 50 + 50 * 50 + 2 * 50 + 50)  # torch adds two biases; the last is what stands before a text
    assert found == 60 * 50 + sides + (150 + 1) * 100 + (100 + 1) * 5


def test_counts_are_those_of_the_network() -> None:
    space = RcnnSpace(activations=("tanh", "relu", "elu", "gelu"))
    for seed in range(4):
        candidate = space.decisions.sample(Random(seed))
        with torch.device("meta"):
            found = measured(space.build(candidate, TEXTS), TEXTS)
        described = space.describe(candidate, TEXTS)
        assert (described.parameters, described.multiply_adds) == (found.parameters, found.multiply_adds)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(DecisionError, match="widths has 2"):
        RcnnSpace(widths=(1, 2))
    with pytest.raises(DecisionError, match="units is"):
        RcnnSpace(units=("peephole",))
