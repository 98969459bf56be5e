"""NetworkLink: a shard over gRPC; every call has a deadline, and is sent again until then where that can help."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from threading import BoundedSemaphore, Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import grpc

from parameter_server import parameter_server_pb2 as pb
from parameter_server.link import Answer, Link, Part, Pulled, Push, Welcome
from parameter_server.messages.codec import MESSAGE
from parameter_server.messages.compression import Compression, Feedback, Sparse, TopK
from parameter_server.messages.translation import (
    Incoming,
    create_messages,
    push_messages,
    statistics_from,
    welcome_from,
)
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.security import Security, certificate_refused, guard_link
from parameter_server.shared_memory.allocation import keep_freed_memory
from parameter_server.statistics import Statistics
from parameter_server.store import FencedError, StoreError, UnreachableError

if TYPE_CHECKING:
    from parameter_server.store import Array

Reply = TypeVar("Reply")

SERVICE: Final = "/cellwright.parameter_server.Shard/"
AT_ONCE: Final = 64  # calls of a link; with 2,000 under way fewer are answered per second than with these (measured)
QUEUED: Final = 0.25  # seconds after which a call goes all the same, for those before it may be waiting for it
FIRST: Final = 0.02  # seconds until a call is sent again, doubled up to the longest, and each time some less by chance
LONGEST: Final = 0.5
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 2 * MESSAGE),
    ("grpc.max_send_message_length", 2 * MESSAGE),
    ("grpc.keepalive_time_ms", 1_000),  # a silent partition is noticed within 3 s, not at the deadline
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),  # the default of 60 s would count, not the timeout above (measured)
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),  # a shard that was restarted is found in 0.2 s, not in 1 (measured)
    ("grpc.min_reconnect_backoff_ms", 2_000),  # how long connecting may take: slow networks need some, and TLS
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),  # this file sends again
    ("grpc.enable_http_proxy", 0),  # which an environment variable would send gradients through
)
_AGAIN: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,  # of the transport, when a server dies; what a shard says itself is marked
)


@final
class NetworkLink(Link):
    """A shard at HOST:PORT or unix:PATH. It connects with the first call, and is not to be used after a fork.

    `seconds` is how long a call may take, with all its repetitions. `compression` is of the gradients of dense parts:
    "bfloat16" or "float16" halve float32, where none of their numbers is too large; `TopK` sends the largest. Raises
    `StoreError` where a token or gradients would leave this machine unencrypted.
    """

    def __init__(
        self,
        address: str,
        shard: int,
        security: Security | None = None,
        *,
        seconds: float = 60.0,
        compression: Compression = None,
    ) -> None:
        self._security = security or Security()
        guard_link(address, self._security)
        self.address = address
        self.shard = shard
        self.seconds = seconds
        self.compression = compression
        self._lock = Lock()
        self._channel: grpc.Channel | None = None
        self._process = os.getpid()
        self._places = BoundedSemaphore(AT_ONCE)
        self._chance = random.Random(f"{address} {shard}")
        self._feedbacks: dict[str, Feedback] = {}

    def hello(self, client: str, attempt: int) -> Welcome:
        request = pb.Hello(shard=self.shard, client=client, attempt=attempt)
        return welcome_from(self._asked("Hello", request, pb.Welcome.FromString))

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        def send(left: float) -> pb.Created:
            return self._streamed("Create", create_messages(self.shard, pieces, values), pb.Created.FromString, left)

        return tuple(self._repeated(send).keys)

    def push(self, push: Push) -> Answer:
        encoding = self.compression if isinstance(self.compression, str) else None
        feedback = self._feedback(push.id.client)
        with nullcontext() if feedback is None else feedback.lock:
            sparse: Mapping[str, Sparse] = {}
            if feedback is not None:
                push, sparse = _sparse(push, feedback)

            def send(left: float) -> pb.Answer:
                stream = push_messages(self.shard, push, sparse, encoding)
                return self._streamed("Push", stream, pb.Answer.FromString, left)

            message = self._repeated(send)
            answer = Answer(Outcome(message.outcome), message.version, message.reason)
            if feedback is not None and not answer.outcome.again:
                feedback.settle(answer.outcome.counted)
            return answer

    def pull(
        self, keys: Sequence[str], newer_than: int | None = None, into: Mapping[str, Array] | None = None
    ) -> Pulled:
        request = pb.Wanted(shard=self.shard, keys=keys)
        if newer_than is not None:
            request.newer_than = newer_than
        there = into or {}

        def receive(left: float) -> Pulled:
            incoming = Incoming(pb.Pulled, lambda _: 2**62)  # of what is only announced nothing is allocated
            ask: Any = self._connected().unary_stream(SERVICE + "Pull", pb.Wanted.SerializeToString)
            for message in ask(request, timeout=left, metadata=self._security.metadata()):
                incoming.feed(message)
            heading, came = incoming.finish()
            return Pulled(heading.version, {part.key: part.whole(there.get(part.key)) for part in came}, heading.table)

        return self._repeated(receive)

    def beat(self, client: str, attempt: int) -> None:
        self._asked("Beat", pb.Hello(shard=self.shard, client=client, attempt=attempt), pb.Nothing.FromString)

    def leave(self, client: str, attempt: int) -> None:
        self._asked("Leave", pb.Hello(shard=self.shard, client=client, attempt=attempt), pb.Nothing.FromString)

    def snapshot(self) -> str:
        return self._asked("Snapshot", pb.Asked(shard=self.shard), pb.Text.FromString).text

    def statistics(self) -> Statistics:
        return statistics_from(self._asked("Statistics", pb.Asked(shard=self.shard), pb.Text.FromString).text)

    def close(self) -> None:
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = None

    def _feedback(self, client: str) -> Feedback | None:
        if not isinstance(self.compression, TopK):
            return None
        with self._lock:
            return self._feedbacks.setdefault(client, Feedback(self.compression))

    def _connected(self) -> grpc.Channel:
        with self._lock:
            if os.getpid() != self._process:
                raise StoreError(
                    f"a link that process {self._process} made does not work in process {os.getpid()}, which it was "
                    "forked into: make links in the process that uses them, or start it with the method spawn"
                )
            if self._channel is None:
                keep_freed_memory()
                credentials = self._security.calling()
                if credentials is None:
                    self._channel = grpc.insecure_channel(self.address, OPTIONS)
                else:
                    self._channel = grpc.secure_channel(self.address, credentials, OPTIONS)
            return self._channel

    def _asked(self, method: str, request: Any, parse: Callable[[bytes], Reply]) -> Reply:
        def ask(left: float) -> Reply:
            call = self._connected().unary_unary(SERVICE + method, type(request).SerializeToString, parse)
            reply: Reply = call(request, timeout=left, metadata=self._security.metadata())
            return reply

        return self._repeated(ask)

    def _streamed(self, method: str, stream: Iterable[bytes], parse: Callable[[bytes], Reply], left: float) -> Reply:
        """A stream of one message goes as a call of one message, which is the same on the wire, and needs no thread."""
        messages = iter(stream)
        start = [message for _, message in zip(range(2), messages, strict=False)]
        channel: Any = self._connected()  # its types do not know that bytes need no serializer
        metadata = self._security.metadata()
        reply: Reply
        if len(start) == 1:
            reply = channel.unary_unary(SERVICE + method, None, parse)(start[0], timeout=left, metadata=metadata)
        else:
            rest = (message for part in (start, messages) for message in part)
            reply = channel.stream_unary(SERVICE + method, None, parse)(rest, timeout=left, metadata=metadata)
        return reply

    def _repeated(self, call: Callable[[float], Reply]) -> Reply:
        """Call until there is an answer; raises `UnreachableError` when the time is over."""
        deadline, pause = monotonic() + self.seconds, FIRST
        suspicious = True
        while True:
            placed = self._places.acquire(timeout=QUEUED)
            try:
                return call(max(deadline - monotonic(), 0.001))
            except grpc.RpcError as error:
                reason = self._raised(error)
            finally:
                if placed:
                    self._places.release()
            if suspicious and "refused" not in reason and certificate_refused(self.address, self._security):
                raise StoreError(
                    f"{self.address} does not take {self._security.certificate or 'a link without a certificate'}: "
                    "it must be signed by the listener's authority, and not have expired",
                    Outcome.UNAUTHENTICATED,
                )
            suspicious = False
            if monotonic() + pause > deadline:
                raise UnreachableError(f"shard {self.shard} at {self.address} did not answer: {reason}")
            sleep(pause * (0.5 + 0.5 * self._chance.random()))
            pause = min(2 * pause, LONGEST)

    def _raised(self, error: Any) -> str:
        """Why a call failed that can be sent again; raises where it cannot."""
        code, details = error.code(), error.details() or "no reason is given"
        marks = [value for key, value in error.trailing_metadata() or () if key == "outcome"]
        if code is grpc.StatusCode.UNAUTHENTICATED or "CERTIFICATE_VERIFY_FAILED" in details:
            raise StoreError(f"{self.address} refused: {details}", Outcome.UNAUTHENTICATED) from None
        if marks:
            outcome = None if marks[0] == "none" else Outcome(marks[0])
            raise (FencedError if outcome is Outcome.FENCED else StoreError)(details, outcome) from None
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise UnreachableError(
                f"shard {self.shard} at {self.address} did not answer within {self.seconds:g} s"
            ) from None
        if code not in _AGAIN or "larger than max" in details:
            raise StoreError(f"{self.address} does not understand: {details}") from None
        return f"{code.name.lower()}: {details}"


def _sparse(push: Push, feedback: Feedback) -> tuple[Push, Mapping[str, Sparse]]:
    """A push whose scale is in its numbers, so that what is kept of them is of one scale; and what of it travels."""
    parts = [Part(part.key, part.values.reshape(-1) * push.scale, part.rows) for part in push.parts]
    dense = {part.key: part.values for part in parts if part.rows is None}
    return Push(push.id, push.base, push.table, parts), feedback.sparse(push.id.number, dense)
