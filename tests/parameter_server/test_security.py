"""Who is let in: addresses that need encryption, tokens and the files they are in, certificates that fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from certificates import TOKEN

from parameter_server.security import (
    Security,
    guard_link,
    guard_listener,
    local,
    read_token,
    write_token,
)
from parameter_server.store import StoreError

CERTIFIED = Security(Path("c.pem"), Path("c.key"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:80", True),
        ("127.8.9.1:80", True),
        ("localhost:0", True),
        ("[::1]:80", True),
        ("unix:/tmp/x", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("10.0.0.1:80", False),
        ("localhost.evil.example:80", False),
        ("127.0.0.1.evil.example:80", False),
        (":80", False),
        ("80", False),
        ("", False),
        ("dns:///127.0.0.1:80", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address: str, expected: bool) -> None:
    assert local(address) is expected


@pytest.mark.parametrize(
    ("security", "lacks"),
    [
        (Security(), "a certificate and its key and a token"),
        (Security(token=TOKEN), "a certificate and its key"),
        (CERTIFIED, "a token"),
    ],
)
def test_a_listener_that_others_reach_needs_a_certificate_and_a_token(security: Security, lacks: str) -> None:
    guard_listener("127.0.0.1:0", security)
    with pytest.raises(StoreError, match=f"has not got {lacks}: listen on 127.0.0.1, or"):
        guard_listener("0.0.0.0:0", security)


def test_a_link_leaves_this_machine_only_encrypted() -> None:
    guard_link("127.0.0.1:1", Security(token=TOKEN))
    guard_link("host.example:1", Security(authority=Path("ca.pem"), token=TOKEN))
    with pytest.raises(StoreError, match="name the authority's file"):
        guard_link("host.example:1", Security(token=TOKEN))


def test_a_token_is_in_a_file_that_only_its_user_reads(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = write_token(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token(path) == token
    with pytest.raises(FileExistsError):
        write_token(path)
    os.chmod(path, 0o640)
    with pytest.raises(StoreError, match=f"chmod 600 {path}"):
        read_token(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"short\n", b"\xff" * 32, b"two\nlines of a token\n"])
def test_what_is_no_token_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="token"):
        read_token(path)
    with pytest.raises(StoreError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Security(token=TOKEN))
    assert TOKEN not in str([Security(token=TOKEN)])


def test_files_go_together_and_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="go together"):
        Security(certificate=tmp_path / "c.pem")
    with pytest.raises(StoreError, match=r"c\.key cannot be read"):
        Security(tmp_path / "c.pem", tmp_path / "c.key").listening(lambda: None)
    with pytest.raises(StoreError, match=r"ca\.pem cannot be read"):
        Security(authority=tmp_path / "ca.pem").calling()
