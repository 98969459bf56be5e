"""Guard: what every request must pass before a page is even looked for, whatever its verb.

A browser sends requests on behalf of any page it shows. So the name in `Host` must be one of ours (else a foreign name
that was pointed at this address could read everything: DNS rebinding); a page of another origin may neither change
anything nor load anything (`Origin`, `Sec-Fetch-Site`); and that holds for every verb, as Ray's dashboard, which forgot
DELETE, has shown (CVE-2026-27482). Paths are of plain letters: nothing in them is decoded, so nothing can be smuggled.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Collection, Mapping
from typing import final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nas.dashboard.access import Access
from nas.dashboard.refusal import Refusal, answer
from workers.redaction import redacted_text

logger = logging.getLogger("nas.dashboard")
PATH = re.compile(rb"/|(?:/[A-Za-z0-9_][A-Za-z0-9_.\-]*)+")
LONGEST_PATH, LONGEST_QUERY, LARGEST_BODY = 512, 4096, 64 * 1024  # bytes
VERBS = ("GET", "HEAD", "POST")
OPEN = ("/login", "/static/")  # what can be had before the login
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.\-]+)(?::([0-9]{1,5}))?")

HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


@final
class Guard:
    """Refuses what is not from one of our own pages or from somebody with the token; adds the headers of every answer.

    `names` are the host names we answer to, in small letters, without a port: a tunnel may change that.
    """

    def __init__(self, app: ASGIApp, access: Access, names: Collection[str], scheme: str = "http") -> None:
        self.app, self.access, self.names, self.scheme = app, access, frozenset(names), scheme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        careful = _with_headers(send)
        try:
            self._check(scope)
            await self.app(scope, _bounded(receive), careful)
        except Refusal as refusal:
            await answer(refusal, scope, receive, careful)
        except Exception as error:  # the application has answered; uvicorn would write it with all passwords in it
            logger.error(redacted_text("".join(traceback.format_exception(error))))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = self._host(headers)
        method = scope["method"]
        self._origin(headers, host, method)
        if method not in VERBS:
            raise Refusal(
                405, "This verb is not known here", f"{method[:16]} does nothing here: pages are read by GET."
            )
        _path(scope)
        _size(headers)
        path = scope["path"]
        if self.access.guarded and not path.startswith(OPEN) and not self.access.admits(headers):
            raise Refusal(401, "Please log in", "Open the address that `nas dashboard` printed when it was started.")

    def _host(self, headers: Headers) -> str:
        given = headers.getlist("host")
        found = HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None or found[1].lower() not in self.names:
            said = (given[0] if given else "none")[:80]
            raise Refusal(
                421,
                "This is not the name of this dashboard",
                f"It was asked for as {said!r}, and answers to {', '.join(sorted(self.names))}. "
                "If the name is right, start it with --name.",
            )
        return given[0].lower()

    def _origin(self, headers: Headers, host: str, method: str) -> None:
        """Refuse what a page of another origin sends; only following a link to here is free."""
        origins, site = headers.getlist("origin"), headers.get("sec-fetch-site")
        unsafe = method not in ("GET", "HEAD")
        foreign = any(origin.lower() != f"{self.scheme}://{host}" for origin in origins) or len(origins) > 1
        if site not in (None, "same-origin", "none"):
            foreign |= unsafe or headers.get("sec-fetch-mode") != "navigate"
        silent = unsafe and not origins and "authorization" not in headers  # browsers name it whenever it matters
        if foreign or silent or (unsafe and site == "none"):
            text = "Only the pages of this dashboard may ask this of it, or a program that brings the token."
            raise Refusal(403, "Another page has asked for this", text)


def _path(scope: Scope) -> None:
    raw = scope.get("raw_path") or scope["path"].encode()
    raw = raw.partition(b"?")[0]
    if len(raw) > LONGEST_PATH or not PATH.fullmatch(raw) or raw.decode("ascii") != scope["path"]:
        raise Refusal(404, "There is no such page", "Addresses here are of letters, digits, '-', '_' and '.'.")
    if len(scope.get("query_string", b"")) > LONGEST_QUERY:
        raise Refusal(414, "The address is too long", f"What is searched for may have {LONGEST_QUERY} letters at most.")


def _size(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > LARGEST_BODY:
        raise Refusal(413, "That is too much", f"A request may bring {LARGEST_BODY // 1024} KiB at most.")


def _bounded(receive: Receive) -> Receive:
    """What comes in, up to the largest body, whatever the request said about its length."""
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise Refusal(413, "That is too much", f"A request may bring {LARGEST_BODY // 1024} KiB at most.")
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def careful(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message["headers"]}
            extra = [(name.encode(), text.encode()) for name, text in HEADERS.items() if name.encode() not in known]
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    return careful
