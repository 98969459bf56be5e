"""Server: answers scrapes over HTTP in threads beside the driver's."""

from __future__ import annotations

import selectors
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any, Final, final

from nas.metrics.access import Access, numeric
from workers.errors import UserError

FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus, which reads it since ever
AT_ONCE: Final = 16  # connections; more are closed unheard
SLOWEST: Final = 10.0  # seconds of a client that says nothing


@final
class MetricsServer(ThreadingMixIn, HTTPServer):
    """Listens as soon as it is made; `page` gives what stands under a path, None where nothing does.

    Raises `UserError` where the address is taken, or none of this machine's.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, host: str, port: int, access: Access, page: Callable[[str], bytes | None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.access, self.page = access, page
        self._context = access.context()
        self._room = BoundedSemaphore(AT_ONCE)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"watch metrics cannot listen at {host}:{port}: {getattr(error, 'strerror', None) or error}; "
                "choose another port, or leave it out, and the system chooses one"
            ) from None
        self._waking, self._woken = socket.socketpair()
        self._thread = Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def close(self) -> None:
        """Listen no more; requests under way are left to themselves."""
        self._waking.send(b"\0")
        self._thread.join()
        self.server_close()
        self._waking.close()
        self._woken.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._woken in ready:
                    return
                self._accept()

    def _accept(self) -> None:
        """One more connection, in a thread of its own if there is room."""
        with suppress(OSError):
            request, address = self.get_request()
            if self._room.acquire(blocking=False):
                self.process_request(request, address)
            else:
                self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, from the handshake on, so that a client that dawdles keeps nobody waiting."""
        try:
            request.settimeout(SLOWEST)
            if self._context is not None:
                request = self._context.wrap_socket(request, server_side=True)
            self.finish_request(request, client_address)
        except (OSError, ssl.SSLError):
            pass  # who asked has gone, or speaks something else
        finally:
            self.shutdown_request(request)
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nobody reads what would be printed here."""


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of a page."""

    server: MetricsServer
    server_version = "cellwright"
    sys_version = ""

    def do_GET(self) -> None:
        if not self.server.access.admits(self.headers.get("Authorization")):
            self._answer(401, b"show the token: Authorization: Bearer TOKEN\n", {"WWW-Authenticate": "Bearer"})
            return
        if not self.server.access.token and not numeric(self.headers.get("Host")):
            self._answer(421, b"ask for this machine by its address, not by a name; or have a token\n")
            return
        try:
            body = self.server.page(self.path.partition("?")[0])
        except Exception as error:  # Prometheus counts it as down; a driver's terminal is about its search
            self._answer(500, f"{type(error).__name__}\n".encode())
            return
        if body is None:
            self._answer(404, b"nothing is here; metrics are at /metrics\n")
        else:
            self._answer(200, body, {"Content-Type": FORMAT})

    do_HEAD = do_GET  # noqa: N815 - as the library has it

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a driver's output is about its search."""
