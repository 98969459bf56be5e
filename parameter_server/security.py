"""Who may reach a shard over a network: TLS with certificates, and a token; neither is needed on this machine."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast, final

from parameter_server.store import StoreError

if TYPE_CHECKING:
    import grpc

HEADER: Final = "authorization"
SHORTEST: Final = 16  # characters of a token


@final
@dataclass(frozen=True, slots=True)
class Security:
    """Files in PEM format, and a secret; all empty is fit for loopback addresses and Unix sockets only.

    A listener has a `certificate` and its `key`; with an `authority` it only takes clients whose certificates that
    authority has signed (mTLS). A link has the `authority` that signed the listener's certificate, and with mTLS a
    `certificate` and its `key` too. Both have the `token`.
    """

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise StoreError("a certificate and its private key go together: name both files, or neither")
        if self.token and (len(self.token) < SHORTEST or not self.token.isascii() or not self.token.isprintable()):
            raise StoreError(f"a token has at least {SHORTEST} printable ASCII characters: write_token makes one")

    def listening(self, handshake: Callable[[], None]) -> grpc.ServerCredentials | None:
        """What a listener shows; None: not encrypted. Raises `StoreError` for a file that cannot be read.

        `handshake` is called whenever one begins.
        """
        if self.certificate is None or self.key is None:
            return None
        import grpc  # here, for tokens are made and read by processes that need no gRPC

        roots = None if self.authority is None else _read(self.authority)
        pair = _read(self.key), _read(self.certificate)
        shown = grpc.ssl_server_certificate_configuration([pair], roots)
        unchanged = cast("Callable[[], grpc.ServerCertificateConfiguration]", handshake)  # it gives None: as before
        return grpc.dynamic_ssl_server_credentials(shown, unchanged, roots is not None)

    def calling(self) -> grpc.ChannelCredentials | None:
        """What a link shows and expects; None: not encrypted. Raises `StoreError` for a file that cannot be read."""
        if self.authority is None:
            return None
        import grpc

        own = [None if path is None else _read(path) for path in (self.key, self.certificate)]
        credentials: grpc.ChannelCredentials = grpc.ssl_channel_credentials(_read(self.authority), *own)
        return credentials

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return ((HEADER, f"Bearer {self.token}"),) if self.token else ()


def certificate_refused(address: str, security: Security) -> bool:
    """Whether a listener ends connections for want of a certificate that it takes, which gRPC cannot tell.

    The handshake is whole for the client before the listener looks at its certificate; a listener that takes it
    speaks first, as all of HTTP/2 do. Asked twice, for a listener may also end because its process does.
    """
    if security.authority is None or address.startswith("unix"):
        return False
    host, _, port = address.rpartition(":")
    try:
        context = ssl.create_default_context(cafile=security.authority)
        context.set_alpn_protocols(["h2"])
        if security.certificate is not None:
            context.load_cert_chain(security.certificate, security.key)
        return all(_ends(context, host.strip("[]"), int(port)) for _ in range(2))
    except (OSError, ValueError):
        return False


def _ends(context: ssl.SSLContext, host: str, port: int) -> bool:
    """Whether a listener ends a connection after its handshake, without a word; raises `OSError` for one without."""
    plain = socket.create_connection((host, port), timeout=2)
    with plain, context.wrap_socket(plain, server_hostname=host) as connection:
        try:
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


def local(address: str) -> bool:
    """Whether an address ("HOST:PORT", or "unix:PATH") can only be reached from this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard_listener(address: str, security: Security) -> None:
    """Raises `StoreError` for an address that others reach, without encryption or without a token."""
    lacks = [
        name
        for name, there in (("a certificate and its key", security.certificate), ("a token", security.token))
        if not there
    ]
    if lacks and not local(address):
        raise StoreError(
            f"a listener on {address} can be reached from other machines, and has not got {' and '.join(lacks)}: "
            "listen on 127.0.0.1, or name a certificate, its key, and a file with a token"
        )


def guard_link(address: str, security: Security) -> None:
    """Raises `StoreError` where a token or gradients would leave this machine unencrypted."""
    if security.authority is None and not local(address):
        raise StoreError(
            f"{address} is on another machine, and nothing says which authority signed its certificate: "
            "name the authority's file, so that what is sent is encrypted, and to the right one"
        )


def write_token(path: Path) -> str:
    """Make a token in a file that only this user may read, and that was not there before."""
    token = secrets.token_urlsafe(32)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token


def read_token(path: Path) -> str:
    """The token in a file; raises `StoreError` when others may read or write the file, or it holds no token."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read(1024)
    except OSError as error:
        raise StoreError(f"the token cannot be read from {path}: {error.strerror}") from None
    if mode & 0o077:
        raise StoreError(f"{path} holds a token and has the mode {mode:o}, so others may use it: chmod 600 {path}")
    token = content.decode("ascii", "replace").strip()
    if not token:
        raise StoreError(f"{path} is empty, but should hold a token")
    return Security(token=token).token


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
