"""Piece: the part of a tensor that one shard holds; and how tensors are cut, and dealt out to shards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, final

LARGEST: Final = 4 * 2**20  # bytes of a piece
ITEM_SIZES: Final = {"float32": 4, "float64": 8}


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """The elements `start` to `stop` of a tensor laid out in a row (C order), and what the whole tensor is.

    `mark` tells pieces of one place apart: of several attempts to create a tensor, and claims to (`claim.py`).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int
    mark: str = ""

    @property
    def key(self) -> str:
        return f"{self.name}@{self.start}{self.mark}"

    @property
    def size(self) -> int:
        """In elements."""
        return self.stop - self.start

    @property
    def bytes(self) -> int:
        return self.size * ITEM_SIZES[self.dtype]

    @property
    def row(self) -> int:
        """Elements of one row, along the first axis, of the tensor."""
        return math.prod(self.shape[1:])

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "shape": list(self.shape), "dtype": self.dtype,
            "start": self.start, "stop": self.stop, "mark": self.mark,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Piece:
        shape = tuple(data["shape"])
        return cls(data["name"], shape, data["dtype"], data["start"], data["stop"], data["mark"])


@final
@dataclass(frozen=True, slots=True)
class Whole:
    """A tensor that is to be cut."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """In elements."""
        return math.prod(self.shape)


def cut(tensors: Sequence[Whole], shards: int, total: int | None = None) -> list[Piece]:
    """The pieces of tensors: at most 4 MB, and at most a shard's share of them all; each is whole rows, or of one row.

    So the gradient of some rows concerns a piece with all of its elements, or with rows of its own. `total` is the
    bytes of all tensors that are shared out, these by default.
    """
    if total is None:
        total = sum(tensor.size * ITEM_SIZES[tensor.dtype] for tensor in tensors)
    limit = max(min(LARGEST, math.ceil(total / shards)), 1)
    return [piece for tensor in tensors for piece in _pieces(tensor, limit)]


def _pieces(tensor: Whole, limit: int) -> Iterable[Piece]:
    most = max(limit // ITEM_SIZES[tensor.dtype], 1)
    row = max(math.prod(tensor.shape[1:]), 1)
    if row <= most:
        edges = [*range(0, tensor.size, most - most % row), tensor.size]
    else:
        inside = range(0, row, math.ceil(row / math.ceil(row / most)))
        edges = [*(first + one for first in range(0, tensor.size, row) for one in inside), tensor.size]
    for start, stop in pairwise(edges if tensor.size else [0, 0]):
        yield Piece(tensor.name, tensor.shape, tensor.dtype, start, stop)


def dealt(pieces: Sequence[Piece], loads: Sequence[int]) -> list[int]:
    """A shard for each piece: the largest first, each to the shard with the fewest bytes; `loads` is what they have."""
    have, owners = list(loads), [0] * len(pieces)
    for place in sorted(range(len(pieces)), key=lambda place: (-pieces[place].bytes, place)):
        owners[place] = min(range(len(have)), key=lambda shard: (have[shard], shard))
        have[owners[place]] += pieces[place].bytes
    return owners
