"""PairBatch: pairs of texts as tensors, in batches of alike lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from workers.text.pair_data import BEGUN, ENDED, PairData, PairPart


@final
@dataclass(frozen=True)
class PairBatch:
    """`source` (batch, length), `given` (batch, steps) that begins with the begin, `wanted` that ends with the end.

    `wanted` is `given` a step later; 0 is padding in all of them; `tokens` is how many of `wanted` are none.
    """

    source: Tensor
    given: Tensor
    wanted: Tensor
    tokens: int


@final
class PairTensors:
    """One part of the data, from which batches are taken."""

    def __init__(self, part: PairPart) -> None:
        self.sources = [torch.tensor(one) for one in part.sources]
        self.targets = [torch.tensor((BEGUN, *one, ENDED)) for one in part.targets]
        self.sizes = [(len(a), len(b)) for a, b in zip(self.sources, self.targets, strict=True)]

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, places: Sequence[int], device: torch.device) -> PairBatch:
        """The pairs at `places`, padded to the longest of them."""
        source, target = (padded([side[place] for place in places]) for side in (self.sources, self.targets))
        wanted = target[:, 1:]
        given = torch.where(wanted == 0, 0, target[:, :-1])
        tokens = sum(self.sizes[place][1] - 1 for place in places)
        return PairBatch(source.to(device), given.to(device), wanted.to(device), tokens)

    def drawn(self, size: int, pool: int, generator: torch.Generator) -> list[list[int]]:
        """All pairs once, in batches of at most `size` in an order drawn by `generator`.

        The pairs are shuffled; those of every `pool` batches are then sorted by length, so that a batch holds pairs of
        alike lengths, but not the same ones in each epoch.
        """
        count, order = math.ceil(len(self) / size), torch.randperm(len(self), generator=generator).tolist()
        batches: list[list[int]] = []
        for start in range(0, count, pool):
            alike = sorted(order[start * size : (start + pool) * size], key=self.sizes.__getitem__)
            batches += [alike[place : place + size] for place in range(0, len(alike), size)]
        return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]

    def ordered(self, size: int) -> list[list[int]]:
        """All pairs once, in batches from the shortest to the longest."""
        order = sorted(range(len(self)), key=self.sizes.__getitem__)
        return [order[place : place + size] for place in range(0, len(order), size)]


def padded(rows: Sequence[Tensor], length: int | None = None) -> Tensor:
    """Rows of numbers one below the other, with 0 behind the shorter ones; `length` wide if that is given."""
    made = torch.zeros(len(rows), length or max(map(len, rows)), dtype=torch.int64)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made


def tensors_of(data: PairData, split: str) -> PairTensors:
    """One part of `data`; made once per process, for all children."""
    if split not in data.kept:
        data.kept[split] = PairTensors(data.part(split))
    kept: PairTensors = data.kept[split]
    return kept
