"""Servicer: calls over gRPC, translated for the shards of this process; it decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar, final

import grpc

from parameter_server import parameter_server_pb2 as pb
from parameter_server.link import Answer, Push
from parameter_server.listeners.early import REFRAIN, Early, suits
from parameter_server.listeners.handshakes import Handshakes
from parameter_server.listeners.room import Room
from parameter_server.messages.translation import (
    Came,
    Incoming,
    piece_from,
    pulled_messages,
    statistics_text,
    volume,
    welcome_message,
)
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.shards.shard import Application, Heading, Shard, Ticket
from parameter_server.store import FencedError, PushId, StoreError

Context = grpc.ServicerContext
Request = TypeVar("Request")
Reply = TypeVar("Reply")

SERVICE: Final = "cellwright.parameter_server.Shard"
LONGEST: Final = 3600.0  # seconds that a call may last
ANSWERING: Final = 1.0  # seconds before the end of a call in which a push that waits is answered; or a fifth of them
LOOK: Final = 0.05  # seconds between looks at leases that lapse by the clock
CREATION: Final = 2**33  # bytes that may be created at once
ROOM: Final = 8  # times a shard's bytes that pushes may hold while they come in; more are answered busy
SLACK: Final = 2**20  # bytes that a push may have above twice its shard, so that a wrong shape is seen to be one
PATIENCE: Final = 5.0  # seconds in which who connects makes a call
_LOG = logging.getLogger(__name__)


@final
class Servicer:
    """Calls, translated; what cannot be read is refused before a shard sees it, and counted there."""

    def __init__(self, shards: Sequence[Shard], snapshot: Callable[[int], str]) -> None:
        self._shards = {shard.number: shard for shard in shards}
        self._places: dict[int, tuple[Sequence[Piece], dict[str, int]]] = {}  # of the pieces of each shard
        self._snapshot = snapshot
        self._refrain = dict.fromkeys(self._shards, 0)  # pushes that are not stepped early
        self.handshakes = Handshakes(monotonic, PATIENCE)
        self._room = Room()

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods of the service, for a server."""
        hello, asked = pb.Hello.FromString, pb.Asked.FromString
        guarded = partial(partial, _guarded, self.handshakes)
        plain: dict[str, tuple[Callable[[Any, Context], Any], Callable[[bytes], Any]]] = {
            "Hello": (self.hello, hello),
            "Beat": (self.beat, hello),
            "Leave": (self.leave, hello),
            "Snapshot": (self.snapshot, asked),
            "Statistics": (self.statistics, asked),
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(guarded(call), parse, _bytes)
            for name, (call, parse) in plain.items()
        }
        methods["Create"] = grpc.stream_unary_rpc_method_handler(
            partial(_guarded, self.handshakes, self.create), None, _bytes
        )
        methods["Push"] = grpc.stream_unary_rpc_method_handler(
            partial(_guarded, self.handshakes, self.push), None, _bytes
        )
        methods["Pull"] = grpc.unary_stream_rpc_method_handler(
            partial(_guarded, self.handshakes, self.pull), pb.Wanted.FromString
        )
        handler: grpc.GenericRpcHandler = grpc.method_handlers_generic_handler(SERVICE, methods)
        return handler

    def intruder(self, peer: str) -> None:
        """A call came without the token."""
        self.handshakes.call(peer)
        self.unauthenticated(1)

    def unauthenticated(self, count: int) -> None:
        """Count who came without the token or a certificate; nothing was read, so the first shard counts them."""
        shard = next(iter(self._shards.values()))
        with shard.lock:
            shard.statistics.pushes[Outcome.UNAUTHENTICATED] += count

    def hello(self, request: pb.Hello, _context: Context) -> pb.Welcome:
        shard = self._shard(request.shard)
        with shard.lock:
            welcome = shard.hello(request.client, request.attempt)
            shard.settled()
        return welcome_message(welcome)

    def beat(self, request: pb.Hello, _context: Context) -> pb.Nothing:
        shard = self._shard(request.shard)
        with shard.lock:
            shard.beat(request.client, request.attempt)
            shard.settled()
        return pb.Nothing()

    def leave(self, request: pb.Hello, _context: Context) -> pb.Nothing:
        shard = self._shard(request.shard)
        with shard.lock:
            shard.leave(request.client, request.attempt)
            shard.settled()
        return pb.Nothing()

    def snapshot(self, request: pb.Asked, _context: Context) -> pb.Text:
        return pb.Text(text=self._snapshot(self._shard(request.shard).number))

    def statistics(self, request: pb.Asked, _context: Context) -> pb.Text:
        shard = self._shard(request.shard)
        with shard.lock:
            return pb.Text(text=statistics_text(shard.statistics))

    def create(self, requests: Iterator[bytes], _context: Context) -> pb.Created:
        incoming = Incoming(pb.Creation, lambda _: CREATION)
        for message in requests:
            incoming.feed(message)
        creation, came = incoming.finish()
        if len(creation.pieces) != len(came):
            raise StoreError(f"{len(creation.pieces)} pieces cannot have the numbers of {len(came)}", Outcome.TRUNCATED)
        shard = self._shard(creation.shard)
        with shard.lock:
            keys = shard.create([piece_from(piece) for piece in creation.pieces], [part.whole() for part in came])
        return pb.Created(keys=keys)

    def pull(self, request: pb.Wanted, _context: Context) -> Iterator[bytes]:
        shard = self._shard(request.shard)
        newer_than = request.newer_than if request.HasField("newer_than") else None
        with shard.lock:
            pulled = shard.pull(list(request.keys), newer_than)
            return iter(list(pulled_messages(pulled.version, pulled.table, pulled.parts)))

    def push(self, requests: Iterator[bytes], context: Context) -> pb.Answer:
        answer = self._pushed(requests, context)
        return pb.Answer(outcome=answer.outcome, version=answer.version, reason=answer.reason)

    def _pushed(self, requests: Iterator[bytes], context: Context) -> Answer:
        shard = next(iter(self._shards.values()))  # whose push it is, once its heading is there
        with ExitStack() as reserved:

            def most(heading: pb.Heading) -> int:
                nonlocal shard
                shard = self._shard(heading.shard)
                size = sum(piece.bytes for piece in shard.memory.pieces)
                coming = min(volume(heading), 2 * size + SLACK)
                reserved.enter_context(self._room.taken(shard.number, coming, ROOM * size + 64 * SLACK))
                return 2 * size + SLACK

            incoming = Incoming(pb.Heading, most)
            early: Early | None = None
            try:
                for message in requests:
                    known = incoming.heading is not None
                    taken = incoming.feed(message)
                    if not known and incoming.heading is not None:
                        early = self._early(shard, incoming.heading)
                    if early is not None:
                        for frame in taken:
                            early.take(frame)
                heading, came = incoming.finish()
            except StoreError as error:
                with shard.lock:
                    return shard.refused(error.outcome or Outcome.CORRUPTED, str(error))
            with shard.lock:
                answer = self._applied(shard, heading, came, early)
            del incoming, came
        return _waited(shard, answer, context) if isinstance(answer, Ticket) else answer

    def _early(self, shard: Shard, message: pb.Heading) -> Early | None:
        """Steps for a push that comes in, where it suits and they were of use before."""
        parts = suits(message)
        if parts is None:
            return None
        if self._refrain[shard.number] > 0:
            self._refrain[shard.number] -= 1
            return None
        with shard.lock:
            places = self._whole(shard, parts)
        return None if places is None else Early(shard, _heading(message, places))

    def _applied(self, shard: Shard, heading: pb.Heading, came: Sequence[Came], early: Early | None) -> Answer | Ticket:
        """What the shard says of a push that is there."""
        push_id = PushId(heading.client, heading.number, heading.attempt)
        places = self._whole(shard, came)
        if places is not None:
            begun = shard.begin(_heading(heading, places))
            adopted = early is not None and isinstance(begun, Application) and begun.adopt(early.application)
            if early is not None and not adopted:
                self._refrain[shard.number] = REFRAIN
            if isinstance(begun, Application):
                begun = begun.commit() if adopted else _stepped(begun, places, came)
            if begun is not None:
                shard.settled()
                return begun
        parts = [part.part() for part in came]
        answer = shard.push(Push(push_id, heading.base, heading.table, parts, heading.scale))
        shard.settled()
        return answer

    def _whole(self, shard: Shard, came: Sequence[Came]) -> tuple[int, ...] | None:
        """The places of pieces that came as they are: they need no copy to lie in a row. None: not so simple."""
        pieces = shard.memory.pieces
        if shard.number not in self._places or self._places[shard.number][0] is not pieces:
            self._places[shard.number] = pieces, {piece.key: place for place, piece in enumerate(pieces)}
        known = self._places[shard.number][1]
        places = tuple(known[part.key] for part in came if part.rows is None and part.key in known)
        fits = len(places) == len(came) and all(
            (pieces[place].size, pieces[place].dtype) == (part.size, part.dtype)
            for place, part in zip(places, came, strict=True)
        )
        return places if fits else None

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            raise StoreError(f"shard {number} is not here, but {', '.join(map(str, self._shards))}", Outcome.MOVED)
        return self._shards[number]


def _heading(message: pb.Heading, places: tuple[int, ...]) -> Heading:
    push_id = PushId(message.client, message.number, message.attempt)
    return Heading(push_id, message.base, message.table, message.scale, places)


def _stepped(application: Application, places: Sequence[int], came: Sequence[Came]) -> Answer:
    for place, part in zip(places, came, strict=True):
        start = 0
        for chunk in part.chunks:
            if not application.chunk(place, start, chunk):
                return application.commit()  # which refuses it, and says why
            start += len(chunk)
    return application.commit()


def _waited(shard: Shard, ticket: Ticket, context: Context) -> Answer:
    """The ticket's answer, or that of who can wait no longer, or has gone."""
    margin = min(ANSWERING, context.time_remaining() / 5)
    with shard.lock:
        while ticket.answer is None:
            left = context.time_remaining() - margin
            if left <= 0 or not context.is_active():
                answer = shard.give_up(ticket)
                shard.settled()
                return answer
            shard.changed.wait(min(left, LOOK))
            shard.settled()
        return ticket.answer


def _bytes(message: Any) -> bytes:
    serialized: bytes = message.SerializeToString()
    return serialized


def _guarded(
    handshakes: Handshakes, call: Callable[[Request, Context], Reply], request: Request, context: Context
) -> Reply:
    """Answer a call; whatever goes wrong becomes a status with a reason for people, and never a traceback."""
    handshakes.call(context.peer())
    if context.time_remaining() > LONGEST:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a call without a deadline: set one, up to {LONGEST:.0f} s")
    outcome: Outcome | None = None
    try:
        return call(request, context)
    except FencedError as error:
        code, reason, outcome = grpc.StatusCode.FAILED_PRECONDITION, str(error), Outcome.FENCED
    except StoreError as error:
        code, reason, outcome = grpc.StatusCode.INVALID_ARGUMENT, str(error), error.outcome
    except grpc.RpcError:
        raise  # the client is gone
    except Exception:
        _LOG.exception("a call failed")
        code, reason = grpc.StatusCode.INTERNAL, "the shard failed: its log says why"
    context.set_trailing_metadata((("outcome", str(outcome or "none")),))
    context.abort(code, reason)
    raise AssertionError("abort raises")
