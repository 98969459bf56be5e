"""Gradients in fewer bytes on the wire: half as many bits, or only the largest elements; parameters travel whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final

import numpy as np

from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.store import Array

Compression: TypeAlias = "Literal['bfloat16', 'float16'] | TopK | None"
_HALF: Final = np.uint32(0x7FFF)  # with the lowest bit that stays: rounds to the nearest, ties to even
_MAGNITUDE: Final = np.uint32(0x7FFFFFFF)  # all bits but the sign
_LARGEST: Final = np.uint32(0x7F7F8000)  # from here on bfloat16 is infinite
_INFINITE: Final = np.uint32(0x7F800000)
_QUIET: Final = np.uint32(0x40)  # of a NaN in bfloat16


def narrowed(values: NDArray[np.float32], encoding: str) -> NDArray[Any] | None:
    """float32 as "bfloat16" (its bits, as uint16) or "float16", rounded to the nearest, ties to even.

    None where a finite number would become infinite: such a gradient travels as it is. What is not finite stays so.
    """
    if encoding == "float16":
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        return half if np.isinf(half).sum() == np.isinf(values).sum() else None
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += _HALF
    rounded += bits
    rounded >>= 16
    short = rounded.astype(np.uint16)
    np.bitwise_and(bits, _MAGNITUDE, out=rounded)
    if rounded.max(initial=0) >= _LARGEST:
        unusual = rounded >= _LARGEST
        if (rounded[unusual] < _INFINITE).any():
            return None
        nans = rounded > _INFINITE  # whose carry may have turned them into infinities, or into zeros
        short[nans] = bits[nans] >> 16 | _QUIET
    return short


def widened(numbers: NDArray[Any], encoding: str) -> Array:
    """What was narrowed, as float32 again, exactly; other encodings as they are."""
    if encoding == "float16":
        return numbers.astype(np.float32)
    if encoding == "bfloat16":
        bits = numbers.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return numbers


@final
@dataclass(frozen=True, slots=True)
class TopK:
    """Of every dense gradient only the largest elements travel, `fraction` of them, at least one; with error feedback.

    What did not travel is kept by the client, and added to its next gradient of that piece (Stich et al., NeurIPS
    2018: https://arxiv.org/abs/1809.07599). The shard sees zeros in the other places.
    """

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise StoreError(f"top-k sends the fraction {self.fraction!r} of a gradient: it must be above 0, at most 1")

    def largest(self, gradient: Array) -> NDArray[np.uint32]:
        """Places of the elements with the largest magnitudes, ascending."""
        count = max(1, math.ceil(self.fraction * gradient.size))
        if count >= gradient.size:
            return np.arange(gradient.size, dtype=np.uint32)
        return np.sort(np.argpartition(np.abs(gradient), -count)[-count:].astype(np.uint32))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """The elements of a flat gradient that travel."""

    places: NDArray[np.uint32]
    values: Array
    size: int


@final
class Feedback:
    """What one client owes: the rest of its gradients, by key of the piece. One push at a time.

    The rest changes when a push was counted: one that is sent again sends the same, one that was refused leaves the
    rest as it was.
    """

    def __init__(self, top: TopK) -> None:
        self.top = top
        self.lock = Lock()  # held from `sparse` to `settle`
        self._rest: dict[str, Array] = {}
        self._number: int | None = None
        self._sent: dict[str, Sparse] = {}
        self._left: dict[str, Array] = {}

    def sparse(self, number: int, gradients: dict[str, Array]) -> dict[str, Sparse]:
        """What travels of the push with this number; gradients that are not finite are left out."""
        if number != self._number:
            self.settle(counted=True)  # what became of the push before was never heard: a counted one is most likely
            self._number = number
            for key, gradient in gradients.items():
                owed = gradient + self._rest[key] if key in self._rest else gradient.copy()
                if owed.size and np.isfinite(owed).all():
                    places = self.top.largest(owed)
                    self._sent[key] = Sparse(places, owed[places], owed.size)
                    owed[places] = 0
                    self._left[key] = owed
        return self._sent

    def settle(self, counted: bool) -> None:
        """Say what became of the push."""
        if counted:
            self._rest |= self._left
        self._number, self._sent, self._left = None, {}, {}

    def rest(self, key: str) -> Array | None:
        """What the client owes for a piece."""
        return self._rest.get(key)
