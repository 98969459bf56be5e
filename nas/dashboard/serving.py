"""Serving: the dashboard on a socket; on loopback, or elsewhere with a token and TLS, never otherwise."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import final

import uvicorn

from nas.dashboard.access import Access
from nas.dashboard.application import application
from nas.log import Log
from workers.errors import UserError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
CONNECTIONS = 1000  # open at once


@final
@dataclass(frozen=True)
class Place:
    """Where the dashboard listens, and under which further names it may be asked for; with TLS where both files are."""

    host: str = "127.0.0.1"
    port: int = 8780
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.certificate is not None and self.key is not None

    @property
    def called(self) -> str:
        """The name for its address: one that was given, else where it listens, else this machine's."""
        if self.names or self.host not in ("0.0.0.0", "::"):
            return next(iter(self.names), f"[{self.host}]" if ":" in self.host else self.host)
        return socket.gethostname()

    def check(self, token: str | None) -> None:
        """Refuse to be open to others without a token and TLS."""
        if (self.certificate is None) != (self.key is None):
            raise UserError("TLS needs both files: give --certificate and --key")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise UserError(f"{path} is no file: TLS needs a certificate and its key, both in PEM")
        if self.loopback or (token is not None and self.secure):
            return
        lacking = [
            name for name, there in (("--token-file", token), ("--certificate and --key", self.secure)) if not there
        ]
        raise UserError(
            f"the dashboard on {self.host} could be reached from other machines: give {' and '.join(lacking)} as well, "
            "or leave --host out and come through a tunnel (ssh -L 8780:localhost:8780 this-machine)"
        )

    def answers_to(self) -> Collection[str]:
        """The names that a browser may have asked for."""
        own = {LOOPBACK[2] if self.host == "::1" else f"[{self.host}]" if ":" in self.host else self.host.lower()}
        if not self.loopback:
            own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        return {*LOOPBACK, *own, *(name.lower() for name in self.names)} - {"0.0.0.0", "[::]"}


def serve(log: Log, place: Place, token: str | None, tell: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM; `tell` gets the address once it is open."""
    place.check(token)
    scheme = "https" if place.secure else "http"
    with _socket(place) as listening:
        port = listening.getsockname()[1]
        app = application(log, Access(token, place.secure, port), place.answers_to(), scheme)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,  # addresses say what somebody looked at
            server_header=False,
            proxy_headers=False,  # who asks is who is connected
            lifespan="off",
            ws="none",
            http="h11",
            h11_max_incomplete_event_size=16 * 1024,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=2,
            ssl_certfile=place.certificate,
            ssl_keyfile=place.key,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            files = f"{place.certificate} and {place.key}"
            raise UserError(
                f"{files} are no certificate and its key: {error.strerror or error}; name PEM files"
            ) from None
        server = uvicorn.Server(config)
        tell(f"{scheme}://{place.called}:{port}/")
        server.run(sockets=[listening])


def _socket(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((place.host, place.port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(
            f"the dashboard cannot listen on {place.host}, port {place.port}: {error}; choose another --port "
            "(0 takes any that is free)"
        ) from error
    return listening
