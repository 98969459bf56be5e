"""Messages and back: a push arrives as it was sent, and a stream that was tampered with does not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parameter_server import parameter_server_pb2 as pb
from parameter_server.link import Part, Push, Welcome
from parameter_server.messages.compression import Sparse
from parameter_server.messages.translation import (
    Came,
    Incoming,
    create_messages,
    piece_from,
    pulled_messages,
    push_messages,
    statistics_from,
    statistics_text,
    welcome_from,
    welcome_message,
)
from parameter_server.optimizers import Adam
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Bounded, Group, Policy
from parameter_server.statistics import Statistics
from parameter_server.store import PushId, StoreError

FLOATS = st.sampled_from(["float32", "float64"])
INTEGERS = st.integers(0, 2**62)


def numbers(dtype: str, count: int, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(count).astype(dtype)


@st.composite
def pushes(draw: st.DrawFn) -> Push:
    """Of dense parts and of parts with rows, empty ones and ones longer than a message."""
    parts = []
    for number in range(draw(st.integers(0, 5))):
        dtype, seed = draw(FLOATS), draw(st.integers(0, 9))
        if draw(st.booleans()):
            parts.append(Part(f"a{number}@0", numbers(dtype, draw(st.sampled_from([0, 1, 5, 600_000])), seed)))
        else:
            rows = np.array(sorted(draw(st.sets(st.integers(0, 2**40), max_size=5))), np.int64)
            parts.append(Part(f"ü{number}@8", numbers(dtype, 3 * len(rows), seed), rows))
    push_id = PushId(draw(st.text(max_size=9)), draw(INTEGERS), draw(INTEGERS))
    return Push(push_id, draw(INTEGERS) - 1, draw(INTEGERS), parts, draw(st.floats(0, 1)))


def received(stream: Sequence[bytes], most: int = 2**30) -> tuple[pb.Heading, list[Came]]:
    incoming = Incoming(pb.Heading, lambda _: most)
    for message in stream:
        incoming.feed(message)
    return incoming.finish()


@given(pushes())
def test_a_push_arrives_as_it_was_sent(push: Push) -> None:
    heading, came = received(list(push_messages(7, push)))
    sent = (push.id.client, push.id.number, push.id.attempt, push.base, push.table, push.scale, 7)
    assert sent == (
        heading.client, heading.number, heading.attempt, heading.base, heading.table, heading.scale, heading.shard
    )  # fmt: skip
    assert [part.key for part in push.parts] == [part.key for part in came]
    for part, arrived in zip(push.parts, came, strict=True):
        assert arrived.whole().dtype == part.values.dtype
        np.testing.assert_array_equal(arrived.whole(), part.values)
        np.testing.assert_array_equal(arrived.rows, part.rows)


@given(pushes(), st.data())
def test_a_stream_that_was_tampered_with_does_not_arrive(push: Push, data: st.DataObject) -> None:
    stream = list(push_messages(0, push))
    place = data.draw(st.integers(0, len(stream) - 1))
    message = stream[place]
    how = data.draw(st.sampled_from(["flip", "cut", "drop", "double", "append"]))
    if how == "flip":
        bit = data.draw(st.integers(0, 8 * len(message) - 1))
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        stream[place] = bytes(changed)
    elif how == "cut":
        stream[place] = message[: data.draw(st.integers(1, len(message) - 1))]
    elif how == "drop":
        del stream[place]
    elif how == "double":
        stream.insert(place, message)
    else:
        stream[place] = message + data.draw(st.binary(min_size=1, max_size=99))
    with pytest.raises(StoreError) as caught:
        received(stream)
    assert isinstance(caught.value.outcome, Outcome)


@given(st.lists(st.booleans(), min_size=1, max_size=50), st.sampled_from([None, "bfloat16"]))
def test_elements_that_travel_alone_arrive_among_zeros(kept: list[bool], encoding: str | None) -> None:
    places = np.flatnonzero(kept).astype(np.uint32)
    sparse = Sparse(places, (places + 1).astype(np.float32), len(kept))
    push = Push(PushId("c", 0), 0, 1, [Part("a@0", np.ones(len(kept), np.float32))])
    _, (came,) = received(list(push_messages(0, push, {"a@0": sparse}, encoding)))
    assert came.whole().tolist() == [number + 1 if kept[number] else 0 for number in range(len(kept))]


def test_what_may_come_is_bounded_by_what_it_becomes() -> None:
    sparse = Sparse(np.zeros(1, np.uint32), np.ones(1, np.float32), 1000)
    push = Push(PushId("c", 0), 0, 1, [Part("a@0", np.ones(1000, np.float32))])
    stream = list(push_messages(0, push, {"a@0": sparse}))
    received(stream, most=4000)
    with pytest.raises(StoreError, match="4000 bytes are announced, and 3999 are the most"):
        received(stream, most=3999)


def test_a_type_that_does_not_travel_is_refused_by_the_sender() -> None:
    push = Push(PushId("c", 0), 0, 1, [Part("a@0", np.ones(3, np.int32))])
    with pytest.raises(StoreError, match="a@0 is int32") as caught:
        push_messages(0, push)
    assert caught.value.outcome is Outcome.WRONG_DTYPE


def test_pieces_and_pulls_travel_too() -> None:
    pieces = [Piece("a", (2, 3), "float64", 2, 6, "~x"), Piece("b", (), "float32", 0, 1)]
    values = [numbers("float64", 4, 0), numbers("float32", 1, 1)]
    creating = Incoming(pb.Creation, lambda _: 100)
    for message in create_messages(0, pieces, values):
        creating.feed(message)
    creation, came = creating.finish()
    assert [piece_from(piece) for piece in creation.pieces] == pieces
    pulling = Incoming(pb.Pulled, lambda _: 100)
    for message in pulled_messages(9, 3, {"a": values[0], "b": values[1]}):
        pulling.feed(message)
    pulled, parts = pulling.finish()
    assert (pulled.version, pulled.table) == (9, 3)
    for arrived in (came, parts):
        for part, array in zip(arrived, values, strict=True):
            np.testing.assert_array_equal(part.whole(), array)
            into = np.empty_like(array)
            assert part.whole(into) is into
            np.testing.assert_array_equal(into, array)


def test_welcomes_and_statistics_come_back_equal() -> None:
    policy = Policy((Group(Adam(0.1), "a*", 2.0), Group(Adam(0.2))), mode=Bounded(3, "reject"), norm=1.5)
    welcome = Welcome(1, 4, policy, 9, (Piece("a", (2,), "float32", 0, 2, "~"),), 2**41, 5)
    assert welcome_from(pb.Welcome.FromString(welcome_message(welcome).SerializeToString())) == welcome
    statistics = Statistics(3, recovered_from="arena", version=2**41)
    statistics.staleness.observe(4)
    assert statistics_from(statistics_text(statistics)) == statistics
