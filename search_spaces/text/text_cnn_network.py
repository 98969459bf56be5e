"""TextCnnNetwork: convolutions of several widths side by side over word vectors, pooled over time (Kim 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.activations import ACTIVATIONS
from search_spaces.rnn.sequences import lengths_of
from search_spaces.text.pooling import pooled
from search_spaces.text.word_vectors import word_vectors


@final
class TextCnnNetwork(nn.Module):
    """Tokens (batch, length), 0 behind each text -> logits (batch, classes).

    `widths` has a (width, filters) for each convolution. A convolution reads every window that holds a word of the
    text, with zeros in front of it and behind; how much padding follows changes nothing. With `hidden` units there
    is a linear layer more before the classifier. `dropout` acts on what was pooled.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        widths: Sequence[Sequence[int]],
        activation: str,
        pooling: str,
        hidden: int,
        dropout: float,
    ) -> None:
        """`sizes` are those of the vocabulary, of a word's vector, and how many classes there are."""
        super().__init__()
        vocabulary, embedding, classes = sizes
        self.pooling = pooling
        self.widths = [width for width, _ in widths]
        self.embedding = word_vectors(vocabulary, embedding)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, filters, width, padding=width - 1) for width, filters in widths
        )
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)
        features = sum(filters for _, filters in widths) * (2 if pooling == "both" else 1)
        self.hidden = nn.Linear(features, hidden) if hidden else None
        self.classifier = nn.Linear(hidden or features, classes)

    def features(self, tokens: Tensor) -> Tensor:
        """What is pooled of all convolutions: (batch, features)."""
        lengths, vectors = lengths_of(tokens), self.embedding(tokens).transpose(1, 2)
        return torch.cat(
            [
                pooled(self.activation(convolution(vectors)), lengths + width - 1, self.pooling)
                for width, convolution in zip(self.widths, self.convolutions, strict=True)
            ],
            1,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.dropout(self.features(tokens))
        if self.hidden is not None:
            features = self.dropout(self.activation(self.hidden(features)))
        logits: Tensor = self.classifier(features)
        return logits
