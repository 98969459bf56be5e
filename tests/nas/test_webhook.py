"""Webhooks against a real server of this machine: one that listens, refuses, fails, hangs, redirects, is not there."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from histories import Invented
from watched import watched

from nas.watchers import webhook
from nas.watchers.webhook import Webhook
from workers.errors import UserError

HISTORY = Invented(trials=30, tested=False).history()


class Server:
    """Answers the codes in turn, the last one for ever; None hangs until the test is over, and `requests` are kept."""

    def __init__(self, *codes: int | None) -> None:
        self.codes = list(codes)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.over = Event()
        self.port = 0

    @contextmanager
    def up(self) -> Iterator[str]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.port}/hooks/token-of-mine"
        finally:
            self.over.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # what a redirect would be followed with
                self.do_POST()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((dict(self.headers), body))
                code = outer.codes.pop(0) if len(outer.codes) > 1 else outer.codes[0]
                if code is None:
                    outer.over.wait(60)
                    return
                with suppress(OSError):
                    self.send_response(code)
                    if code in (301, 307):
                        self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "PAUSE", 0.01)


def end(tmp_path: Path, url: str, **options: Any) -> float:
    """The seconds for which the end of a search waits."""
    watcher = Webhook(watched(tmp_path), url=url, **options)
    began = time.monotonic()
    watcher.end(HISTORY, "finished", "the budget of 30 trials is spent")
    return time.monotonic() - began


def test_the_end_is_told_once(tmp_path: Path) -> None:
    server = Server(204)
    with server.up() as url:
        end(tmp_path, url)
    ((headers, body),) = server.requests
    said = json.loads(body)
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Cellwright-Delivery"] == "cells-7/1/finished"
    assert "X-Cellwright-Signature" not in headers
    assert {name: said[name] for name in ("search", "name", "state", "reason")} == {
        "search": "cells-7",
        "name": "cells",
        "state": "finished",
        "reason": "the budget of 30 trials is spent",
    }
    assert said["trials"] == {"asked": 30, "running": 0, "waiting": 0, "completed": 28, "failed": 2}
    best = max(record.result.metrics.get("accuracy", 0) for record in HISTORY.searched() if record.result)
    assert said["best"][0]["metrics"]["accuracy"] == best
    assert said["seconds"] == HISTORY.worked
    assert said["objectives"] == [{"metric": "accuracy", "direction": "maximize"}]


def test_who_has_the_secret_can_check_who_spoke(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("correct horse\n")
    server = Server(500, 200)
    with server.up() as url:
        end(tmp_path, url, secret_file="secret")
    assert len(server.requests) == 2
    for headers, body in server.requests:
        signed = headers["X-Cellwright-Timestamp"].encode() + b"." + body
        expected = hmac.new(b"correct horse", signed, hashlib.sha256).hexdigest()
        assert headers["X-Cellwright-Signature"] == f"sha256={expected}"
        assert abs(int(headers["X-Cellwright-Timestamp"]) - time.time()) < 60
        assert b"correct horse" not in body + repr(headers).encode()
    assert len({headers["X-Cellwright-Delivery"] for headers, _ in server.requests}) == 1


@pytest.mark.parametrize(
    ("codes", "tries", "fails"),
    [((503, 429, 200), 3, ""), ((500,), 4, "answered 500"), ((404,), 1, "answered 404"), ((307,), 1, "answered 307")],
)
def test_what_may_pass_is_tried_again_and_nothing_else(
    tmp_path: Path, codes: tuple[int, ...], tries: int, fails: str
) -> None:
    server = Server(*codes)
    with server.up() as url:
        if fails:
            with pytest.raises(UserError, match=f"127.0.0.1:{server.port} {fails}") as raised:
                end(tmp_path, url)
            assert "token-of-mine" not in str(raised.value)
        else:
            end(tmp_path, url)
    assert len(server.requests) == tries


def test_a_server_that_hangs_holds_the_driver_up_for_its_patience_alone(tmp_path: Path) -> None:
    server = Server(None)
    with server.up() as url:
        began = time.monotonic()
        with pytest.raises(UserError, match=r"took longer than 0\.5 s"):
            end(tmp_path, url, timeout=30.0, patience=0.5)
        assert time.monotonic() - began < 15
        with pytest.raises(UserError, match=r"cannot be reached \(TimeoutError\)"):
            end(tmp_path, url, timeout=0.05, retries=1, patience=30.0)
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127.0.0.1:{port} cannot be reached \(ConnectionRefusedError\)"):
            end(tmp_path, f"http://127.0.0.1:{port}/token-of-mine", retries=1)


def make(**options: Any) -> Callable[[Path], Webhook]:
    return lambda folder: Webhook(watched(folder), **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "file:///etc/passwd"}, "must be http or https"),
        ({"url": "ftp://host/x"}, "must be http or https"),
        ({"url": "example.org/x"}, "must be http or https"),
        ({"url": "https://me:hidden@example.org/x"}, "holds a name or a password"),
        ({"url": "https://[::1"}, "is none"),
        ({"url": "https://host:port/x"}, "is none"),
        ({}, "either url or url_file"),
        ({"url": "https://a/", "url_file": "b"}, "either url or url_file"),
        ({"url_file": "missing"}, "cannot read its url_file"),
        ({"url": "https://a/", "secret_file": "empty"}, "is empty"),
        ({"url": "https://a/", "secret_file": "binary"}, "it is no text"),
    ],
)
def test_a_mistake_is_said_before_the_search(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UserError, match=says) as raised:
        make(**options)(tmp_path)
    assert "hidden" not in str(raised.value)


def test_a_url_that_is_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    server = Server(200)
    with server.up() as url:
        (tmp_path / "url").write_text(f"{url}\n")
        watcher = Webhook(watched(tmp_path), url_file="url")
        watcher.end(HISTORY, "stopped", "a user asked for it")
    assert len(server.requests) == 1
