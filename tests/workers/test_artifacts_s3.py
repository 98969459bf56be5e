"""Artifacts on an S3-like store, a server of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from s3_server import credentials, s3_server

from workers.artifacts import ArtifactRecord, Artifacts, Stored
from workers.errors import DamagedError, NotFoundError, UserError

pytestmark = pytest.mark.slow
WRITER = """
import sys
from workers.artifacts import Artifacts
Artifacts.open(sys.argv[1]).put("s", 5, 1, "from-elsewhere", b"written by another process")
"""

PROBE = """
import sys
from workers.artifacts import Artifacts
from workers.errors import UserError
try:
    Artifacts.open(sys.argv[1]).probe("s")
except UserError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server with one bucket, `runs`; the credentials are in the environment, as is usual."""
    with s3_server() as address:
        yield address


@pytest.fixture(autouse=True)
def _bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name, value in credentials(server).items():
        monkeypatch.setenv(name, value)
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    if not files.exists("runs"):
        files.mkdir("runs")


def test_what_is_put_is_got_listed_and_deleted() -> None:
    artifacts = Artifacts.open("s3://runs/all")
    artifacts.probe("s")
    assert artifacts.put("s", 3, 1, "a.bin", b"content") == ArtifactRecord(
        "a.bin", 7, "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    )
    artifacts.put("s", 3, 1, "a.bin", b"other")
    artifacts.put("s", 12, 2, "b", bytes(3_000_000))
    assert artifacts.get("s", 3, 1, "a.bin") == b"other"
    assert artifacts.list("s") == (Stored(3, 1, "a.bin", 5), Stored(12, 2, "b", 3_000_000))
    artifacts.delete("s", 3, 1, "a.bin")
    artifacts.delete("s", 3, 1, "a.bin")
    assert artifacts.list("s") == (Stored(12, 2, "b", 3_000_000),)
    assert artifacts.list("nothing") == ()
    with pytest.raises(NotFoundError, match=r"there is no a\.bin of trial 3, attempt 1 in s3://runs/all"):
        artifacts.get("s", 3, 1, "a.bin")


def test_what_another_machine_writes_is_seen_at_once() -> None:
    artifacts = Artifacts.open("s3://runs/shared")
    assert artifacts.list("s") == ()
    with pytest.raises(NotFoundError):
        artifacts.get("s", 5, 1, "from-elsewhere")
    subprocess.run([sys.executable, "-c", WRITER, "s3://runs/shared"], check=True, env=dict(os.environ))
    assert artifacts.list("s") == (Stored(5, 1, "from-elsewhere", 26),)
    assert artifacts.get("s", 5, 1, "from-elsewhere") == b"written by another process"


def test_what_was_spoiled_on_the_store_is_noticed() -> None:
    import s3fs

    artifacts = Artifacts.open("s3://runs/spoiled")
    artifacts.put("s", 1, 1, "a", b"content")
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file("runs/spoiled/s/1/1/a", b"c0ntent")
    with pytest.raises(DamagedError, match="a of trial 1, attempt 1 in s3://runs/spoiled is damaged"):
        artifacts.get("s", 1, 1, "a")


def test_a_bucket_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match=r"artifacts cannot be stored in s3://absent/all: .*name another place"):
        Artifacts.open("s3://absent/all").probe("s")


def test_a_store_that_does_not_answer_is_said() -> None:
    environment = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    command = [sys.executable, "-c", PROBE, "s3://runs/away"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120).stdout
    assert "artifacts cannot be stored in s3://runs/away: Could not connect" in said
    assert "name another place" in said
