"""Access: who may see metrics. Programs of this machine, or whoever has a token, over TLS."""

from __future__ import annotations

import hmac
import os
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

from parameter_server.security import SHORTEST, local
from workers.errors import UserError


@final
@dataclass(frozen=True, slots=True)
class Access:
    """A bearer token that every request has to show, a certificate and its key; without them only loopback is fit."""

    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def of(cls, token: Path | None, certificate: Path | None, key: Path | None) -> Access:
        """What these files hold; `UserError` where the token cannot be read, or others may read it."""
        return cls("" if token is None else _read(token), certificate, key)

    @property
    def scheme(self) -> str:
        """How addresses begin."""
        return "https" if self.certificate is not None else "http"

    def admits(self, authorization: str | None) -> bool:
        """Whether a request with this header may be answered; takes as long for a wrong token as for a right one."""
        if not self.token:
            return True
        return hmac.compare_digest((authorization or "").encode(), f"Bearer {self.token}".encode())

    def context(self) -> ssl.SSLContext | None:
        """What connections are encrypted with; None: they are not. `UserError` for files that do not serve."""
        if self.certificate is None or self.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            files = f"{self.certificate} and {self.key}"
            raise UserError(
                f"watch metrics: {files} are no certificate and its key: {error.strerror or error}; name PEM files"
            ) from None
        return context


def numeric(host: str | None) -> bool:
    """Whether a request was addressed to a number or to localhost, by its `Host`.

    Any other name may be one that a web page in this machine's browser had pointed here, to read what stands here (DNS
    rebinding).
    """
    try:
        name = urlsplit(f"//{host}").hostname if host else None
        return name in (None, "localhost") or bool(ip_address(str(name)))
    except ValueError:
        return False


def _read(path: Path) -> str:
    """The token in a file, which its owner's group may read, as the secrets of a container often are."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            token = file.read(1024).decode("ascii", "replace").strip()
    except OSError as error:
        raise UserError(f"watch metrics: the token cannot be read from {path}: {error.strerror}") from None
    if mode & 0o037:
        raise UserError(f"watch metrics: {path} holds a token and has the mode {mode:o}: chmod 600 {path}, or 640")
    if len(token) < SHORTEST or not token.isprintable():
        raise UserError(
            f"watch metrics: {path} holds no token of at least {SHORTEST} printable characters: "
            f"openssl rand -base64 32 > {path} makes one"
        )
    return token


def guard(host: str, token: str | None, certificate: str | None, key: str | None) -> None:
    """Raise `UserError` where others could see metrics without a token or in the clear."""
    if (certificate is None) != (key is None):
        raise UserError("certificate and key, the PEM files of TLS, go together: name both, or neither")
    lacks = [name for name, given in (("token", token), ("certificate and key", certificate)) if given is None]
    if lacks and not local(f"{host}:0"):
        raise UserError(
            f"host is {host!r}, which other machines reach, but metrics there have no {' and no '.join(lacks)}: "
            "name files with them, or leave host out, which is then 127.0.0.1"
        )
