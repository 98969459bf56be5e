"""NetworkListener: shards of this process over gRPC; what it lets in, and how much at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any, Final, final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from parameter_server.listeners.handshakes import Handshakes
from parameter_server.listeners.interceptor import TokenInterceptor
from parameter_server.listeners.servicer import SERVICE, Servicer
from parameter_server.messages.codec import MESSAGE
from parameter_server.security import Security, guard_listener
from parameter_server.shards.shard import Shard
from parameter_server.shared_memory.allocation import keep_freed_memory
from parameter_server.store import StoreError

SPARE: Final = 32  # calls at once besides pushes, so that pulls and beats get through when all pushes wait
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 2 * MESSAGE),  # a little too large is counted, not cut off
    ("grpc.max_send_message_length", 2 * MESSAGE),
    ("grpc.server.max_pending_requests", 100_000),  # else some of 2,000 calls at once end as CANCELLED (measured: 13 %)
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.keepalive_time_ms", 10_000),  # so that clients which have gone are noticed
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),  # clients ask every second whether somebody is there
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),  # else two processes could listen on one port, each getting some of the calls
)


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
        self._closed = Event()
        self._threads = ThreadPoolExecutor(calls, thread_name_prefix="network")
        token: list[grpc.ServerInterceptor] = (
            [TokenInterceptor(security.token, self._servicer.intruder)] if security.token else []
        )
        self._server = grpc.server(
            self._threads, interceptors=token, options=OPTIONS, maximum_concurrent_rpcs=calls
        )  # beyond that many calls are answered RESOURCE_EXHAUSTED at once
        self._server.add_generic_rpc_handlers((self._servicer.handler(),))
        self._health = Health(self._servicer.handshakes)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        credentials = security.listening(self._servicer.handshakes.begin)
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise StoreError(f"nobody can listen on {address}: {error}") from None
        self.address = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        self._server.start()
        self._looking = Thread(target=self._look, name="handshakes", daemon=True) if credentials else None
        if self._looking is not None:
            self._looking.start()

    def _look(self) -> None:
        while not self._closed.wait(1.0):
            self._servicer.unauthenticated(self._servicer.handshakes.failed())

    def close(self, grace: float = 0.5) -> None:
        """Take no more calls, and let those under way end within `grace` seconds; health says so at once."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace).wait()
        self._threads.shutdown()
        self._closed.set()
        if self._looking is not None:
            self._looking.join()


@final
class Health(HealthServicer):  # type: ignore[misc]  # it has no types
    """Health, asked by whom certificates let in; a look at it is a call like others."""

    def __init__(self, handshakes: Handshakes) -> None:
        super().__init__()
        self._handshakes = handshakes

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - as gRPC has it
        self._handshakes.call(context.peer())
        return super().Check(request, context)
