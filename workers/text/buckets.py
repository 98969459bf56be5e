"""Buckets: texts as tensors, and batches of alike lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from workers.text.text_data import Numbers, TextPart


@final
class Texts:
    """One part of the data, each text a tensor of its own: (tokens,), or (sentences, tokens) with padding behind."""

    def __init__(self, part: TextPart, documents: bool) -> None:
        self.texts = [_tensor(text, documents) for text in part.texts]
        self.labels = torch.tensor(part.labels)
        self.sizes = [tuple(text.shape) for text in self.texts]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, places: Sequence[int], shape: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Tokens and labels of the texts at `places`, padded to the longest of them, or cut and padded to `shape`."""
        if shape is None:
            shape = [max(1, *(self.sizes[place][axis] for place in places)) for axis in range(len(self.sizes[0]))]
        tokens = torch.zeros(len(places), *shape, dtype=torch.int64)
        for row, place in enumerate(places):
            text = self.texts[place][tuple(slice(most) for most in shape)]
            tokens[row][tuple(slice(size) for size in text.shape)] = text
        return tokens, self.labels[list(places)]

    def sorted(self, places: Sequence[int]) -> list[int]:
        """`places` from the shortest text to the longest; those of equal length stay in their order."""
        return sorted(places, key=lambda place: self.sizes[place])

    def batches(self, size: int, pool: int, generator: torch.Generator) -> list[list[int]]:
        """All texts once, in batches of at most `size` in an order drawn by `generator`.

        The texts are shuffled; those of every `pool` batches are then sorted by length, so that a batch holds texts of
        alike lengths, but not the same ones in each epoch.
        """
        count = math.ceil(len(self) / size)
        drawn = torch.randperm(len(self), generator=generator).tolist()
        batches: list[list[int]] = []
        for number in range(0, count, pool):
            behind = min(number + pool, count)
            alike = self.sorted(drawn[number * len(self) // count : behind * len(self) // count])
            batches += [part.tolist() for part in torch.tensor(alike).tensor_split(behind - number)]
        return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def _tensor(text: Numbers, documents: bool) -> Tensor:
    if not documents:
        return torch.tensor(text[0] if text else (), dtype=torch.int64)
    tensor = torch.zeros(len(text), max(map(len, text), default=0), dtype=torch.int64)
    for row, sentence in enumerate(text):
        tensor[row, : len(sentence)] = torch.tensor(sentence)
    return tensor
