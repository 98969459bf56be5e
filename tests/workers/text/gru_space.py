"""A space with one small recurrent network: what a language model is, with a state that is carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Signature, Space, require


@final
class GruNet(nn.Module):
    """An embedding, a GRU and a linear layer; dropout in between. The state is (batch, 1, hidden)."""

    state_count = 1

    def __init__(self, vocabulary: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if state is None:
            state = torch.zeros(tokens.shape[0], 1, self.gru.hidden_size, device=tokens.device)
        hidden, last = self.gru(self.embedding(tokens), state.transpose(0, 1).contiguous())
        return self.output(self.dropout(hidden)), last.transpose(0, 1)


@final
@dataclass(frozen=True)
class GruSpace(Space):
    """One decision: how many hidden units."""

    dropout: float = 0.2

    @property
    def decisions(self) -> Decisions:
        return Decisions({"hidden": Choice((8, 16))})

    def check(self, signature: Signature) -> None:
        require(self, signature, "language_model", {"tokens": 1}, {"logits": 2})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        known = signature.vocabularies["tokens"]
        arguments = {"vocabulary": known, "hidden": candidate["hidden"], "dropout": self.dropout}
        return Blueprint("gru_space:GruNet", arguments)
