"""Who may scrape a driver, and by which files Prometheus finds it."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Semaphore
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import trustme

from nas.job import Job
from nas.metrics.access import Access, guard
from nas.metrics.discovery import OWNER, SILENCE, Discovery, Target
from nas.metrics.server import AT_ONCE, REGULARLY, SLOWEST, MetricsServer
from workers.errors import UserError

TOKEN = "a token for tests, of no use anywhere"
TARGET = Target("127.0.0.1:1", "/metrics", "http", "driver", "try", "try")


@contextmanager
def serving(access: Access | None = None) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1", 0, access or Access(), lambda path: b"up 1\n" if path == "/metrics" else None)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(tmp_path: Path, authority: trustme.CA) -> Access:
    made = authority.issue_cert("127.0.0.1")
    made.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    made.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    return Access.of(tmp_path / "token", tmp_path / "certificate.pem", tmp_path / "key.pem")


def asked(url: str, authorization: str | None = None, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    request = Request(url, headers={"Authorization": authorization} if authorization else {})
    try:
        with urlopen(request, timeout=20, context=context) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_are_served_and_nothing_else() -> None:
    with serving() as server:
        root = f"http://127.0.0.1:{server.port}"
        assert asked(f"{root}/metrics?x=1") == (200, "up 1\n")
        for path in ("/", "/metrics/..", "/../../etc/passwd", "/shards/weights/0"):
            assert asked(root + path)[0] == 404
        with urlopen(Request(f"{root}/metrics", method="HEAD"), timeout=20) as answer:
            assert (answer.status, answer.read()) == (200, b"")
        for method in ("POST", "DELETE", "PUT"):
            with pytest.raises(HTTPError, match="501") as refused:
                urlopen(Request(f"{root}/metrics", method=method, data=b""), timeout=20)
            refused.value.close()
    with pytest.raises(URLError):
        urlopen(f"{root}/metrics", timeout=20)


def test_a_token_is_asked_for_over_an_encrypted_connection(secured: Access, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serving(secured) as server:
        url = f"https://127.0.0.1:{server.port}/metrics"
        assert asked(url, f"Bearer {TOKEN}", context) == (200, "up 1\n")
        for wrong in (None, "Bearer ", f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}"):
            status, text = asked(url, wrong, context)
            assert status == 401
            assert TOKEN not in text
        with pytest.raises(OSError):
            urlopen(url.replace("https", "http"), timeout=20)
    assert TOKEN not in repr(secured)


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:9", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:9", 200), ("10.0.0.7", 200)]
    + [
        (evil, 421) for evil in ("evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "[::1", "[x]:1")
    ],
)
def test_a_page_in_the_browser_cannot_read_metrics_under_a_name_of_its_own(host: str, status: int) -> None:
    with serving() as server, closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request("GET", "/metrics", headers={"Host": host})
        answer = connection.getresponse()
        assert (answer.status, b"up" in answer.read()) == (status, status == 200)


def test_a_page_that_fails_is_an_answer_and_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    def fails(path: str) -> bytes:
        raise ValueError("http://me:correct-horse@host")

    server = MetricsServer("127.0.0.1", 0, Access(), fails)
    try:
        assert asked(f"http://127.0.0.1:{server.port}/metrics") == (500, "ValueError\n")
    finally:
        server.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\nHost:"])
def test_whoever_never_asks_to_the_end_keeps_nobody_waiting(
    encrypted: bool, said: bytes, secured: Access, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with serving(secured if encrypted else None) as server:
        url = f"{server.access.scheme}://127.0.0.1:{server.port}/metrics"
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(AT_ONCE + 4)]
        for one in silent:
            with suppress(OSError):  # the first have been hung up on
                one.sendall(said)
        began = time.monotonic()
        for _ in range(3):
            assert asked(url, f"Bearer {TOKEN}", context if encrypted else None)[0] == 200
        assert time.monotonic() - began < SLOWEST  # nobody was waited for
        for one in silent:
            one.close()


def test_whoever_has_asked_is_answered_however_many_come() -> None:
    waiting, go = Semaphore(0), Event()

    def page(path: str) -> bytes:
        waiting.release()
        go.wait(20)
        return b"up 1\n"

    server = MetricsServer("127.0.0.1", 0, Access(), page)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            scrapes = [pool.submit(asked, f"http://127.0.0.1:{server.port}/metrics") for _ in range(AT_ONCE)]
            for _ in scrapes:
                assert waiting.acquire(timeout=20)
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as refused:
                assert refused.recv(1) == b""
            go.set()
            assert [scrape.result(20) for scrape in scrapes] == [(200, "up 1\n")] * AT_ONCE
        finally:
            go.set()
            server.close()


def test_who_reads_regularly_is_waited_for_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        waits: list[float] = []
        monkeypatch.setattr("nas.metrics.server.time.sleep", waits.append)
        server.linger("/metrics", 8.0)  # in so short a life somebody may yet come
        server._born -= REGULARLY
        server.linger("/metrics", 9.0)  # nobody has ever read it
        assert asked(f"http://127.0.0.1:{server.port}/metrics")[0] == 200
        until = time.monotonic() + 20
        while not server._asked and time.monotonic() < until:  # it is noted when all is sent
            Event().wait(0.01)
        server.linger("/shards/weights/0", 9.0)
        server.linger("/metrics", 8.0)
        server._asked["/metrics"] -= REGULARLY
        server.linger("/metrics", 9.0)
        assert waits == [8.0, 8.0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_what_others_reach_needs_a_token_and_a_certificate(host: str) -> None:
    for given in ((None, None, None), ("token", None, None), (None, "certificate", "key")):
        with pytest.raises(UserError, match="which other machines reach"):
            guard(host, *given)
    guard(host, "token", "certificate", "key")


def test_a_job_that_would_show_metrics_to_others_is_refused_before_it_runs() -> None:
    job = {"task": "tests:x", "watch": [{"name": "metrics", "host": "0.0.0.0"}], "budget": {"trials": 1}}
    with pytest.raises(UserError, match=r"host is '0\.0\.0\.0'.* have no token and no certificate and key"):
        Job.parse({**job, "task": {"name": "image_classification", "dataset": "digits"}, "space": "pnas"})
    for host in ("127.0.0.1", "localhost", "::1"):
        guard(host, None, None, None)
    with pytest.raises(UserError, match="go together"):
        guard("127.0.0.1", None, "certificate", None)


def test_what_is_wrong_with_files_and_addresses_is_said(tmp_path: Path, secured: Access) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.write_text(TOKEN)
    open_to_all.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        Access.of(open_to_all, None, None)
    open_to_all.chmod(0o640)
    assert Access.of(open_to_all, None, None).token == TOKEN
    (tmp_path / "short").write_text("short")
    (tmp_path / "short").chmod(0o600)
    for path in (tmp_path / "short", tmp_path / "missing"):
        with pytest.raises(UserError, match="token"):
            Access.of(path, None, None)
    with pytest.raises(UserError, match="are no certificate and its key"):
        Access("", open_to_all, open_to_all).context()
    with serving() as server, pytest.raises(UserError, match="choose another port"):
        MetricsServer("127.0.0.1", server.port, Access(), lambda path: None)


def test_a_driver_is_announced_in_one_step_and_taken_back(tmp_path: Path) -> None:
    mine = Discovery(tmp_path, "try")
    mine.write([TARGET])
    (group,) = json.loads((tmp_path / "prometheus" / "try.json").read_text())
    assert group["targets"] == ["127.0.0.1:1"]
    labels = {name: value for name, value in group["labels"].items() if not name.startswith("__")}
    assert labels == {"job": "cellwright", "role": "driver", "search": "try", "instance": "try"}
    assert group["labels"]["__metrics_path__"] == "/metrics"
    assert os.listdir(tmp_path / "prometheus") == ["try.json"]
    mine.remove()
    mine.remove()
    assert os.listdir(tmp_path / "prometheus") == []


def test_a_driver_that_was_replaced_leaves_the_new_ones_targets(tmp_path: Path) -> None:
    mine = Discovery(tmp_path, "try")
    mine.write([TARGET])
    (group,) = json.loads(mine.path.read_text())
    group["labels"][OWNER] = json.dumps(["another", 1, "another/start"])
    mine.path.write_text(json.dumps([group]))
    mine.remove()
    assert mine.path.exists()


@pytest.mark.parametrize(
    "claimed", ["5", "[]", "{}", "[1]", "[1, 2, 3, 4]", '["a", 1, 7]', '["a", 1, null]', "[" * 9000]
)
def test_a_file_that_no_driver_wrote_is_in_nobodys_way(tmp_path: Path, claimed: str) -> None:
    mine = Discovery(tmp_path, "try")
    mine.folder.mkdir()
    odd = mine.folder / "odd.json"
    odd.write_text(json.dumps([{"labels": {OWNER: claimed}}]))
    (mine.folder / "deep.json").write_text("[" * 9000)
    os.mkfifo(mine.folder / "pipe.json")
    mine.write([TARGET])
    mine.path.write_text(odd.read_text())
    mine.remove()
    assert {"odd.json", "deep.json", "pipe.json"} <= set(os.listdir(mine.folder))


def test_a_driver_that_was_taken_for_dead_announces_itself_again(tmp_path: Path) -> None:
    mine = Discovery(tmp_path, "try")
    mine.write([TARGET])
    assert mine.beat()
    mine.path.unlink()
    assert mine.beat()  # it looks once a minute
    mine._due = 0.0
    assert not mine.beat()
    mine.write([TARGET])
    mine._due = 0.0
    assert mine.beat()


def test_files_of_drivers_that_were_killed_are_cleared_up_by_the_next(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from nas.metrics.discovery import *; "
        "Discovery(Path(sys.argv[1]), sys.argv[2]).write([Target('127.0.0.1:1', '/', 'http', 'driver', 'x', 'x')]); "
        "print(flush=True); sys.stdin.read()"
    )
    drivers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in ("killed", "alive")
    ]
    try:
        for driver in drivers:
            assert driver.stdout is not None
            driver.stdout.readline()
        drivers[0].kill()
        drivers[0].wait(30)
        folder = tmp_path / "prometheus"
        (folder / "somebody-elses.json").write_text('[{"targets": ["a:1"]}]')
        (folder / "no.json").write_text("{")
        afar = json.loads((folder / "alive.json").read_text())
        afar[0]["labels"][OWNER] = json.dumps(["afar", 1, "kernel/1"])
        for name, age in (("afar", SILENCE / 2), ("silent", SILENCE * 2)):
            (folder / f"{name}.json").write_text(json.dumps(afar))
            os.utime(folder / f"{name}.json", (time.time() - age,) * 2)
        Discovery(tmp_path, "next").write([TARGET])
        names = {"afar.json", "alive.json", "next.json", "no.json", "somebody-elses.json"}
        assert set(os.listdir(folder)) == names
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()


def test_a_driver_that_nobody_scrapes_loads_nothing_for_it() -> None:
    heavy = ("prometheus_client", "torch", "ray", "grpc")
    program = f"import sys, nas.watchers.metrics; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
