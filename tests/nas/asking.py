"""Requests as no well-behaved client sends them: any verb, any bytes as a path, any headers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, final
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp

HOST = "127.0.0.1:8780"
HERE = f"http://{HOST}"


@final
@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: ASGIApp,
    path: bytes | str,
    method: str = "GET",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    host: str | None = HOST,
) -> Answer:
    """Send one request as a server would hand it over: the path decoded, and as it came."""
    raw = path.encode() if isinstance(path, str) else path
    raw, _, query = raw.partition(b"?")
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if host is not None:
        pairs.insert(0, ("host", host))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw).decode("utf-8", "replace"),
        "raw_path": raw,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8780),
        "state": {},
    }
    sent: list[MutableMapping[str, Any]] = []
    pieces = [body[i : i + 4096] for i in range(0, len(body), 4096)] or [b""]

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    started = [message for message in sent if message["type"] == "http.response.start"]
    assert len(started) == 1, started
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(started[0]["status"], {k.decode(): v.decode() for k, v in started[0]["headers"]}, content)
