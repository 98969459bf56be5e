"""Word vectors: a vector for each word of a vocabulary, zeros for padding."""

from __future__ import annotations

import torch
from torch import nn


def word_vectors(vocabulary: int, size: int) -> nn.Embedding:
    """Tokens -> vectors of `size` numbers, drawn from U(-0.25, 0.25) as Kim's (2014); padding, 0, stays 0."""
    embedding = nn.Embedding(vocabulary, size, padding_idx=0)
    with torch.no_grad():
        embedding.weight[1:].uniform_(-0.25, 0.25)
    return embedding
