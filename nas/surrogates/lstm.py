"""Lstm: a recurrent surrogate, read token by token (Liu et al., ECCV 2018, section 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from nas.surrogates.network import HIDDEN, Network
from nas.surrogates.threads import on_one_thread, side_by_side
from nas.surrogates.vocabulary import Vocabulary

_ROWS = 4096  # of gates at a time: with 400 numbers each they stay in the cache


@final
class Lstm(Network):
    """One layer, gates in torch's order (input, forget, cell, output); its last state is read out."""

    def __init__(self, vocabulary: Vocabulary, members: int, offset: float, generator: torch.Generator) -> None:
        super().__init__(vocabulary, members, offset, generator)
        self.inward = self.uniform(HIDDEN, 4 * HIDDEN, bound=HIDDEN**-0.5)
        self.recurrent = self.uniform(HIDDEN, 4 * HIDDEN, bound=HIDDEN**-0.5)
        self.gate_bias = self.uniform(1, 4 * HIDDEN, bound=HIDDEN**-0.5)

    def table(self) -> Tensor:
        """What each token adds to the gates: (members, vocabulary, 4 hidden)."""
        return torch.baddbmm(self.gate_bias, self.tokens(), self.inward)

    def forward(self, ids: Tensor) -> Tensor:
        return self.read(self._run(ids)[0])

    def _run(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden and the cell state after the last token: (members, n, hidden) each."""
        table = self.table()
        size = table.shape[1]
        flat = table.reshape(self.members * size, 4 * HIDDEN)
        places = ids + size * torch.arange(self.members).view(-1, 1, 1)
        hidden = cell = torch.zeros(self.members, ids.shape[1], HIDDEN, dtype=table.dtype)
        for step in range(ids.shape[2]):
            gates = torch.baddbmm(functional.embedding(places[:, :, step], flat), hidden, self.recurrent)
            i, f, g, o = gates.chunk(4, -1)
            here = (ids[:, :, step] > 0).unsqueeze(-1)
            cell = (torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)) * here
            hidden = torch.sigmoid(o) * torch.tanh(cell) * here
        return hidden, cell

    @torch.no_grad()
    def expansions(self, parents: Tensor, owners: Tensor, suffixes: Tensor) -> Tensor:
        table = self.table()
        places, tokens = _tree(owners, suffixes, table.shape[1])
        with on_one_thread():
            hidden, cell = self._run(parents.expand(self.members, -1, -1))

        def said(member: int) -> Tensor:
            states = hidden[member], cell[member]
            for before, token in zip(places[:-1], tokens[:-1], strict=True):
                chunks = list(self._further(member, *states, before, token, table))
                states = torch.cat([h for h, _ in chunks]), torch.cat([c for _, c in chunks])
            ends = self._further(member, *states, places[-1], tokens[-1], table)
            return torch.cat([torch.mv(end, self.readout[member, :, 0]) for end, _ in ends])

        return torch.stack(side_by_side(said, range(self.members))) + self.offset[:, :, 0]

    def _further(
        self, member: int, hidden: Tensor, cell: Tensor, before: Tensor, tokens: Tensor, table: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One token further from the states `before`; what a state gives back to the gates is computed once."""
        back = hidden @ self.recurrent[member]
        for start in range(0, len(before), _ROWS):
            states, here = before[start : start + _ROWS], tokens[start : start + _ROWS]
            gates = back.index_select(0, states).add_(table[member].index_select(0, here))
            i, f, g, o = gates.chunk(4, -1)
            new = cell.index_select(0, states).mul_(f.sigmoid_()).addcmul_(i.sigmoid_(), g.tanh_())
            new.mul_((here > 0).unsqueeze(-1))
            yield torch.tanh(new).mul_(o.sigmoid_()), new


def _tree(owners: Tensor, suffixes: Tensor, size: int) -> tuple[list[Tensor], list[Tensor]]:
    """The sequences as a tree: per step, the state of the step before that each node goes on from, and its token.

    Sequences that begin alike share their nodes, except at the last step, where every sequence has its own.
    """
    places, tokens, nodes = [], [], owners
    for step in range(suffixes.shape[1]):
        keys = nodes * size + suffixes[:, step]
        if step + 1 < suffixes.shape[1]:
            keys, nodes = torch.unique(keys, return_inverse=True)
        places.append(keys // size)
        tokens.append(keys % size)
    return places, tokens
