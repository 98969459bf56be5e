"""Parts: gradients, checked against the table, cut into what each shard is sent; dense ones without a copy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from parameter_server.link import Part
from parameter_server.outcome import Outcome
from parameter_server.store import Rows, StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.clients.table import Entry, Table
    from parameter_server.store import Array, Gradients

BLOCK: Final = 1 << 16  # elements whose squares are added in their own precision, before they are added in double


@final
@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What each shard is sent of a push; `scale` is what clipping its norm leaves of it."""

    parts: dict[int, list[Part]]
    scale: float


def cut_push(table: Table, gradients: Gradients) -> Cut:
    """The parts of a push; raises `StoreError` for what a shard would refuse, before any shard has taken any of it.

    Whether numbers are finite is asked here only of a push that goes to several shards, or is clipped; else the one
    shard asks.
    """
    flat = {name: _flat(table, name, gradient) for name, gradient in gradients.items()}
    parts: dict[int, list[Part]] = {}
    for name, (values, rows) in flat.items():
        entry = table.entries[name]
        if rows is None:
            for shard, piece in entry.places:
                parts.setdefault(shard, []).append(Part(piece.key, values[piece.start : piece.stop]))
        else:
            _cut_rows(entry, values, rows, parts)
    norm = table.policy.norm
    if norm is None and len(parts) < 2:
        return Cut(parts, 1.0)
    with np.errstate(all="ignore"):
        length = math.hypot(*(_length(name, values) for name, (values, _) in flat.items()))
    return Cut(parts, 1.0 if norm is None or length <= norm else norm / length)


def _flat(table: Table, name: str, gradient: Array | Rows) -> tuple[Array, NDArray[np.int64] | None]:
    """A gradient as one row of numbers, of a type and shape that fit; with numbers of rows, ascending, none twice."""
    entry = table.entries[name]
    rows = gradient.indices if isinstance(gradient, Rows) else None
    values = np.asarray(gradient.values if isinstance(gradient, Rows) else gradient)
    if values.dtype != entry.dtype:
        raise StoreError(
            f"the gradient of {name} is {values.dtype}, but the tensor is {entry.dtype}: convert it",
            Outcome.WRONG_DTYPE,
        )
    if rows is None:
        if values.shape != entry.shape:
            raise StoreError(
                f"the gradient of {name} has the shape {values.shape}, but the tensor has {entry.shape}",
                Outcome.WRONG_SHAPE,
            )
        return values.reshape(-1), None
    rows = np.asarray(rows)
    _check_rows(entry, rows, values)
    rows, values = _summed(rows.astype(np.int64, copy=False), values)
    return values.reshape(-1), rows


def _check_rows(entry: Entry, rows: NDArray[Any], values: Array) -> None:
    """Raise `StoreError` where rows are not rows of the tensor."""
    name, shape = entry.name, entry.shape
    if not shape:
        raise StoreError(f"the tensor {name} is one number and has no rows: push it whole", Outcome.WRONG_SHAPE)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise StoreError(f"rows of {name} are numbered by {rows.dtype} of the shape {rows.shape}, "
                         "but must be by integers in a row", Outcome.WRONG_SHAPE)  # fmt: skip
    if values.shape != (len(rows), *shape[1:]):
        raise StoreError(
            f"the gradient of {len(rows)} rows of {name} has the shape {values.shape}, "
            f"but must have {(len(rows), *shape[1:])}",
            Outcome.WRONG_SHAPE,
        )
    if len(rows) and (rows.min() < 0 or rows.max() >= shape[0]):
        wrong = rows.min() if rows.min() < 0 else rows.max()
        raise StoreError(f"there is no row {wrong} in {name}, which has {shape[0]} rows", Outcome.WRONG_SHAPE)


def _summed(rows: NDArray[np.int64], values: Array) -> tuple[NDArray[np.int64], Array]:
    """Rows in ascending order, those that come twice added up in the order in which they came."""
    if (np.diff(rows) > 0).all():
        return rows, values
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    firsts = np.flatnonzero(np.concatenate(([True], np.diff(ordered) > 0)))
    return ordered[firsts], np.add.reduceat(values[order], firsts, axis=0)


def _cut_rows(entry: Entry, values: Array, rows: NDArray[np.int64], parts: dict[int, list[Part]]) -> None:
    """Parts for the pieces that have some of the rows: a piece has whole rows, or some elements of one row."""
    row = entry.places[0][1].row
    if not row or not len(rows):
        return
    for shard, piece in entry.places:
        first, offset = divmod(piece.start, row)
        if not offset and not piece.stop % row:
            low, high = np.searchsorted(rows, (first, piece.stop // row))
            if low < high:
                part = Part(piece.key, values[low * row : high * row], rows[low:high])
                parts.setdefault(shard, []).append(part)
        else:
            place = int(np.searchsorted(rows, first))
            if place < len(rows) and rows[place] == first:
                start = place * row + offset
                parts.setdefault(shard, []).append(Part(piece.key, values[start : start + piece.size]))


def _length(name: str, values: Array) -> float:
    """The Euclidean norm of a gradient; raises `StoreError` where it is not finite."""
    total: float = 0.0
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        squares = float(np.dot(block, block))
        if not squares < np.inf and not np.isfinite(block).all():
            raise StoreError(
                f"the gradient of {name} is not finite: leave out the batch that made it so", Outcome.NOT_FINITE
            )
        total += squares
    return math.sqrt(total) if total < np.inf else _large_length(values)


def _large_length(values: Array) -> float:
    """The norm of numbers whose squares are too large."""
    largest = float(np.abs(values).max())
    scaled = values.astype(np.float64) / largest
    return largest * math.sqrt(np.dot(scaled, scaled))
