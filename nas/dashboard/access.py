"""Access: who may look, and who may change something. Without a token everybody may look and nobody may change."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from threading import Lock
from typing import final

from starlette.datastructures import Headers

from workers.errors import UserError

SHORTEST = 24  # letters of a token: nobody guesses these
LASTS = 12 * 3600.0  # seconds of a login
LOGINS = 1000


@final
class Access:
    """A token, and the logins that it opened; of a login, a random number in a cookie, only the hash is kept.

    The cookie is named after the port, since browsers keep those of all ports of a host together.
    """

    def __init__(self, token: str | None, secure: bool = False, port: int = 8780) -> None:
        self._token = None if token is None else _digest(token)
        self.secure = secure
        self.cookie = f"{'__Host-' if secure else ''}nas_dashboard_{port}"
        self._logins: dict[bytes, float] = {}
        self._lock = Lock()

    @property
    def guarded(self) -> bool:
        """Whether there is a token: then it is needed to look as well."""
        return self._token is not None

    def knows(self, token: str) -> bool:
        """Whether this is the token; the time it takes says nothing."""
        return self._token is not None and hmac.compare_digest(_digest(token), self._token)

    def login(self) -> str:
        """A new login: what the cookie holds."""
        secret, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._logins = {one: end for one, end in self._logins.items() if end > now}
            while len(self._logins) >= LOGINS:
                del self._logins[next(iter(self._logins))]
            self._logins[_digest(secret)] = now + LASTS
        return secret

    def admits(self, headers: Headers) -> bool:
        """Whether a request brings the token (`Authorization: Bearer ...`) or the cookie of a login."""
        given = headers.get("authorization", "")
        if given[:7].lower() == "bearer ":
            return self.knows(given[7:].strip())
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        if morsel is None:
            return False
        with self._lock:
            end = self._logins.get(_digest(morsel.value))
        return end is not None and end > time.monotonic()


def read_token(path: Path) -> str:
    """The token in a file that only its owner may read."""
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the token file {path} cannot be read: {error}") from error
    if mode & 0o077:
        raise UserError(f"others may read the token file {path}: chmod 600 {path}")
    if len(token) < SHORTEST or not token.isascii() or any(letter.isspace() for letter in token):
        raise UserError(
            f"the token in {path} must be at least {SHORTEST} ASCII letters without spaces: "
            f"python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > {path}"
        )
    return token


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
