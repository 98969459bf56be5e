"""The book: what is counted, what it forgets, and that damage shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parameter_server.shards.book import REMEMBERED, Book
from parameter_server.store import WINDOW, StoreError

NEAR = st.lists(st.integers(0, 3 * WINDOW), max_size=80)


@given(NEAR)
def test_what_was_counted_is_known_and_nothing_else_within_the_window(numbers: list[int]) -> None:
    book = Book.empty(1, 2)
    book.client(0, "me")
    made: dict[int, int] = {}
    for number in numbers:
        if book.counted(0, "me", number) is None:
            assert number not in made
            book.header["version"] += 1
            book.count(0, "me", number)
            made[number] = book.version
        highest = max(made)
        for other in range(3 * WINDOW + 2):
            version = book.counted(0, "me", other)
            if highest - other >= WINDOW:
                assert version == book.version  # too old to tell: as if it had been counted
            elif other not in made:
                assert version is None
            elif highest - other < REMEMBERED:
                assert version == made[other]
            else:
                assert version == book.version
        assert book.next_number("me") == highest + 1


def test_numbers_may_be_far_apart_and_large() -> None:
    book = Book.empty(0, 1)
    book.client(0, "me")
    for number in (0, 2**40, 2**62 - 1):
        assert book.counted(0, "me", number) is None
        book.header["version"] += 1
        book.count(0, "me", number)
    assert [book.counted(0, "me", number) for number in (2**62 - 1, 2**62 - 2, 2**40)] == [3, None, 3]


def filled() -> Book:
    book = Book.empty(3, 4)
    book.pieces["ledger"] = [0, 2, 0]
    book.pieces["changed"] = [5, 6, 7]
    book.header["version"] = 7
    for name in ("me", "ünï", "x" * 96):
        for number in (0, 1, 70, 65):
            book.count(0, name, number)
        book.client(0, name)["attempt"] = 3
    book.seal()
    return book


def copied(book: Book) -> Book:
    return Book(book.buffer.copy(), len(book.pieces), len(book.clients))


def test_a_copy_of_the_bytes_says_the_same() -> None:
    book = filled()
    copy = copied(book)
    assert copy.sound()
    assert copy.ledgers == [0, 2]
    assert copy.version == 7
    for name in ("me", "ünï", "x" * 96):
        assert [copy.counted(0, name, number) for number in (70, 69, 65, 1)] == [7, None, 7, 7]
        assert int(copy.client(0, name)["attempt"]) == 3
    assert not copy.full
    copy.client(2, "me")
    assert copy.full
    with pytest.raises(StoreError, match="there are 4 clients in the book"):
        copy.client(2, "you")


def test_any_flipped_bit_shows() -> None:
    book = filled()
    for bit in range(0, 8 * book.buffer.size, 7):
        copy = copied(book)
        copy.buffer[bit // 8] ^= 1 << bit % 8
        assert not copy.sound()


def test_a_seal_has_a_number_that_grows() -> None:
    book = filled()
    first = int(book.header["sequence"][0])
    book.header["version"] += 1
    assert not book.sound()
    book.seal()
    assert book.sound()
    assert int(book.header["sequence"][0]) == first + 1


def test_a_larger_book_says_the_same() -> None:
    book = filled()
    grown = book.grown(5, 9)
    assert grown.pieces["changed"].tolist() == [5, 6, 7, 7, 7]
    assert grown.pieces["ledger"].tolist() == [0, 2, 0, 0, 0]
    assert [len(grown.pieces), len(grown.clients), grown.version] == [5, 9, 7]
    assert [int(grown.header[name][0]) for name in ("pieces", "capacity", "clients")] == [5, 9, 3]
    assert grown.rows == book.rows
    assert np.array_equal(grown.clients[:3], book.clients[:3])


def test_versions_grow_even_where_updates_were_lost() -> None:
    book = filled()
    book.reincarnate()
    assert book.version == 2**40 + 7
    assert (book.pieces["changed"] == book.version).all()
    book.header["version"] += 1
    book.reincarnate()
    assert book.version == 2 * 2**40 + 8
