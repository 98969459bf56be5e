"""Mlp: a surrogate over mean-pooled embeddings, blind to the order of blocks (Liu et al., ECCV 2018, section 4.3)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from nas.surrogates.network import HIDDEN, Network
from nas.surrogates.threads import side_by_side
from nas.surrogates.vocabulary import Vocabulary

_ROWS = 16384  # expansions at a time


@final
class Mlp(Network):
    """Embeddings are averaged slot by slot over the blocks, put side by side, and read by two layers of rectifiers."""

    def __init__(self, vocabulary: Vocabulary, members: int, offset: float, generator: torch.Generator) -> None:
        super().__init__(vocabulary, members, offset, generator)
        self.count = max(vocabulary.slots) + 1
        bound = (HIDDEN * self.count) ** -0.5
        self.first = self.uniform(self.count, HIDDEN, HIDDEN, bound=bound)
        self.first_bias = self.uniform(1, HIDDEN, bound=bound)
        self.second = self.uniform(HIDDEN, HIDDEN, bound=HIDDEN**-0.5)
        self.second_bias = self.uniform(1, HIDDEN, bound=HIDDEN**-0.5)

    def table(self) -> Tensor:
        """What each token adds to the first layer, before averaging: (members, vocabulary, hidden)."""
        by_slot = torch.einsum("mve,mseh->mvsh", self.tokens(), self.first)
        return by_slot[:, torch.arange(len(self.slots)), self.slots]

    def counts(self, ids: Tensor) -> Tensor:
        """How often each token stands in its slot, as shares: (..., length) to (..., vocabulary)."""
        shape = (*ids.shape[:-1], len(self.slots))
        found = torch.zeros(shape, dtype=self.first.dtype).scatter_add_(-1, ids, (ids > 0).to(self.first.dtype))
        slots = torch.nn.functional.one_hot(self.slots, self.count).to(found.dtype)
        return found / ((found @ slots).clamp(min=1.0) @ slots.T)

    def forward(self, ids: Tensor) -> Tensor:
        return self._read_pooled(torch.bmm(self.counts(ids), self.table()))

    def _read_pooled(self, pooled: Tensor) -> Tensor:
        hidden = torch.relu(pooled + self.first_bias)
        return self.read(torch.relu(torch.baddbmm(self.second_bias, hidden, self.second)))

    @torch.no_grad()
    def expansions(self, parents: Tensor, owners: Tensor, suffixes: Tensor) -> Tensor:
        table = self.table()

        def said(start: int) -> Tensor:
            rows = slice(start, start + _ROWS)
            shares = self.counts(torch.cat([parents[owners[rows]], suffixes[rows]], 1))
            return self._read_pooled(torch.matmul(shares, table))

        return torch.cat(side_by_side(said, range(0, len(owners), _ROWS)), 1)
