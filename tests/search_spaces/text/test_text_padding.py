"""Padding changes no answer, for any text: how much follows, and who else is in the batch."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.space import Signature, Space
from search_spaces.text.hierarchical_attention import HierarchicalAttentionSpace
from search_spaces.text.rcnn import RcnnSpace
from search_spaces.text.text_cnn import TextCnnSpace

SIZES: Any = {"embeddings": (5,), "dropouts": (0.5,)}
SPACES: dict[str, Space] = {
    "text_cnn": TextCnnSpace(**SIZES, widths=(1, 2, 5), filters=(3,), poolings=("max", "mean", "both")),
    "rcnn": RcnnSpace(**SIZES, contexts=(3,), features=(4,)),
    "hierarchical_attention": HierarchicalAttentionSpace(**SIZES, words=(3,), sentences=(3,), keys=(4,)),
}
NUMBERS = st.lists(st.integers(1, 19), max_size=6)


def network_of(name: str, seed: int) -> nn.Module:
    shape = (4, 6) if name == "hierarchical_attention" else (6,)
    signature = Signature("text_classification", {"tokens": shape}, {"logits": (3,)}, {"tokens": 20})
    torch.manual_seed(seed)
    space = SPACES[name]
    return space.build(space.decisions.sample(Random(seed)), signature).eval()


def padded(texts: list[list[list[int]]], sentences: int, words: int) -> Tensor:
    tokens = torch.zeros(len(texts), sentences, words, dtype=torch.int64)
    for row, text in enumerate(texts):
        for place, sentence in enumerate(text):
            tokens[row, place, : len(sentence)] = torch.tensor(sentence, dtype=torch.int64)
    return tokens


@pytest.mark.parametrize("name", ["text_cnn", "rcnn"])
@settings(max_examples=40)
@given(st.lists(NUMBERS, min_size=1, max_size=4), st.integers(0, 9), st.integers(0, 5))
def test_a_text_is_answered_alike_alone_and_padded(name: str, texts: list[list[int]], more: int, seed: int) -> None:
    network = network_of(name, seed)
    together = network(padded([[text] for text in texts], 1, 6 + more).squeeze(1))
    alone = [network(padded([[text]], 1, max(1, len(text))).squeeze(1))[0] for text in texts]
    torch.testing.assert_close(together, torch.stack(alone))


@settings(max_examples=40)
@given(
    st.lists(st.lists(NUMBERS.filter(bool), max_size=4), min_size=1, max_size=3),
    st.tuples(st.integers(0, 3), st.integers(0, 9)),
    st.integers(0, 5),
)
def test_a_document_is_answered_alike_alone_and_padded(
    texts: list[list[list[int]]], more: tuple[int, int], seed: int
) -> None:
    network = network_of("hierarchical_attention", seed)
    together = network(padded(texts, 4 + more[0], 6 + more[1]))
    alone = [network(padded([text], max(1, len(text)), max(map(len, text), default=1)))[0] for text in texts]
    torch.testing.assert_close(together, torch.stack(alone))
