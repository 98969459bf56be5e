"""The pages: well formed, honest, harmless whatever stands in a journal, and sending only what has changed."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from histories import JOB, Invented
from starlette.testclient import TestClient
from test_report import Page

from nas.dashboard.access import Access
from nas.dashboard.application import application
from nas.dashboard.filing import SHOWN
from nas.dashboard.refusal import Refusal
from nas.dashboard.rendering import assets, environment, plain
from nas.history import Entry
from nas.log import Log
from nas.logs.sqlite import SqliteLog
from nas.standing import current, snapshot
from nas.summary import objectives
from search_spaces.decisions import Candidate
from workers.artifacts import Artifacts
from workers.exhibits import attention
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

ROOT = Path(__file__).parents[2]
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
PAGES = ("/", "/searches/cells-7", "/searches/cells-7/trials/5", "/searches/cells-7/trials/14", "/login", "/nowhere")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = SqliteLog(tmp_path)
    yield opened
    opened.close()


def fill(log: Log, trials: int = 40, job: Mapping[str, Json] = JOB, search: str = "cells-7") -> int:
    assert log.folder is not None
    log.create(search, {**job, "artifacts": {"place": str(log.folder)}}, {})
    epoch = log.acquire(search)
    log.append(search, epoch, [one for one in Invented(trials).entries() if one.kind not in ("driver", "state")])
    return epoch


def client(log: Log) -> TestClient:
    return TestClient(application(log, Access(None), ["testserver"]), raise_server_exceptions=False)


def read(text: str) -> Page:
    """A page as a parser sees it that wants every element closed."""
    return Page(re.sub(r"<(link|input)\b([^>]*)>", r"<\1\2/>", text.replace("<!doctype html>", "")))


def test_every_page_is_well_formed_and_loads_nothing_from_elsewhere(log: Log) -> None:
    fill(log)
    browser = client(log)
    for path in PAGES:
        text = browser.get(path).text
        parsed = read(text)
        assert parsed.open == [], path
        for tag, name, value in parsed.attributes:
            if name in ("src", "href", "action"):
                assert re.fullmatch(r"[/#?][^/].*|/", value), (path, tag, value)
            assert not name.startswith("on"), (path, tag, name)
            assert name != "style", (path, tag)
        assert not re.search(r"<script>|<style", text)


def test_a_page_says_what_the_journal_says(log: Log) -> None:
    fill(log)
    text = read(client(log).get("/searches/cells-7").text).text
    history = Invented(40).history()
    own = [
        r.result.metrics["accuracy"]
        for r in history.trials.values()
        if r.arm == "strategy" and r.completed and r.result
    ]
    assert f"{max(own):.2%}" in text
    assert "40 of 100 trials" in text
    assert "38 completed, 2 failed" in text
    assert "test accuracy 96.11%" in text


def test_the_list_has_every_search_with_its_best(log: Log) -> None:
    fill(log, search="one")
    fill(log, 10, search="two")
    browser = client(log)
    for search in ("one", "two"):
        browser.get(f"/searches/{search}")
    text = browser.get("/").text
    assert text.index("/searches/two") < text.index("/searches/one")
    assert text.count('class="spark"') == 2


def test_a_long_front_says_that_there_is_more_of_it(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.dashboard.parts.FRONT", 3)
    ways = {"accuracy": "maximize", "parameters": "minimize"}
    two: list[Json] = [{"metric": name, "direction": way} for name, way in ways.items()]
    fill(log, 80, {**JOB, "objectives": two})
    text = client(log).get("/searches/cells-7").text
    front = Invented(80).history().front(objectives({"objectives": two}))
    assert len(front) > 3
    assert f"The best 3 of {len(front)} by accuracy." in text
    assert "none is better in both accuracy and parameters" in text  # what the axes are, also where a phone hides names


def test_a_search_without_a_driver_says_how_it_goes_on(log: Log) -> None:
    epoch = fill(log)
    log.release("cells-7", epoch, "interrupted", "a signal")
    text = read(client(log).get("/searches/cells-7").text).text
    assert "Interrupted: a signal." in text
    assert "nas resume cells-7 goes on." in text


def test_what_stands_in_a_journal_is_text_and_nothing_else(log: Log) -> None:
    job = {**JOB, "name": EVIL, "objectives": [{"metric": EVIL, "direction": "maximize"}], "task": {"name": EVIL}}
    epoch = fill(log, 3, job, "evil")
    trial = Trial(90, Candidate({EVIL: EVIL}), 3, 3, note={"arm": EVIL})
    result = Result(90, 1, Outcome.COMPLETED, {EVIL: 0.5, "loss": 1.0}, 3, 1.0, device=EVIL)
    failed = Result(91, 1, Outcome.FAILED, {}, 0, 1.0, error=EVIL)
    log.append(
        "evil",
        epoch,
        [
            Entry(0, 1.0, "ask", 90, trial.json()),
            Entry(0, 1.0, "attempt", 90, {"number": 1}),
            *(Entry(0, 2.0, "progress", 90, {"attempt": 1, "epoch": e, "metrics": {EVIL: 0.1 * e}}) for e in (1, 2)),
            Entry(0, 3.0, "tell", 90, result.json()),
            Entry(0, 1.0, "ask", 91, {**trial.json(), "id": 91}),
            Entry(0, 1.0, "attempt", 91, {"number": 1}),
            Entry(0, 3.0, "tell", 91, failed.json()),
            Entry(0, 4.0, "note", None, {"text": EVIL}),
        ],
    )
    log.release("evil", epoch, "failed", EVIL)
    browser = client(log)
    paths = [
        "/",
        "/searches/evil",
        "/searches/evil/trials/90",
        "/searches/evil/trials/91",
        f"/searches/evil?text={EVIL}",
    ]
    paths += ["/searches/evil/trials/90/drawing", f"/searches/evil?sort={EVIL}&state={EVIL}&arm={EVIL}"]
    for path in paths:
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path
    live = browser.get("/searches/evil/live").json()["parts"]
    assert all("<script" not in part["html"] and "<img" not in part["html"] for part in live.values())
    assert "&lt;script&gt;alert" in browser.get("/searches/evil").text


def test_only_what_changed_is_sent(log: Log) -> None:
    epoch = fill(log)
    browser = client(log)
    tags = dict(re.findall(r'data-part="(\w+)" data-tag="(\w+)"', browser.get("/searches/cells-7?state=failed").text))
    have = ",".join(f"{name}:{tag}" for name, tag in tags.items())
    address = "/searches/cells-7/live"
    steady = browser.get(address, params={"state": "failed", "have": have}).json()["parts"]
    assert set(steady) <= {"busy", "timeline"}  # which move with the clock while something runs
    log.append("cells-7", epoch, [Entry(0, 1e10, "note", None, {"text": "the moon is full"})])
    seen: dict[str, str] = {}
    while "events" not in seen:
        seen = browser.get(address, params={"state": "failed", "have": have}).json()["parts"]
    assert "the moon is full" in json.dumps(seen["events"])
    assert not {"race", "trade", "trials", "front"} & set(seen)


def test_the_table_is_filtered_sorted_and_paged(log: Log) -> None:
    fill(log, 80)
    browser = client(log)

    def shown(query: str) -> list[int]:
        text = browser.get(f"/searches/cells-7?{query}").text
        body = text[text.index('<table id="table">') :]
        body = body[: body.index("</table>")]
        return [int(number) for number in re.findall(r"/trials/(\d+)\">", body)]

    whole = Invented(80).history().trials
    failed = [number for number, one in whole.items() if one.result and one.result.outcome is Outcome.FAILED]
    assert shown("state=failed") == failed[::-1]
    scores = {n: r.result.metrics["accuracy"] for n, r in whole.items() if r.result and "accuracy" in r.result.metrics}
    best = sorted(scores, key=scores.__getitem__, reverse=True)
    assert shown("sort=accuracy") == best[:25]
    assert shown("sort=accuracy&page=2") == best[25:50]
    assert 'aria-sort="descending"' in browser.get("/searches/cells-7?sort=accuracy").text
    assert 'aria-sort="ascending"' in browser.get("/searches/cells-7?sort=loss").text
    assert shown("sort=accuracy&down=1")[0] == best[-1]
    assert shown("page=99999") == shown("page=4")
    assert shown("text=no+such+thing") == []


def test_the_page_of_a_trial_has_its_network_curves_files_and_error(log: Log) -> None:
    fill(log)
    place = Artifacts.open(str(log.folder))
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 20
    place.put("cells-7", 14, 1, "traceback.txt", b"Traceback: <b>here</b>")
    place.put("cells-7", 14, 1, "exhibit-00002-samples.png", png)
    place.put("cells-7", 14, 1, "exhibit-00002-alignment.json", attention(["a"], ["<b>"], [[0.72]]))
    place.put("cells-7", 14, 1, "exhibit-00002-fake.png", b"<html>")
    browser = client(log)
    text = browser.get("/searches/cells-7/trials/14").text
    assert "DivergedError: loss became nan at 14" in text
    drawn = browser.get("/searches/cells-7/trials/14/drawing").text
    assert drawn.count("<svg") == 2
    assert "multiply-adds" in drawn
    files = browser.get("/searches/cells-7/trials/14/files").text
    assert "Traceback: &lt;b&gt;here" in files
    assert '<td class="w7">' in files
    picture = browser.get("/searches/cells-7/trials/14/files/1/exhibit-00002-samples.png")
    assert (picture.headers["content-type"], picture.content) == ("image/png", png)
    fake = browser.get("/searches/cells-7/trials/14/files/1/exhibit-00002-fake.png")
    assert fake.headers["content-type"] == "application/octet-stream"
    assert fake.headers["content-disposition"].startswith("attachment")
    assert browser.get("/searches/cells-7/trials/14/files/1/checkpoint.safetensors").status_code == 404


def test_of_many_logs_the_last_are_shown_and_all_are_named(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log)
    place, read = Artifacts.open(str(log.folder)), list[str]()
    for attempt in range(1, 61):
        place.put("cells-7", 14, attempt, "trial.log", f"attempt {attempt} said".encode())
        place.put("cells-7", 14, 60, f"exhibit-{attempt:05}-text.txt", b"written")
    get = Artifacts.get

    def counted(self: Artifacts, search: str, trial: int, attempt: int, name: str) -> bytes:
        read.append(name)
        return get(self, search, trial, attempt, name)

    monkeypatch.setattr(Artifacts, "get", counted)
    files = client(log).get("/searches/cells-7/trials/14/files").text
    assert len(read) == 2 * SHOWN
    assert "attempt 60 said" in files
    assert "attempt 3 said" not in files
    assert files.count(">trial.log</a>") == 60
    assert files.count("-text.txt</a>") == 60


@pytest.mark.parametrize(
    "spoiled",
    [
        {"weights": 7, "rows": [], "columns": []},
        {"weights": [["x"]], "rows": ["a"], "columns": ["b"]},
        {"weights": [[None]], "rows": ["a"], "columns": ["b"]},
        {"weights": [[1.0]], "rows": 1, "columns": ["b"]},
        {"weights": [[10**400]], "rows": ["a"], "columns": ["b"]},
    ],
)
def test_a_map_that_is_none_hides_no_traceback(log: Log, spoiled: Mapping[str, Json]) -> None:
    fill(log)
    place = Artifacts.open(str(log.folder))
    place.put("cells-7", 14, 1, "traceback.txt", b"Traceback: here")
    place.put("cells-7", 14, 1, "exhibit-00001-a.json", json.dumps({"kind": "attention", **spoiled}).encode())
    place.put("cells-7", 14, 1, "exhibit-00002-b.json", 3_000 * b"[")
    place.put("cells-7", 14, 1, "exhibit-00003-c.json", b"[1]")
    files = client(log).get("/searches/cells-7/trials/14/files").text
    assert "Traceback: here" in files
    assert "&#34;weights&#34;" in files


def test_errors_are_pages_for_people_and_json_for_scripts(log: Log) -> None:
    fill(log)
    browser = client(log)
    missing = browser.get("/searches/cells-8")
    assert missing.status_code == 404
    assert "did you mean cells-7?" in missing.text
    assert browser.get("/searches/cells-7/trials/999").status_code == 404
    assert browser.get("/searches/cells-7/trials/seven").status_code == 404
    told = browser.get("/searches/cells-8/live", headers={"accept": "application/json"})
    assert "did you mean" in told.json()["error"]
    assert browser.get("/nowhere").status_code == 404
    assert browser.post("/", headers={"authorization": "Bearer x"}).status_code == 405


def test_a_journal_that_is_spoiled_has_a_page_too(log: Log, tmp_path: Path) -> None:
    fill(log)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.sqlite").write_bytes(b"SQLite format 3\x00" + b"nonsense" * 900)
    browser = client(log)
    assert "damaged" in browser.get("/").text
    assert browser.get("/searches/broken").status_code in (400, 404, 500)
    assert browser.get("/searches/cells-7").status_code == 200


def test_no_template_switches_escaping_off() -> None:
    assert environment().autoescape is True
    for path in (ROOT / "nas/dashboard/templates").glob("*.html"):
        assert not re.search(r"\|\s*safe\b|autoescape", path.read_text()), path


def test_the_files_of_the_pages_are_part_of_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["nas.dashboard"]
    folder = ROOT / "nas/dashboard"
    packed = {one for pattern in patterns for one in folder.glob(pattern)}
    assert packed == {one for one in folder.rglob("*") if one.is_file() and one.suffix not in (".py", ".pyc")}
    assert set(assets()) == {"dashboard.css", "dashboard.js", "login.js", "icon.svg"}


def test_passwords_in_addresses_are_left_out() -> None:
    text = plain("journal: {place: 'postgresql://me:sec/ret@db/nas'}\nsee http://a:b@c, url: https://h/x?token=secret")
    assert "secret" not in text
    assert "postgresql://me:***@db/nas" in text
    assert "b@c" not in text
    assert "https://h/x?token=***" in text
    assert "secret" not in Refusal(400, "No", "s3://key:secret@bucket cannot be reached").text


def test_the_list_needs_no_page_of_a_search_to_have_been_open(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(log, search="short")
    epoch = fill(log, 60, search="long")
    log.keep("long", epoch, snapshot(current(log, log.header("long"))))
    entries, read = log.entries, list[str]()

    def late(search: str, after: int = 0) -> Iterator[Entry]:
        read.append(search)
        assert search == "short" or after > 100, "a long journal is read as a whole"
        return entries(search, after)

    monkeypatch.setattr(log, "entries", late)
    browser = client(log)
    text = ""
    while text.count("%</b>") < 2:
        text = browser.get("/").text
        assert "damaged" not in text
    assert set(read) == {"short", "long"}
    assert text.count('class="spark"') == 2
    best = {n: max(_scores(n)) for n in (40, 60)}
    assert all(f"<b>{score:.2%}</b>" in text for score in best.values())
    assert "60 of 100" in text


def test_a_list_that_is_cut_says_so(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "three"):
        log.create(name, dict(JOB), {})
    assert "The newest" not in client(log).get("/").text
    monkeypatch.setattr("nas.dashboard.overview.LISTED", 2)
    assert "The newest 2 of 3" in client(log).get("/").text


def _scores(trials: int) -> Iterator[float]:
    records = Invented(trials).history().searched()
    return (record.result.metrics["accuracy"] for record in records if record.result and record.completed)


def test_texts_stand_out_from_what_they_stand_on() -> None:
    """Contrast by WCAG 2.2 (1.4.3), in light and in dark colours."""
    style = assets()["dashboard.css"][0].decode()
    screen = style.split("@media print")[0]  # what is printed is black on white
    light = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", screen.split("@media (prefers-color-scheme: dark)")[0]))
    dark = {
        **light,
        **dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", screen.split("@media (prefers-color-scheme: dark)")[1])),
    }
    for colours in (light, dark):
        for ground in ("page", "card", "shade"):
            for ink in ("ink", "soft", "own", "bad"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground, colours[ink])
        for mark in ("own", "rival", "front", "bad"):
            assert contrast(colours[mark], colours["card"]) >= 3.0, mark


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
