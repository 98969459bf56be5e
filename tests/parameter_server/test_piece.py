"""Cutting tensors into pieces, and dealing them out to shards."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from parameter_server.piece import ITEM_SIZES, LARGEST, Piece, Whole, cut, dealt

SHAPES = st.lists(st.integers(0, 40), max_size=3).map(tuple)
WHOLES = st.lists(st.builds(Whole, st.uuids().map(str), SHAPES, st.sampled_from(sorted(ITEM_SIZES))), max_size=6)


@given(WHOLES, st.integers(1, 9))
def test_pieces_are_the_tensor_each_element_once(tensors: list[Whole], shards: int) -> None:
    pieces = cut(tensors, shards)
    for tensor in tensors:
        own = [piece for piece in pieces if piece.name == tensor.name]
        assert own[0].start == 0
        assert own[-1].stop == tensor.size
        assert all(one.stop == other.start for one, other in pairwise(own))
        assert {(piece.shape, piece.dtype) for piece in own} == {(tensor.shape, tensor.dtype)}
    assert len({piece.key for piece in pieces}) == len(pieces)


@given(WHOLES, st.integers(1, 9))
def test_a_piece_is_whole_rows_or_of_one_row_and_no_larger_than_a_share(tensors: list[Whole], shards: int) -> None:
    total = sum(tensor.size * ITEM_SIZES[tensor.dtype] for tensor in tensors)
    for piece in cut(tensors, shards):
        assert piece.bytes <= max(min(LARGEST, math.ceil(total / shards)), ITEM_SIZES[piece.dtype])
        row = max(piece.row, 1)
        assert (piece.start % row == 0 and piece.stop % row == 0) or piece.start // row == (piece.stop - 1) // row


@given(WHOLES, st.integers(1, 9), st.data())
def test_no_shard_has_more_than_one_piece_too_many(tensors: list[Whole], shards: int, data: st.DataObject) -> None:
    pieces = cut(tensors, shards)
    before = data.draw(st.lists(st.integers(0, 10_000), min_size=shards, max_size=shards))
    loads = list(before)
    for piece, shard in zip(pieces, dealt(pieces, before), strict=True):
        loads[shard] += piece.bytes
    largest = max((piece.bytes for piece in pieces), default=0)
    assert max(loads) <= max(*before, min(loads) + largest) if shards > 1 else True


def test_a_large_tensor_is_cut_into_4_megabytes() -> None:
    pieces = cut([Whole("w", (4096, 1024), "float32")], 1)
    assert [piece.bytes for piece in pieces] == [LARGEST] * 4
    assert cut([Whole("w", (2, 3), "float64")], 1) == [Piece("w", (2, 3), "float64", 0, 6)]


@given(WHOLES)
def test_a_piece_survives_json(tensors: list[Whole]) -> None:
    for piece in cut(tensors, 2):
        assert Piece.from_json(piece.to_json()) == piece
