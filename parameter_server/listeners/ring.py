"""A push that is applied while its client still copies it, chunk by chunk, through the ring of its slot."""

from __future__ import annotations

from time import perf_counter
from typing import Final

import numpy as np

from parameter_server.link import Answer
from parameter_server.messages.packing import CHUNK, checksum
from parameter_server.messages.wire import Announced
from parameter_server.outcome import Outcome
from parameter_server.shards.shard import Application, Heading, Shard
from parameter_server.shared_memory.slots import Slot, waited

STALL: Final = 0.01  # seconds in all that a client may keep a shard waiting: a few turns of a busy processor


def apply_ring(shard: Shard, push: Announced, slot: Slot) -> Answer | None:
    """What became of the push; None: it is to be sent whole. To be called under the shard's lock.

    A client that stands still is waited for only shortly: the update is given up, for which nothing must be undone.
    """
    pieces = shard.memory.pieces
    known = {piece.key: place for place, piece in enumerate(pieces)}
    places = tuple(known.get(part.key, -1) for part in push.parts)
    if any(
        place < 0 or (part.rows, part.count, part.dtype) != (-1, pieces[place].size, pieces[place].dtype)
        for place, part in zip(places, push.parts, strict=True)
    ):
        return None  # the shard will say what is wrong with it
    begun = shard.begin(Heading(push.id, push.base, push.table, push.scale, places))
    if not isinstance(begun, Application):
        return begun
    return _applied(begun, push, places, slot)


def _applied(application: Application, push: Announced, places: tuple[int, ...], slot: Slot) -> Answer | None:
    number, patience = 0, STALL
    for place, part in zip(places, push.parts, strict=True):
        step = CHUNK // np.dtype(part.dtype).itemsize
        for start in range(0, part.count, step):
            if not slot.filled(number):
                before = perf_counter()
                if not waited(slot.filled, number, patience):
                    application.abort(Outcome.TRUNCATED, "its client stood still")
                    return None
                patience -= perf_counter() - before
            chunk = slot.cell(number, part.dtype)[: part.count - start]
            if checksum(chunk.data) != slot.checksum(number):
                return application.abort(Outcome.CORRUPTED, "a checksum does not fit: send the same again")
            if not application.chunk(place, start, chunk):
                return application.commit()  # which refuses it, and says why
            slot.empty(number)
            number += 1
    return application.commit()
