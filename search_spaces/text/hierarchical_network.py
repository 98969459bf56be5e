"""HierarchicalNetwork: words to sentences, sentences to a document, each by attention (Yang et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.rnn.fused_layer import FusedLayer
from search_spaces.rnn.sequences import lengths_of, turned, within
from search_spaces.text.word_vectors import word_vectors


@final
class AttentiveReader(nn.Module):
    """Vectors (rows, steps, inputs), of which the first `lengths` (rows,) count -> (rows, 2 `hidden`), and the weights.

    A recurrent layer reads in both directions; what it gives, h, is summed up with the weights
    softmax(query . tanh(W h + b)), which are 0 behind `lengths`. W has `size` rows.
    """

    def __init__(self, unit: str, inputs: int, hidden: int, size: int) -> None:
        super().__init__()
        self.forwards = FusedLayer(unit, inputs, hidden)
        self.backwards = FusedLayer(unit, inputs, hidden)
        self.key = nn.Linear(2 * hidden, size)
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        back = turned(self.backwards(turned(vectors, lengths))[0], lengths)
        states = torch.cat([self.forwards(vectors)[0], back], 2)
        scores = self.query(torch.tanh(self.key(states))).squeeze(2)
        weights = scores.masked_fill(~within(lengths, scores.shape[1]), float("-inf")).softmax(1)
        return (weights.unsqueeze(2) * states).sum(1), weights


@final
class HierarchicalNetwork(nn.Module):
    """Tokens (batch, sentences, words), 0 behind each sentence and document -> logits (batch, classes).

    `words` and `sentences` are the units of the two recurrent layers in one direction, `keys` the size of what is
    compared with the queries. `dropout` acts on word vectors, on sentences and on the document.
    """

    def __init__(self, sizes: Sequence[int], unit: str, words: int, sentences: int, keys: int, dropout: float) -> None:
        """`sizes` are those of the vocabulary, of a word's vector, and how many classes there are."""
        super().__init__()
        vocabulary, embedding, classes = sizes
        self.embedding = word_vectors(vocabulary, embedding)
        self.words = AttentiveReader(unit, embedding, words, keys)
        self.sentences = AttentiveReader(unit, 2 * words, sentences, keys)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * sentences, classes)

    def read(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The document (batch, features), and the weights of words and sentences: in each sentence, in the document."""
        rows, count = tokens.flatten(0, 1), tokens.shape[1]
        sentences, words = self.words(self.dropout(self.embedding(rows)), lengths_of(rows))
        held = (tokens != 0).any(2).long()
        document, weights = self.sentences(self.dropout(sentences.unflatten(0, (-1, count))), lengths_of(held))
        return document, words.unflatten(0, (-1, count)), weights

    def attention(self, tokens: Tensor) -> Tensor:
        """What each word counts, in its sentence and with that: (batch, sentences, words), in sum 1."""
        _, words, sentences = self.read(tokens)
        return words * sentences.unsqueeze(2)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.read(tokens)[0]))
        return logits
