"""NetworkListener: shards of this process over gRPC; the servicer translates, and the shards decide."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar, final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from parameter_server import parameter_server_pb2 as pb
from parameter_server.allocation import keep_freed_memory
from parameter_server.codec import MESSAGE
from parameter_server.link import Answer, Push
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.security import Security, TokenInterceptor, guard_listener
from parameter_server.shard import Application, Heading, Shard, Ticket
from parameter_server.store import FencedError, PushId, StoreError
from parameter_server.translation import (
    Came,
    Incoming,
    piece_from,
    pulled_messages,
    statistics_text,
    welcome_message,
)

Context = grpc.ServicerContext
Request = TypeVar("Request")
Reply = TypeVar("Reply")

SERVICE: Final = "cellwright.parameter_server.Shard"
SPARE: Final = 32  # calls at once besides pushes, so that pulls and beats get through when all pushes wait
LONGEST: Final = 3600.0  # seconds that a call may last
ANSWERING: Final = 0.2  # seconds before the end of a call in which a push that waits is answered
LOOK: Final = 0.05  # seconds between looks at leases that lapse by the clock
CREATION: Final = 2**33  # bytes that may be created at once
SLACK: Final = 2**20  # bytes that a push may have above twice its shard, so that a wrong shape is seen to be one
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 2 * MESSAGE),  # a little too large is counted, not cut off
    ("grpc.max_send_message_length", 2 * MESSAGE),
    ("grpc.server.max_pending_requests", 100_000),  # else some of 2,000 calls at once end as CANCELLED (measured: 13 %)
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.keepalive_time_ms", 10_000),  # so that clients which have gone are noticed
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),  # clients ask every second whether somebody is there
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),  # else two processes could listen on one port, each getting some of the calls
)
_LOG = logging.getLogger(__name__)


@final
class NetworkListener:
    """Listens until it is closed. `address` is HOST:PORT (port 0: any that is free) or unix:PATH.

    `snapshot` has the shard of a number write its state, and gives the file. Raises `StoreError` for an address that
    other machines reach without TLS and a token, and for one that cannot be listened on.
    """

    def __init__(
        self, shards: Sequence[Shard], address: str, security: Security, snapshot: Callable[[int], str]
    ) -> None:
        guard_listener(address, security)
        keep_freed_memory()
        calls = sum(shard.policy.in_flight for shard in shards) + SPARE
        self._servicer = Servicer(shards, snapshot)
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="network")
        token = (TokenInterceptor(security.token, self._servicer.unauthenticated),) if security.token else ()
        self._server = grpc.server(
            self._threads, interceptors=token, options=OPTIONS, maximum_concurrent_rpcs=calls
        )  # beyond that many calls are answered RESOURCE_EXHAUSTED at once
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        credentials = security.listening()
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StoreError(f"nobody can listen on {address}: {error}") from None
        self.address = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        self._server.start()

    def close(self, grace: float = 0.5) -> None:
        """Take no more calls, and let those under way end within `grace` seconds; health says so at once."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        self._threads.shutdown()


@final
class Servicer:
    """Calls, translated; what cannot be read is refused before a shard sees it, and counted there."""

    def __init__(self, shards: Sequence[Shard], snapshot: Callable[[int], str]) -> None:
        self._shards = {shard.number: shard for shard in shards}
        self._places: dict[int, tuple[Sequence[Piece], dict[str, int]]] = {}  # of the pieces of each shard
        self._snapshot = snapshot

    def handler(self) -> grpc.GenericRpcHandler:
        """The methods of the service, for a server."""
        hello, asked = pb.Hello.FromString, pb.Asked.FromString
        plain: dict[str, tuple[Callable[[Any, Context], Any], Callable[[bytes], Any]]] = {
            "Hello": (self.hello, hello),
            "Beat": (self.beat, hello),
            "Leave": (self.leave, hello),
            "Snapshot": (self.snapshot, asked),
            "Statistics": (self.statistics, asked),
        }
        methods = {
            name: grpc.unary_unary_rpc_method_handler(partial(_guarded, call), parse, _bytes)
            for name, (call, parse) in plain.items()
        }
        methods["Create"] = grpc.stream_unary_rpc_method_handler(partial(_guarded, self.create), None, _bytes)
        methods["Push"] = grpc.stream_unary_rpc_method_handler(partial(_guarded, self.push), None, _bytes)
        methods["Pull"] = grpc.unary_stream_rpc_method_handler(partial(_guarded, self.pull), pb.Wanted.FromString)
        handler: grpc.GenericRpcHandler = grpc.method_handlers_generic_handler(SERVICE, methods)
        return handler

    def unauthenticated(self) -> None:
        """Count a call without the token; nothing of it was read, so it is counted on the first shard."""
        shard = next(iter(self._shards.values()))
        with shard.lock:
            shard.refused(Outcome.UNAUTHENTICATED, "")

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
        addressed: list[Shard] = []  # whose push it is, as soon as its heading is there

        def most(heading: pb.Heading) -> int:
            addressed.append(self._shard(heading.shard))
            return 2 * sum(piece.bytes for piece in addressed[0].memory.pieces) + SLACK

        incoming = Incoming(pb.Heading, most)
        try:
            for message in requests:
                incoming.feed(message)
            heading, came = incoming.finish()
        except StoreError as error:
            shard = addressed[0] if addressed else next(iter(self._shards.values()))
            with shard.lock:
                return shard.refused(error.outcome or Outcome.CORRUPTED, str(error))
        with addressed[0].lock:
            return self._applied(addressed[0], heading, came, context)

    def _applied(self, shard: Shard, heading: pb.Heading, came: Sequence[Came], context: Context) -> Answer:
        """What the shard says of a push that is there; holds its lock but while it waits."""
        push_id = PushId(heading.client, heading.number, heading.attempt)
        places = self._whole(shard, came)
        if places is not None:
            begun = shard.begin(Heading(push_id, heading.base, heading.table, heading.scale, places))
            if isinstance(begun, Application):
                begun = _stepped(begun, places, came)
            if begun is not None:
                shard.settled()
                return begun
        parts = [part.part() for part in came]
        answer = shard.push(Push(push_id, heading.base, heading.table, parts, heading.scale))
        shard.settled()
        return _waited(shard, answer, context) if isinstance(answer, Ticket) else answer

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


def _stepped(application: Application, places: Sequence[int], came: Sequence[Came]) -> Answer:
    for place, part in zip(places, came, strict=True):
        start = 0
        for chunk in part.chunks:
            if not application.chunk(place, start, chunk):
                return application.commit()  # which refuses it, and says why
            start += len(chunk)
    return application.commit()


def _waited(shard: Shard, ticket: Ticket, context: Context) -> Answer:
    """The ticket's answer; lets go of the lock while it waits."""
    while ticket.answer is None:
        left = context.time_remaining() - ANSWERING
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


def _guarded(call: Callable[[Request, Context], Reply], request: Request, context: Context) -> Reply:
    """Answer a call; whatever goes wrong becomes a status with a reason for people, and never a traceback."""
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
