"""Frames: what goes in comes out, and whatever else comes is refused with its own outcome, whatever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parameter_server.messages import codec
from parameter_server.messages.codec import HEADER, MESSAGE, PAYLOAD, Frame, Kind, Receiver, Run, cut, frames, messages
from parameter_server.outcome import Outcome
from parameter_server.store import StoreError

WIRE = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "bfloat16": "<u2", "int64": "<i8", "uint32": "<u4"}


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Run], list[Any]]:
    """Runs as a heading announces them, and their numbers: any bits, so NaNs too."""
    announced, numbers = [], []
    for part in range(draw(st.integers(0, 5))):
        dtype = draw(st.sampled_from(sorted(WIRE)))
        count = draw(st.sampled_from([0, 1, 2, 3, 17, PAYLOAD // 8 + 1]))
        generator = np.random.default_rng(draw(st.integers(0, 9)))
        numbers.append(np.frombuffer(generator.bytes(count * codec.itemsize(dtype)), WIRE[dtype]))
        announced.append(Run(Kind.VALUES, part, dtype, count))
    return announced, numbers


def sent(announced: list[Run], numbers: list[Any]) -> list[bytes]:
    return list(messages(frame for run, array in zip(announced, numbers, strict=True) for frame in cut(run, array)))


def received(stream: list[bytes], announced: list[Run]) -> list[Any]:
    receiver = Receiver(announced, 2**30)
    for message in stream:
        for frame in frames(message):
            receiver.take(frame)
    return receiver.finish()


def outcome(stream: list[bytes], announced: list[Run]) -> Outcome | None:
    with pytest.raises(StoreError) as caught:
        received(stream, announced)
    return caught.value.outcome


@given(runs())
def test_numbers_come_out_as_they_went_in(case: tuple[list[Run], list[Any]]) -> None:
    announced, numbers = case
    stream = sent(announced, numbers)
    assert all(len(message) <= MESSAGE for message in stream)
    for run, array, chunks in zip(announced, numbers, received(stream, announced), strict=True):
        assert b"".join(chunk.tobytes() for chunk in chunks) == array.tobytes()
        assert all(chunk.dtype == WIRE[run.dtype] and chunk.flags.aligned for chunk in chunks)


def test_two_large_frames_and_many_small_ones_fill_messages() -> None:
    numbers = [np.zeros(PAYLOAD // 4, np.float32), *[np.zeros(100, np.float32)] * 50]
    announced = [Run(Kind.VALUES, part, "float32", len(array)) for part, array in enumerate(numbers)]
    assert [len(message) for message in sent(announced, numbers)] == [MESSAGE, 50 * (400 + HEADER.size)]


SMALL = [Run(Kind.PLACES, 0, "int64", 2), Run(Kind.VALUES, 0, "float32", 5), Run(Kind.VALUES, 1, "float64", 3)]
NUMBERS = [np.arange(2), np.arange(5, dtype=np.float32), np.arange(3, dtype=np.float64)]


@given(st.data())
def test_a_flipped_bit_is_always_noticed(data: st.DataObject) -> None:
    """Whether in numbers, in a header, or in padding: it is refused, and never taken for other numbers."""
    (message,) = sent(SMALL, NUMBERS)
    bit = data.draw(st.integers(0, len(message) * 8 - 1))
    flipped = bytearray(message)
    flipped[bit // 8] ^= 1 << bit % 8
    assert outcome([bytes(flipped)], SMALL) in (Outcome.CORRUPTED, Outcome.TRUNCATED, Outcome.FROM_THE_FUTURE)


@pytest.mark.parametrize("at", [HEADER.size + 3, HEADER.size + 16 + 17, 40, 24])
def test_a_flipped_bit_in_numbers_or_in_their_header_does_not_fit_the_checksum(at: int) -> None:
    (message,) = sent(SMALL, NUMBERS)
    flipped = bytearray(message)
    flipped[at] ^= 1
    assert outcome([bytes(flipped)], SMALL) is Outcome.CORRUPTED


@given(st.data())
def test_a_message_that_ends_early_is_truncated(data: st.DataObject) -> None:
    (message,) = sent(SMALL, NUMBERS)
    assert outcome([message[: data.draw(st.integers(0, len(message) - 1))]], SMALL) is Outcome.TRUNCATED


@given(st.binary(max_size=4 * HEADER.size))
def test_no_bytes_do_more_than_be_refused(junk: bytes) -> None:
    """With the right beginning too, so that the rest of the header is read."""
    for message in (junk, codec.MAGIC + b"\1\0" + junk):
        if message:
            with pytest.raises(StoreError) as caught:
                list(frames(message))
            assert caught.value.outcome is not None


def sealed(**changes: Any) -> bytes:
    """A frame whose header says what it should not, under a checksum that fits."""
    fields = {"version": 1, "kind": 2, "dtype": 1, "part": 0, "unused": 0, "offset": 0, "count": 2, "length": 8}
    payload = memoryview(bytes(8))
    header = HEADER.pack(codec.MAGIC, *(fields | changes).values(), 0)[:-8]
    return header + codec._checksum(header, payload).to_bytes(8, "little") + payload


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": 2}, Outcome.FROM_THE_FUTURE),
        ({"version": 0}, Outcome.CORRUPTED),
        ({"kind": 7}, Outcome.CORRUPTED),
        ({"dtype": 99}, Outcome.WRONG_DTYPE),
        ({"dtype": 0}, Outcome.CORRUPTED),
        ({"count": 3}, Outcome.CORRUPTED),
        ({"count": 2**62}, Outcome.CORRUPTED),
        ({"length": 2**63}, Outcome.TRUNCATED),
        ({"unused": 1}, Outcome.CORRUPTED),
    ],
)
def test_a_header_that_cannot_be_is_refused(changes: dict[str, int], expected: Outcome) -> None:
    assert len(list(frames(sealed()))) == 1
    with pytest.raises(StoreError) as caught:
        list(frames(sealed(**changes)))
    assert caught.value.outcome is expected


def frame(offset: int, count: int, part: int = 0, dtype: str = "float32") -> Frame:
    return Frame(Kind.VALUES, part, dtype, offset, np.zeros(count, dtype))


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ([frame(0, 2), frame(1, 2)], Outcome.CORRUPTED),  # they overlap
        ([frame(0, 2), frame(3, 1)], Outcome.CORRUPTED),  # one is missing between them
        ([frame(0, 4), frame(0, 4)], Outcome.CORRUPTED),  # twice
        ([frame(0, 4), frame(0, 4, part=1), frame(0, 1, part=2)], Outcome.TOO_LARGE),
        ([frame(0, 5)], Outcome.TOO_LARGE),
        ([frame(0, 0)], Outcome.TOO_LARGE),  # for as many of them as one likes would be taken
        ([frame(0, 4, dtype="float64")], Outcome.WRONG_DTYPE),
        ([frame(0, 4)], Outcome.TRUNCATED),
        ([], Outcome.TRUNCATED),
    ],
)
def test_numbers_other_than_those_announced_are_refused(sequence: list[Frame], expected: Outcome) -> None:
    receiver = Receiver([Run(Kind.VALUES, part, "float32", 4) for part in range(2)], 32)

    def receive() -> None:
        for each in sequence:
            receiver.take(each)
        receiver.finish()

    with pytest.raises(StoreError) as caught:
        receive()
    assert caught.value.outcome is expected


def test_what_is_announced_is_bounded_before_anything_is_received() -> None:
    with pytest.raises(StoreError, match="33 bytes") as caught:
        Receiver([Run(Kind.HEADING, 0, "bytes", 33)], 32)
    assert caught.value.outcome is Outcome.TOO_LARGE


def test_a_message_that_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(StoreError) as caught:
        next(frames(bytes(MESSAGE + 1)))
    assert caught.value.outcome is Outcome.TOO_LARGE
    with pytest.raises(StoreError, match="fewer tensors"):
        codec.heading(bytes(PAYLOAD + 1))
