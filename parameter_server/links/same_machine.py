"""SameMachineLink: a shard in another process of this machine, through shared memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from parameter_server.link import Answer, Link, Pulled, Push, Welcome
from parameter_server.links.connection import Connection, Connections
from parameter_server.messages.packing import CHUNK, Packing, checksum, fill, sound, type_name
from parameter_server.messages.wire import (
    INLINE,
    Announced,
    Json,
    Kind,
    Where,
    announced,
    json_of,
    packing_of,
    pushes_body,
    read_answers,
    welcome_of,
)
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.shared_memory.arena_reader import ArenaReader
from parameter_server.shared_memory.slots import DATA, ORDERED, Slot, waited
from parameter_server.statistics import Statistics
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.store import Array

RING: Final = 2**20  # bytes of a push that is worth being applied while it is copied
REFRAIN: Final = 16  # pushes that are sent whole when one by the ring was not taken
ANSWERING: Final = 0.25  # seconds before the end of a call in which a push that waits is answered
TRIES: Final = 3


@final
class SameMachineLink(Link):
    """A shard in the process that `connections` lead to.

    Pulls ask nobody: they copy from the shard's memory, which is mapped to be read only, unless it is written over
    meanwhile time and again.
    """

    def __init__(self, connections: Connections, shard: int) -> None:
        self.connections = connections
        self.shard = shard
        self._lock = Lock()
        self._mapping = Lock()
        self._reader: ArenaReader | None = None
        self._mapped = ORDERED
        self._untold = [0, 0]  # pulls and bytes of them that the shard has not heard of
        self._refrain = 0

    @property
    def process(self) -> Hashable:
        return self.connections.path

    def hello(self, client: str, attempt: int) -> Welcome:
        return welcome_of(self._said(Kind.HELLO, {"client": client, "attempt": attempt}))

    def beat(self, client: str, attempt: int) -> None:
        self._said(Kind.BEAT, {"client": client, "attempt": attempt})

    def leave(self, client: str, attempt: int) -> None:
        self._said(Kind.LEAVE, {"client": client, "attempt": attempt})

    def snapshot(self) -> str:
        return str(self._said(Kind.SNAPSHOT, {})["path"])

    def statistics(self) -> Statistics:
        pulls, pulled = self._told()
        return Statistics.from_json(self._said(Kind.STATISTICS, {"pulls": pulls, "pulled": pulled}))

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        arrays = [_flat(array) for array in values]
        packing = Packing.of((type_name(array.dtype), array.size) for array in arrays)

        def use(connection: Connection, until: float) -> Json:
            slot = connection.slot(packing.size, until)
            sums = fill(packing.arrays(slot.file, DATA), arrays)
            asked = {"pieces": [piece.to_json() for piece in pieces], "kinds": packing.kinds, "sums": sums}
            _, body = connection.ask(Kind.CREATE, self.shard, until, json.dumps(asked).encode())
            return json_of(body)

        return tuple(self.connections.call(use, keep=False)["keys"])

    def push(self, push: Push) -> Answer:
        return self.push_together([(self, push)])[0]

    def push_together(self, pushes: Sequence[tuple[Link, Push]]) -> list[Answer]:
        sent, arrays = _announced(pushes)
        return _refused(
            len(pushes),
            lambda: self.connections.call(lambda connection, until: self._sent(connection, until, sent, arrays)),
        )

    def begin_together(self, pushes: Sequence[tuple[Link, Push]]) -> Callable[[], list[Answer]] | None:
        if sum(part.values.nbytes for _, push in pushes for part in push.parts) >= RING:
            return None
        sent, arrays = _announced(pushes)
        packing = packing_of(sent)
        answers = self.connections.begin(
            lambda connection, until: _send(connection, until, packing, sent, arrays), _receive
        )
        return lambda: _refused(len(pushes), answers)

    def pull(
        self, keys: Sequence[str], newer_than: int | None = None, into: Mapping[str, Array] | None = None
    ) -> Pulled:
        reader = self._reader  # that it is the shard's file is asked once, when the numbers are there
        for _ in range(TRIES):
            reader = reader or self._reading()
            if reader is None:
                break
            try:
                pulled = reader.pull(keys, newer_than, into or {})
            except StoreError:
                if reader.current():
                    raise
                reader = None
                continue
            if pulled is None:
                break
            if reader.current():
                with self._lock:
                    self._untold[0] += 1
                    self._untold[1] += sum(part.nbytes for part in pulled.parts.values())
                return pulled
            reader = None
        return self._asked(keys, newer_than, into or {})

    def close(self) -> None:
        with self._mapping:
            self._reader = None
        self.connections.close()

    def _said(self, kind: Kind, data: Json) -> Json:
        body = json.dumps(data).encode()
        return json_of(
            self.connections.call(lambda connection, until: connection.ask(kind, self.shard, until, body))[1]
        )

    def _told(self) -> tuple[int, int]:
        with self._lock:
            pulls, pulled = self._untold
            self._untold = [0, 0]
        return pulls, pulled

    def _sent(
        self, connection: Connection, until: float, pushes: Sequence[Announced], arrays: Sequence[NDArray[Any]]
    ) -> list[Answer]:
        """Send pushes in the way that suits their size."""
        packing = packing_of(pushes)
        if self._by_ring(packing, pushes):
            answers = self._through(connection, until, pushes[0], arrays)
            if answers is not None:
                return answers
            self._refrain = REFRAIN
        _send(connection, until, packing, pushes, arrays)
        return _receive(connection, until)

    def _by_ring(self, packing: Packing, pushes: Sequence[Announced]) -> bool:
        if self._refrain:
            self._refrain -= 1
            return False
        dense = all(part.rows < 0 and part.dtype in ("float32", "float64") for part in pushes[0].parts)
        return ORDERED and len(pushes) == 1 and dense and packing.size >= RING

    def _through(
        self, connection: Connection, until: float, push: Announced, arrays: Sequence[NDArray[Any]]
    ) -> list[Answer] | None:
        """Send a push by the ring of the connection's slot; None when it is to be sent whole."""
        slot, serial = connection.slot(0, until), connection.serial()
        slot.begin(serial)
        connection.send(Kind.PUSHES, push.shard, until, pushes_body(Where.RING, serial, 0.0, [push], ()))
        _fill_ring(connection, until, slot, arrays)
        head, body = connection.receive(until)
        return None if head.kind is Kind.WHOLE else read_answers(body)

    def _reading(self) -> ArenaReader | None:
        """The shard's memory as it is now; None where it cannot be mapped."""
        with self._mapping:
            if not self._mapped:
                return None
            if self._reader is None or not self._reader.current():
                descriptor = self.connections.call(
                    lambda connection, until: connection.ask_for_file(Kind.ARENA, self.shard, until)
                )
                self._mapped = descriptor is not None
                self._reader = None if descriptor is None else ArenaReader(descriptor)
            return self._reader

    def _asked(self, keys: Sequence[str], newer_than: int | None, into: Mapping[str, Array]) -> Pulled:
        """Have the shard copy, between two pushes."""
        sizes = {piece.key: (piece.dtype, piece.size) for piece in self.hello("", 0).pieces}
        packing = Packing.of(sizes[key] for key in keys if key in sizes)
        asked = json.dumps({"keys": list(keys), "newer_than": newer_than}).encode()

        def use(connection: Connection, until: float) -> Pulled:
            slot = connection.slot(packing.size, until)
            reply = json_of(connection.ask(Kind.PULL, self.shard, until, asked)[1])
            came = Packing.of((dtype, count) for dtype, count in reply["kinds"]).arrays(slot.file, DATA)
            parts = {key: _copied(array, into.get(key)) for key, array in zip(reply["keys"], came, strict=True)}
            if not sound(list(parts.values()), iter(reply["sums"])):
                raise ConnectionError("a checksum of a pull does not fit")
            return Pulled(reply["version"], parts, reply["table"])

        return self.connections.call(use)


def _announced(pushes: Sequence[tuple[Link, Push]]) -> tuple[list[Announced], list[NDArray[Any]]]:
    sent, arrays = [], []
    for link, push in pushes:
        assert isinstance(link, SameMachineLink)
        sent.append(announced(link.shard, push, *link._told()))
        arrays += [_flat(array) for part in push.parts for array in (part.rows, part.values) if array is not None]
    return sent, arrays


def _send(
    connection: Connection, until: float, packing: Packing, pushes: Sequence[Announced], arrays: Sequence[NDArray[Any]]
) -> None:
    """Send pushes whole: small ones in the message, others in the slot."""
    seconds = max(until - monotonic() - ANSWERING, 0.0)
    if packing.size <= INLINE:
        numbers = bytearray(packing.size)
        fill(packing.arrays(numbers), arrays)
        body = pushes_body(Where.HERE, 0, seconds, pushes, ())
        connection.send(Kind.PUSHES, pushes[0].shard, until, body, numbers)
    else:
        slot = connection.slot(packing.size, until)
        sums = fill(packing.arrays(slot.file, DATA), arrays)
        connection.send(Kind.PUSHES, pushes[0].shard, until, pushes_body(Where.SLOT, 0, seconds, pushes, sums))


def _receive(connection: Connection, until: float) -> list[Answer]:
    return read_answers(connection.receive(until)[1])


def _refused(count: int, answers: Callable[[], list[Answer]]) -> list[Answer]:
    """The answers to so many pushes, where they were refused all at once too."""
    try:
        return answers()
    except StoreError as error:
        if error.outcome is None or error.outcome is Outcome.FENCED:
            raise
        return [Answer(error.outcome, 0, str(error))] * count


def _fill_ring(connection: Connection, until: float, slot: Slot, arrays: Sequence[NDArray[Any]]) -> None:
    """Copy chunks into the ring as the shard empties it, until all are in it, or there is an answer."""
    number = 0
    for array in arrays:
        step, dtype = CHUNK // array.itemsize, type_name(array.dtype)
        for start in range(0, len(array), step):
            while not slot.vacant(number) and not waited(slot.vacant, number, 0.001):
                if connection.answered():
                    return
                if monotonic() > until:
                    raise TimeoutError("it did not answer in time")
            part = array[start : start + step]
            total = checksum(part.data)
            slot.cell(number, dtype)[: len(part)] = part
            slot.fill(number, total)
            number += 1


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)


def _copied(array: Array, into: Array | None) -> Array:
    target = np.empty_like(array) if into is None else into
    np.copyto(target, array)
    return target
