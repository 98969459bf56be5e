"""Network: several surrogate networks of one kind, side by side in stacked tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from nas.surrogates.vocabulary import Vocabulary

HIDDEN = 100  # hidden and embedding size, as published


class Network(ABC):
    """`members` networks with their own weights; every tensor has the members as its first dimension.

    Token ids are (..., length) integers, padded with 0 on the left.
    """

    def __init__(self, vocabulary: Vocabulary, members: int, offset: float, generator: torch.Generator) -> None:
        self.members = members
        self.slots = torch.tensor(vocabulary.slots)
        self.rows = torch.tensor(vocabulary.embeddings)
        self._generator = generator
        self.embedding = self.uniform(max(vocabulary.embeddings) + 1, HIDDEN, bound=0.1)
        self.readout = self.uniform(HIDDEN, 1, bound=HIDDEN**-0.5)
        self.offset = torch.full((members, 1, 1), offset, requires_grad=True)

    def uniform(self, *shape: int, bound: float) -> Tensor:
        """A leaf of (members, *shape), drawn between -bound and bound from the network's own generator."""
        drawn = torch.rand((self.members, *shape), generator=self._generator)
        return drawn.mul_(2 * bound).sub_(bound).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """The leaves that are trained."""
        return [one for one in vars(self).values() if isinstance(one, Tensor) and one.requires_grad]

    def tokens(self) -> Tensor:
        """The embedding of every token id, zeros for padding: (members, vocabulary, embedding)."""
        return self.embedding[:, self.rows] * (self.rows > 0).unsqueeze(-1)

    def read(self, hidden: Tensor) -> Tensor:
        """(members, n, hidden) to one number each: (members, n)."""
        return torch.baddbmm(self.offset, hidden, self.readout).squeeze(-1)

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """What each member says of its own sequences: (members, n, length) to (members, n)."""

    @abstractmethod
    def expansions(self, parents: Tensor, owners: Tensor, suffixes: Tensor) -> Tensor:
        """What each member says of sequences that are a parent's with a suffix: (members, n), without gradients.

        `parents` is (parents, length), `owners` (n,) says which of them, `suffixes` (n, width) what follows. Equal to
        `forward` on the whole sequences, but what they share is computed once.
        """
