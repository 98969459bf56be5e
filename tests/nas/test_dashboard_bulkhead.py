"""What takes long, or never ends, keeps no other page waiting, and says so to who asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from asking import HERE, ask
from histories import JOB, Invented
from starlette.types import ASGIApp

from nas.dashboard.access import Access
from nas.dashboard.application import application
from nas.dashboard.bulkhead import Bulkhead
from nas.dashboard.refusal import Refusal
from nas.history import Entry
from nas.log import Log
from nas.logs.sqlite import SqliteLog

TOKEN = "correct-horse-battery-staple-0123456789"
BEARER = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
MANY = 250  # more than a browser with forty tabs asks for


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = SqliteLog(tmp_path)
    opened.create("cells-7", {**JOB, "artifacts": {"place": str(tmp_path)}}, {})
    epoch = opened.acquire("cells-7")
    opened.append("cells-7", epoch, [one for one in Invented(20).entries() if one.kind not in ("driver", "state")])
    yield opened
    opened.close()


@pytest.fixture
def app(log: Log) -> ASGIApp:
    return application(log, Access(TOKEN), ["127.0.0.1"])


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("nas.dashboard.studio.Studio.draw", "/searches/cells-7/trials/5/drawing"),
        ("nas.dashboard.studio.Studio.fields", "/searches/cells-7/enqueue"),
        ("nas.dashboard.pages.papers", "/searches/cells-7/trials/5/files"),
        ("nas.dashboard.pages.file", "/searches/cells-7/trials/5/files/1/traceback.txt"),
    ],
)
def test_what_hangs_keeps_no_other_page_waiting(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch, what: str, path: str
) -> None:
    begun, held = Event(), Event()

    def hang(*given: object) -> object:
        begun.set()
        assert held.wait(60)
        raise ValueError("it was held")

    monkeypatch.setattr(what, hang)
    found = asyncio.run(asked(app, path, begun, held))
    assert found["page"].status_code == 200
    assert found["login"].status_code == 200
    refused = [one for one in found["pieces"] if one.status_code == 503]
    assert 100 < len(refused) < MANY
    assert all(one.headers["retry-after"] == "2" and "look again" in one.text for one in refused)


async def asked(app: ASGIApp, path: str, begun: Event, held: Event) -> dict[str, Any]:
    """The answers to many who ask for what hangs, and to one who asks for pages meanwhile."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HERE, headers=BEARER) as client:
        pieces = [asyncio.create_task(client.get(path)) for _ in range(MANY)]
        while not begun.is_set():
            await asyncio.sleep(0.01)
        try:
            page = await asyncio.wait_for(client.get("/searches/cells-7"), 30)
            login = await asyncio.wait_for(client.get("/login"), 30)
        finally:
            held.set()
        return {"page": page, "login": login, "pieces": await asyncio.gather(*pieces)}


def test_what_is_being_read_is_not_waited_for(log: Log, app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    held, entries = Event(), log.entries

    def slow(search: str, after: int = 0) -> Iterator[Entry]:
        assert held.wait(60)
        return entries(search, after)

    monkeypatch.setattr(log, "entries", slow)
    try:
        assert "being read" in ask(app, "/searches/cells-7/trials/5", headers=BEARER).text
        for path in ("trials/5/drawing", "trials/5/files", "trials/5/files/1/traceback.txt", "enqueue"):
            answer = ask(app, f"/searches/cells-7/{path}", headers={**BEARER, "accept": "application/json"})
            assert answer.status == 503
            assert "is being read" in answer.json()["error"]
    finally:
        held.set()


def run(room: Bulkhead, call: Callable[[], object]) -> object:
    return asyncio.run(room.run(call))


def test_a_call_gives_what_it_gives_and_raises_what_it_raises() -> None:
    room = Bulkhead("This", 1, 0)

    def late() -> None:
        raise TimeoutError("the store is silent")

    for _ in range(3):  # its thread goes on
        assert run(room, lambda: 7) == 7
        with pytest.raises(TimeoutError, match="the store is silent"):
            run(room, late)


def test_who_waits_too_long_is_told_whether_it_goes_on() -> None:
    room, held, ended, came = Bulkhead("This", 1, 1, patience=0.05), Event(), Event(), list[int]()

    def long() -> None:
        assert held.wait(60)
        ended.set()

    with pytest.raises(Refusal, match="takes long, and goes on"):
        run(room, long)
    with pytest.raises(Refusal, match="has to wait for others"):
        run(room, lambda: came.append(1))
    with pytest.raises(Refusal, match="asked for too often"):
        run(room, lambda: came.append(2))
    held.set()
    assert ended.wait(60)
    while True:  # what was given up may not have been thrown away yet
        try:
            run(room, lambda: came.append(3))
            break
        except Refusal:
            continue
    assert came == [3]
