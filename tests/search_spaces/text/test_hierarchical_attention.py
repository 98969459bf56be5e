"""Hierarchical attention: against a loop over sentences without padding, weights, costs."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.space import Signature, UnfitError
from search_spaces.text.hierarchical_attention import PUBLISHED, HierarchicalAttentionSpace
from search_spaces.text.hierarchical_network import AttentiveReader, HierarchicalNetwork

DOCUMENTS = Signature("text_classification", {"tokens": (4, 9)}, {"logits": (5,)}, {"tokens": 60})
DOCUMENT = [[5, 9, 9, 30], [2], [3, 59, 8, 11, 4, 7, 6]]


def both_ways(reader: AttentiveReader, unit: str) -> nn.RNNBase:
    """Torch's own bidirectional layer with the weights of `reader`."""
    kind: Any = {"gru": nn.GRU, "lstm": nn.LSTM}[unit]
    layer = reader.forwards.layer
    made: nn.RNNBase = kind(layer.input_size, layer.hidden_size, batch_first=True, bidirectional=True)
    weights = dict(reader.forwards.layer.state_dict())
    weights |= {f"{name}_reverse": value for name, value in reader.backwards.layer.state_dict().items()}
    made.load_state_dict(weights)
    return made


def attended(reader: AttentiveReader, unit: str, vectors: Tensor) -> tuple[Tensor, Tensor]:
    states = both_ways(reader, unit)(vectors.unsqueeze(0))[0][0]
    keys = torch.tanh(states @ reader.key.weight.T + reader.key.bias)
    weights = torch.exp(keys @ reader.query.weight[0])
    weights = weights / weights.sum()
    return weights @ states, weights


@pytest.mark.parametrize("unit", ["gru", "lstm"])
def test_it_equals_a_loop_over_sentences_without_padding(unit: str) -> None:
    torch.manual_seed(0)
    network = HierarchicalNetwork([60, 6, 3], unit, 4, 5, 7, 0.5).eval()
    tokens = torch.zeros(2, 5, 9, dtype=torch.int64)
    tokens[1, 0, :2] = torch.tensor([8, 3])  # a neighbour that is shorter
    for row, sentence in enumerate(DOCUMENT):
        tokens[0, row, : len(sentence)] = torch.tensor(sentence)
    read = [attended(network.words, unit, network.embedding.weight[sentence]) for sentence in DOCUMENT]
    document, weights = attended(network.sentences, unit, torch.stack([sentence for sentence, _ in read]))
    torch.testing.assert_close(network(tokens)[0], network.classifier(document))
    attention = network.attention(tokens)
    for row, (_, words) in enumerate(read):
        torch.testing.assert_close(attention[0, row, : len(words)], weights[row] * words)
    assert not attention[tokens == 0].any()
    torch.testing.assert_close(attention.sum((1, 2)), torch.ones(2))


def test_the_published_network_has_its_matrices() -> None:
    """Yang et al. (2016): vectors of 200, GRUs of 50 in each direction, queries of 100; torch has two biases."""
    space = HierarchicalAttentionSpace()
    found = space.describe(space.decisions.candidate(dict(PUBLISHED)), DOCUMENTS).parameters
    words, sentences = (2 * 3 * 50 * (inputs + 50 + 2) for inputs in (200, 100))
    assert found == 60 * 200 + words + sentences + 2 * (100 * 101 + 100) + 101 * 5


def test_counts_are_those_of_the_network() -> None:
    space = HierarchicalAttentionSpace(units=("rnn", "gru", "lstm"))
    for seed in range(6):
        candidate = space.decisions.sample(Random(seed))
        network = space.build(candidate, DOCUMENTS).eval()
        added = 0

        def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            nonlocal added
            matrices = sum(weight.numel() for weight in layer.parameters(recurse=False) if weight.dim() == 2)
            added += matrices * inputs[0].shape[:-1].numel()

        for layer in network.modules():
            if isinstance(layer, nn.RNNBase | nn.Linear):
                layer.register_forward_hook(count)
        network(torch.ones(1, 4, 9, dtype=torch.int64))
        sums = 2 * (36 * int(candidate["words"]) + 4 * int(candidate["sentences"]))  # states times their weights
        described = space.describe(candidate, DOCUMENTS)
        assert described.parameters == sum(weight.numel() for weight in network.parameters())
        assert described.multiply_adds == added + sums


def test_single_texts_are_refused() -> None:
    with pytest.raises(UnfitError, match="sentences to true, or choose another"):
        HierarchicalAttentionSpace().check(
            Signature("text_classification", {"tokens": (9,)}, {"logits": (5,)}, {"tokens": 60})
        )
