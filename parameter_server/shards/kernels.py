"""The passes over memory that a push is made of, over stretches that stay in a core's cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from parameter_server.store import Array

    Pass: TypeAlias = Callable[..., Any]

CHUNK: Final = 2**18  # bytes; below it the calls cost more than the passes, far above it the passes leave the cache
ALONE: Final = 8192  # elements; OpenBLAS shares vectors of more than 10,000 out to threads, which waits for busy cores


def finite(values: Array) -> bool:
    """Whether every element is a number.

    The sum of squares is one only then, and comes in 0.4 of the time of a memory copy, `np.isfinite` in 0.9; but
    squares overflow, hence the second look.
    """
    blas = _blas().get(values.dtype.char)
    if blas is not None and values.ndim == 1 and values.size:
        dot, length = blas[1], _length()
        if all(_number(dot(part, part)) for part in _parts(values, length)):
            return True
    return bool(np.isfinite(values).all())


def add_product(out: Array, now: Array, factor: float, values: Array) -> None:
    """Write `now + factor * values` to `out`; contiguous arrays of one type, rounded once where BLAS does so."""
    blas = _blas().get(out.dtype.char)
    if blas is None:
        np.multiply(values, factor, out=out)
        np.add(out, now, out=out)
        return
    np.copyto(out, now)
    axpy, length = blas[0], _length()
    out, values = out.reshape(-1), values.reshape(-1)
    for start in range(0, len(out), length):
        stretch = out[start : start + length]
        summed = axpy(values[start : start + length], stretch, a=factor)
        if summed is not stretch:  # it works on a copy of what is not aligned
            np.copyto(stretch, summed)


def warm() -> None:
    """Load what the passes need, so that the first push does not wait for it."""
    _blas()


def _number(value: float) -> bool:
    return value - value == 0


def _parts(values: Array, length: int) -> list[Array]:
    size = len(values)
    return [values] if size <= length else [values[start : start + length] for start in range(0, size, length)]


@cache
def _length() -> int:
    """Elements that are given to BLAS at once, so that it does not think of threads."""
    return CHUNK if os.environ.get("OPENBLAS_NUM_THREADS") == "1" else ALONE


@cache
def _blas() -> dict[str, tuple[Pass, Pass]]:
    """What BLAS calls axpy and dot, by the letter of a type; nothing without scipy."""
    try:
        from scipy.linalg import blas
    except ImportError:
        return {}
    return {"f": (blas.saxpy, blas.sdot), "d": (blas.daxpy, blas.ddot)}
