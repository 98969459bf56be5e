"""WordEmbedding: a vector for each word of a vocabulary, whole words being dropped while training."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional


@final
class WordEmbedding(nn.Module):
    """Tokens (batch, steps) -> vectors (batch, steps, size).

    While training, each word of the vocabulary is dropped with probability `dropout`, wherever in the batch it stands,
    and the others are scaled up (Gal & Ghahramani 2016; Merity et al. 2018).
    """

    def __init__(self, vocabulary: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, size)
        self.dropout = dropout

    def forward(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.table(tokens)
        if not self.training or not self.dropout:
            return vectors
        kept = functional.dropout(vectors.new_ones(self.table.num_embeddings, 1), self.dropout)
        return vectors * functional.embedding(tokens, kept)


def locked_dropout(sequences: Tensor, rate: float, training: bool) -> Tensor:
    """Drop the same features in all steps of a sequence (batch, steps, features): Gal & Ghahramani 2016."""
    if not training or not rate:
        return sequences
    return sequences * functional.dropout(sequences.new_ones(sequences.shape[0], 1, sequences.shape[2]), rate)
