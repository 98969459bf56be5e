"""Which places a cluster cannot reach, whom an address means, and what is said where no job server answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from nas import machine
from nas.remote.job_server import JobServer
from nas.remote.reach import address_of, check_reach, host_of, on_this_machine
from nas.remote.token import headers, token
from workers.errors import UserError

HEAD = "http://192.0.2.7:8265"  # an address for documentation: nobody has it
SERVER = "postgresql://me:hunter2@db.example/base"


def test_places_that_both_reach_are_fine(tmp_path: Path) -> None:
    check_reach(HEAD, SERVER, "s3://bucket/runs")
    for address in ("http://127.0.0.1:8265", "http://localhost:8265", "http://[::1]:8265"):
        check_reach(address, str(tmp_path), str(tmp_path))
        check_reach(address, "postgresql:///base", f"file://{tmp_path}")


@pytest.mark.parametrize(
    ("journal", "artifacts", "said"),
    [
        ("/home/me/searches", "s3://bucket", r"journal would be in /home/me/searches, .*--journal postgresql://"),
        ("postgresql://me:hunter2@localhost/base", "s3://bucket", r"on localhost, .*as the cluster's machines call it"),
        ("postgresql:///base?host=/run/pg", "s3://bucket", "on /run/pg, "),
        ("postgresql:///base", "s3://bucket", "on a socket of this machine, "),
        (SERVER, "/home/me/searches", r"artifacts would be in /home/me/searches, .*s3://BUCKET/FOLDER or a folder"),
        (SERVER, "file:///home/me/searches", r"artifacts would be in /home/me/searches"),
        (SERVER, "memory://runs", r"end with their process"),
        ("postgresql://me:hunter2@[::1/base", "s3://bucket", r"me:\*\*\*@\[::1/base is no address of a PostgreSQL"),
    ],
)
def test_places_of_this_machine_alone_are_refused_with_the_way_out(journal: str, artifacts: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as refused:
        check_reach(HEAD, journal, artifacts)
    assert "hunter2" not in str(refused.value)


def test_a_folder_that_is_shared_over_a_network_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="which the cluster at"):
        check_reach(HEAD, SERVER, str(tmp_path))
    monkeypatch.setattr(machine, "file_system", lambda place: "nfs4")
    check_reach(HEAD, SERVER, str(tmp_path))


def test_addresses_of_this_machine_are_known() -> None:
    assert on_this_machine("127.8.9.1")
    assert on_this_machine("localhost")
    assert on_this_machine("")
    assert not on_this_machine("192.0.2.7")
    assert not on_this_machine("2001:db8::7")
    assert not on_this_machine("no-such-host.invalid")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        any_socket.connect(("192.0.2.7", 9))  # sends nothing; says which address of ours would
        assert on_this_machine(any_socket.getsockname()[0])


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("head", "http://head:8265"),
        ("head:9000", "http://head:9000"),
        ("https://head/ray/", "https://head:443/ray"),
        ("http://[2001:db8::7]:8265/", "http://[2001:db8::7]:8265"),
    ],
)
def test_an_address_is_completed(given: str, address: str) -> None:
    assert address_of(given) == address
    assert host_of(address) in given


@pytest.mark.parametrize(
    "given", ["ray://head:10001", "http://", "http://head:many", "http://head:99999", "ftp://h", "http://[::1"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="http://HEAD:8265"):
        address_of(given)


def test_a_password_in_the_address_is_refused_without_saying_it() -> None:
    with pytest.raises(UserError, match="RAY_AUTH_TOKEN") as refused:
        address_of("https://me:hunter2@head")
    assert "hunter2" not in str(refused.value)


@pytest.fixture
def unnamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder in which no token is, and an environment that names none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_token_is_looked_for_where_ray_does(unnamed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert headers() == {}
    (unnamed / ".ray").mkdir()
    (unnamed / ".ray" / "auth_token").write_text("third\n")
    assert token() == "third"
    (unnamed / "named").write_text(" second \n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(unnamed / "named"))
    assert token() == "second"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "first")
    assert headers() == {"Authorization": "Bearer first"}
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(unnamed / "missing"))
    with pytest.raises(UserError, match="missing, which does not exist"):
        token()


@pytest.mark.parametrize("text", ["two words", "two\nlines", "h\u00fcnter"])
def test_what_is_no_token_is_not_repeated(unnamed: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", text)
    with pytest.raises(UserError, match="Ray's token is one word") as refused:
        headers()
    assert text not in str(refused.value)


@contextmanager
def answering(status: int, text: str) -> Iterator[str]:
    """The address of a server that says the same to everybody."""

    class Same(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Same)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (401, "Unauthorized: Missing authentication token", "lets nobody in without its token"),
        (200, "<html>a page</html>", "does not do as a job server of Ray"),
        (500, "broken", "does not do as a job server of Ray"),
        (404, "nothing", "does not do as a job server of Ray"),
    ],
)
def test_what_is_no_open_job_server_is_explained(unnamed: Path, status: int, text: str, said: str) -> None:
    with answering(status, text) as address, pytest.raises(UserError, match=said):
        JobServer(address)


def test_where_nobody_answers_is_said() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"nothing answers at http://127.0.0.1:.*ray\[default\]"):
            JobServer(f"127.0.0.1:{bound.getsockname()[1]}")
