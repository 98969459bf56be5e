"""Packing: how arrays lie one after the other in a message or a slot, and the chunks whose checksums vouch for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

import numpy as np
import xxhash

if TYPE_CHECKING:
    from mmap import mmap

    from numpy.typing import NDArray

    Arrays: TypeAlias = list[NDArray[Any]]

LINE: Final = 64  # bytes; every array begins at a multiple
CHUNK: Final = 2**18  # bytes of one checksum: they stay in a core's cache between two passes over them
SMALL: Final = 2**16  # bytes that are copied in less time than it takes to get Python's lock again

checksum = xxhash.xxh3_64_intdigest


@lru_cache(64)
def type_name(dtype: np.dtype[Any]) -> str:
    """The name of a type, which numpy takes 8 microseconds to put together."""
    return dtype.name


@final
@dataclass(frozen=True, slots=True)
class Packing:
    """`kinds` are a type and a number of elements for each array, `offsets` where it begins; all sizes in bytes."""

    kinds: tuple[tuple[str, int], ...]
    offsets: tuple[int, ...]
    size: int
    chunks: int

    @classmethod
    def of(cls, kinds: Iterable[tuple[str, int]]) -> Packing:
        kinds = tuple(kinds)
        offsets, end, chunks = [], 0, 0
        for dtype, count in kinds:
            offsets.append(end)
            length = count * np.dtype(dtype).itemsize
            end += -(-length // LINE) * LINE
            chunks += -(-length // CHUNK)
        return cls(kinds, tuple(offsets), end, chunks)

    def arrays(self, buffer: bytes | bytearray | mmap, start: int = 0) -> Arrays:
        """The arrays in a buffer, of which the first begins at `start`."""
        return [
            np.ndarray(count, dtype, buffer, start + offset)
            for (dtype, count), offset in zip(self.kinds, self.offsets, strict=True)
        ]


def copy(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy an array to one like it, both in a row; a small one without letting go of Python's lock.

    numpy lets go of it for more than 500 elements, and a thread of many then stands in line again for every piece.
    """
    if source.nbytes <= SMALL and source.dtype.char in "fd":
        target.data[:] = source.data
    else:
        np.copyto(target, source)


def fill(targets: Sequence[NDArray[Any]], sources: Sequence[NDArray[Any]]) -> list[int]:
    """Copy arrays, and give the checksums of their chunks, as they were before they were copied."""
    sums = []
    for target, source in zip(targets, sources, strict=True):
        step = CHUNK // source.itemsize
        for start in range(0, len(source), step):
            part = source[start : start + step]
            sums.append(checksum(part.data))
            copy(target[start : start + step], part)
    return sums


def sound(arrays: Sequence[NDArray[Any]], sums: Iterator[int]) -> bool:
    """Whether the checksums of all chunks fit; takes as many as there are chunks."""
    fits = True
    for array in arrays:
        step = CHUNK // array.itemsize
        for start in range(0, len(array), step):
            fits = checksum(array[start : start + step].data) == next(sums) and fits
    return fits
