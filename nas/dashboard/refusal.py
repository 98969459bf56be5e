"""Refusal: an answer that is no page of a search, in words for people; as a page, or as JSON for a script."""

from __future__ import annotations

from typing import final

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from nas.dashboard.rendering import render
from workers.redaction import redacted_text


@final
class Refusal(Exception):  # noqa: N818 - it is an answer
    """What is wrong: a status of HTTP, a title, and what can be done about it."""

    def __init__(self, status: int, title: str, text: str) -> None:
        super().__init__(text)
        self.status, self.title, self.text = status, title, redacted_text(text)


def response(refusal: Refusal, headers: Headers) -> Response:
    """The answer as whoever asked can read it."""
    later = {"retry-after": "2"} if refusal.status == 503 else {}  # seconds
    if "application/json" in headers.get("accept", ""):
        return JSONResponse({"error": refusal.text}, refusal.status, later)
    return HTMLResponse(render("refusal.html", refusal=refusal), refusal.status, later)


async def answer(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer."""
    await response(refusal, Headers(scope=scope))(scope, receive, send)
