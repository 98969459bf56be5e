"""Server: answers scrapes over HTTP in threads beside the driver's."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import Any, Final, final

from nas.metrics.access import Access, numeric
from workers.errors import UserError

FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus, which reads it since ever
AT_ONCE: Final = 16  # connections; for one more the oldest goes that has asked nothing yet
SLOWEST: Final = 5.0  # seconds of a client that says nothing, or takes no answer
REGULARLY: Final = 90.0  # seconds between two readings of one who comes again


@final
class MetricsServer(ThreadingMixIn, HTTPServer):
    """Listens as soon as it is made; `page` gives what stands under a path, None where nothing does.

    Raises `UserError` where the address is taken, or none of this machine's.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64  # of five, as the library has it, a sixth would wait for a second

    def __init__(self, host: str, port: int, access: Access, page: Callable[[str], bytes | None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.access, self.page = access, page
        self._context = access.context()
        self._open: dict[socket.socket, bool] = {}  # connections, the oldest first, and whether they have asked
        self._lock = Lock()
        self._asked: dict[str, float] = {}  # pages that were read, and when for the last time
        self._born = time.monotonic()
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

    def linger(self, path: str, seconds: float) -> None:
        """Go on answering for so many seconds, where somebody reads a page regularly, or may yet come for it.

        Not until the next time only: of two who read regularly, both are to see it.
        """
        if time.monotonic() - self._asked.get(path, self._born) < REGULARLY:
            time.sleep(seconds)

    def was_read(self, path: str) -> None:
        """Note that somebody has read a page to its end."""
        self._asked[path] = time.monotonic()

    def heard(self, request: socket.socket) -> None:
        """Note that a connection has asked for something, and may stay until it is answered."""
        with self._lock:
            if request in self._open:
                self._open[request] = True

    def _accept(self) -> None:
        """One more connection, in a thread of its own, if there is room or can be made."""
        with suppress(OSError):
            request, address = self.get_request()
            request.settimeout(SLOWEST)
            if self._context is not None:
                request = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            if self._admitted(request):
                self.process_request(request, address)
            else:
                self.shutdown_request(request)

    def _admitted(self, request: socket.socket) -> bool:
        """Whether there is room; who only holds a connection, to ask some day or byte by byte, has to make it."""
        with self._lock:
            if len(self._open) >= AT_ONCE:
                silent = next((one for one, heard in self._open.items() if not heard), None)
                if silent is None:
                    return False
                del self._open[silent]
                with suppress(OSError):
                    socket.socket.shutdown(silent, socket.SHUT_RDWR)  # wakes its thread, also out of a handshake
            self._open[request] = False
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, from the handshake on, so that a client that dawdles keeps nobody waiting."""
        try:
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
            self.finish_request(request, client_address)
        except OSError:
            pass  # who asked has gone, or speaks something else
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nobody reads what would be printed here."""


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of a page."""

    server: MetricsServer
    server_version = "cellwright"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.heard(self.connection)
        if not self.server.access.admits(self.headers.get("Authorization")):
            self._answer(401, b"show the token: Authorization: Bearer TOKEN\n", {"WWW-Authenticate": "Bearer"})
            return
        if not self.server.access.token and not numeric(self.headers.get("Host")):
            self._answer(421, b"ask for this machine by its address, not by a name; or have a token\n")
            return
        try:
            body = self.server.page(path)
        except Exception as error:  # Prometheus counts it as down; a driver's terminal is about its search
            self._answer(500, f"{type(error).__name__}\n".encode())
            return
        if body is None:
            self._answer(404, b"nothing is here; metrics are at /metrics\n")
        else:
            self._answer(200, body, {"Content-Type": FORMAT})
            self.server.was_read(path)

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
