"""Buckets: each text once in an epoch, with little padding, drawn by a seed."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.text.buckets import Texts
from workers.text.text_data import TextPart


def texts_of_lengths(lengths: list[int]) -> Texts:
    return Texts(TextPart([((7,) * size,) if size else () for size in lengths], list(range(len(lengths)))), False)


def drawn(texts: Texts, size: int, pool: int, seed: int) -> list[list[int]]:
    return texts.batches(size, pool, torch.Generator().manual_seed(seed))


LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_each_text_is_seen_once_in_batches_of_nearly_equal_size(
    lengths: list[int], size: int, pool: int, seed: int
) -> None:
    texts = texts_of_lengths(lengths)
    batches = drawn(texts, size, pool, seed)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert len(batches) == math.ceil(len(lengths) / size)
    assert max(map(len, batches)) <= size
    assert batches == drawn(texts, size, pool, seed)


@given(LENGTHS, st.integers(1, 9), st.integers(0, 3))
def test_padding_is_at_most_a_batch_of_the_longest_text(lengths: list[int], size: int, seed: int) -> None:
    """Batches of sorted texts: what one lacks to its longest text sums up to a batch times the whole span, at most."""
    texts, padding = texts_of_lengths(lengths), 0
    for batch in drawn(texts, size, len(lengths), seed):
        tokens, _ = texts.take(batch)
        padding += tokens.numel() - sum(max(1, lengths[place]) for place in batch)
    assert padding <= size * (max(lengths) - min(lengths))


def test_batches_differ_between_epochs_and_are_in_no_order_of_length() -> None:
    texts = texts_of_lengths([place % 30 for place in range(300)])
    first, second = (drawn(texts, 10, 16, seed) for seed in (0, 1))
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    longest = [max(place % 30 for place in batch) for batch in first]
    assert longest != sorted(longest)
    spread = [max(place % 30 for place in batch) - min(place % 30 for place in batch) for batch in first]
    assert sum(spread) / len(spread) < 5 < 20 < sum(_spreads(drawn(texts, 10, 1, 0))) / 30


def _spreads(batches: list[list[int]]) -> list[int]:
    return [max(place % 30 for place in batch) - min(place % 30 for place in batch) for batch in batches]


def test_batches_are_padded_behind_to_their_longest_text_or_to_a_shape() -> None:
    texts = Texts(TextPart([((3, 4, 5),), (), ((6,),)], [2, 0, 1]), documents=False)
    tokens, labels = texts.take([2, 0])
    assert (tokens.tolist(), labels.tolist()) == ([[6, 0, 0], [3, 4, 5]], [1, 2])
    assert texts.take([1])[0].tolist() == [[0]]
    assert texts.take([0, 1], (2,))[0].tolist() == [[3, 4], [0, 0]]
    documents = Texts(TextPart([((3, 4), (5,)), ()], [0, 1]), documents=True)
    assert documents.take([0, 1])[0].tolist() == [[[3, 4], [5, 0]], [[0, 0], [0, 0]]]
    assert documents.take([0], (1, 3))[0].tolist() == [[[3, 4, 0]]]
