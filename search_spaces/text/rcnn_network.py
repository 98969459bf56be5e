"""RcnnNetwork: each word with its left and right context, a convolution, the maximum over time (Lai et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.activations import ACTIVATIONS
from search_spaces.rnn.fused_layer import FusedLayer
from search_spaces.rnn.sequences import lengths_of, turned, within
from search_spaces.text.pooling import pooled
from search_spaces.text.word_vectors import word_vectors


@final
class Context(nn.Module):
    """Vectors (batch, steps, inputs) -> what the words before each one say: (batch, steps, `size`).

    What stands before the first word is learned, and the same for all texts.
    """

    def __init__(self, unit: str, inputs: int, size: int) -> None:
        super().__init__()
        self.layer = FusedLayer(unit, inputs, size)
        self.start = nn.Parameter(torch.zeros(size))

    def forward(self, vectors: Tensor) -> Tensor:
        start = self.start.repeat(
            vectors.shape[0], 1
        )  # not expanded: torch's loops want states with strides of their own
        others = [torch.zeros_like(start) for _ in self.layer.state_sizes[1:]]
        outputs = self.layer(vectors, start, *others)[0]
        return torch.cat([start.unsqueeze(1), outputs[:, :-1]], 1)


@final
class RcnnNetwork(nn.Module):
    """Tokens (batch, length), 0 behind each text -> logits (batch, classes).

    A word is its left context, its vector and its right context side by side; the contexts leave the word itself out.
    A convolution of `width` words (1, as published: a linear layer on each word) and the maximum over time follow.
    """

    def __init__(
        self, sizes: Sequence[int], unit: str, context: int, features: int, width: int, activation: str, dropout: float
    ) -> None:
        """`sizes` are those of the vocabulary, of a word's vector, and how many classes there are."""
        super().__init__()
        vocabulary, embedding, classes = sizes
        self.embedding = word_vectors(vocabulary, embedding)
        self.left = Context(unit, embedding, context)
        self.right = Context(unit, embedding, context)
        self.convolution = nn.Conv1d(embedding + 2 * context, features, width, padding=width // 2)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        lengths, vectors = lengths_of(tokens), self.embedding(tokens)
        right = turned(self.right(turned(vectors, lengths)), lengths)
        words = torch.cat([self.left(vectors), vectors, right], 2)
        words = words.masked_fill(~within(lengths, tokens.shape[1]).unsqueeze(2), 0.0)
        found = self.activation(self.convolution(words.transpose(1, 2)))
        logits: Tensor = self.classifier(self.dropout(pooled(found, lengths, "max")))
        return logits
