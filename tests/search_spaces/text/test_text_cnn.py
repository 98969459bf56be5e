"""Text CNN: against windows and matrix products, published sizes, keys, options."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import Tensor, nn

from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.measuring import measured
from search_spaces.space import Signature, UnfitError
from search_spaces.text.text_cnn import CNN_RAND, TextCnnSpace
from search_spaces.text.text_cnn_network import TextCnnNetwork

TEXTS = Signature("text_classification", {"tokens": (20,)}, {"logits": (5,)}, {"tokens": 60})
ACTIVATED = {"relu": torch.relu, "tanh": torch.tanh}


def by_windows(network: TextCnnNetwork, text: list[int], activation: str, pooling: str) -> Tensor:
    """The logits of one text without any padding: every window a row, every convolution a matrix."""
    vectors = network.embedding.weight[text]
    features = []
    for convolution in network.convolutions:
        assert isinstance(convolution, nn.Conv1d)
        assert convolution.bias is not None
        width = convolution.kernel_size[0]
        around = torch.cat(
            [torch.zeros(width - 1, vectors.shape[1]), vectors, torch.zeros(width - 1, vectors.shape[1])]
        )
        windows = around.unfold(0, width, 1).flatten(1)
        found = ACTIVATED[activation](windows @ convolution.weight.flatten(1).T + convolution.bias)
        features += [found.max(0).values] if pooling == "max" else [found.max(0).values, found.mean(0)]
    pooled = torch.cat(features)
    if network.hidden is not None:
        pooled = ACTIVATED[activation](network.hidden.weight @ pooled + network.hidden.bias)
    return network.classifier.weight @ pooled + network.classifier.bias


@pytest.mark.parametrize(("activation", "pooling", "hidden"), [("relu", "max", 0), ("tanh", "both", 6)])
def test_it_equals_matrix_products_over_windows_gradients_included(activation: str, pooling: str, hidden: int) -> None:
    torch.manual_seed(0)
    network = TextCnnNetwork([60, 7, 3], [[1, 4], [3, 5], [5, 2]], activation, pooling, hidden, 0.5).eval()
    texts = [[5, 9, 9, 30], [2], [3, 59, 8, 11, 4, 7, 6]]
    tokens = torch.zeros(3, 9, dtype=torch.int64)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = torch.tensor(text)
    expected = torch.stack([by_windows(network, text, activation, pooling) for text in texts])
    torch.testing.assert_close(network(tokens), expected)
    loss = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    wanted = torch.autograd.grad((expected * loss).sum(), list(network.parameters()))
    found = torch.autograd.grad((network(tokens) * loss).sum(), list(network.parameters()))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("words", "classes", "parameters"), [(16185, 2, 5216402), (9592, 6, 3239706)])
def test_cnn_rand_has_the_published_size(words: int, classes: int, parameters: int) -> None:
    """Kim (2014), vocabularies of SST-2 and TREC: 300 |V| + 300 (3 + 4 + 5) 100 + 300, and 300 inputs per class."""
    signature = Signature("text_classification", {"tokens": (50,)}, {"logits": (classes,)}, {"tokens": words + 1})
    space = TextCnnSpace()
    candidate = space.decisions.candidate(dict(CNN_RAND))
    assert space.describe(candidate, signature).parameters == parameters + 300  # and a vector of zeros for padding
    assert parameters == 300 * words + 300 * 12 * 100 + 300 + 301 * classes


def test_counts_are_those_of_the_network() -> None:
    space = TextCnnSpace(poolings=("max", "mean", "both"))
    for seed in range(8):
        candidate = space.decisions.sample(Random(seed))
        with torch.device("meta"):
            found = measured(space.build(candidate, TEXTS), TEXTS)
        described = space.describe(candidate, TEXTS)
        assert (described.parameters, described.multiply_adds) == (found.parameters, found.multiply_adds)


def test_convolutions_of_equal_width_are_one_in_any_order() -> None:
    space = TextCnnSpace()
    first = space.decisions.candidate({**CNN_RAND, "width1": 3, "width2": 5, "width3": 3})
    second = space.decisions.candidate({**CNN_RAND, "width1": 5, "width2": 3, "width3": 3})
    assert space.widths_of(first) == [[3, 200], [5, 100]]
    assert space.canonical(first) == space.canonical(second) != space.canonical(Candidate(CNN_RAND))


def test_padding_has_no_vector_and_gets_none() -> None:
    network = TextCnnNetwork([10, 4, 2], [[2, 3]], "relu", "mean", 0, 0.0)
    network(torch.tensor([[1, 2, 0, 0]])).sum().backward()
    assert not network.embedding.weight[0].any()
    assert network.embedding.weight.grad is not None
    assert not network.embedding.weight.grad[0].any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"widths": (3, 2)}, "widths is \\[3, 2\\]"),
        ({"filters": ()}, "filters is \\[\\]"),
        ({"dropouts": (0.5, 1.0)}, "below 1"),
        ({"activations": ("swish",)}, "some of relu"),
        ({"poolings": ("max", "max")}, "each once"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, tuple[float, ...]], said: str) -> None:
    with pytest.raises(DecisionError, match=said):
        TextCnnSpace(**options)  # type: ignore[arg-type]


def test_documents_are_refused() -> None:
    documents = Signature("text_classification", {"tokens": (4, 9)}, {"logits": (5,)}, {"tokens": 60})
    with pytest.raises(UnfitError, match="sentences to false, or choose another"):
        TextCnnSpace().check(documents)
