"""The dashboard for other machines: the command itself, over TLS, with a certificate that clients check."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import trustme
from typer.testing import CliRunner

from nas.cli.app import application

TOKEN = "correct-horse-battery-staple-0123456789"


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, Path]:
    """A certificate of an authority of our own, its key, and a token."""
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    found = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(str(found["authority"]))
    made.private_key_pem.write_to_path(str(found["key"]))
    found["certificate"].write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    found["token"] = tmp_path / "token"
    found["token"].write_text(TOKEN)
    found["token"].chmod(0o600)
    return found


def options(files: Mapping[str, Path], *names: str) -> list[str]:
    named = {"token": "--token-file", "certificate": "--certificate", "key": "--key"}
    return [word for name in names for word in (named[name], str(files[name]))]


@pytest.mark.parametrize("given", [(), ("token",), ("certificate", "key"), ("token", "certificate")])
def test_the_command_refuses_to_be_open_to_others_without_both(
    files: Mapping[str, Path], given: tuple[str, ...]
) -> None:
    shown = CliRunner().invoke(
        application(), ["dashboard", "--host", "0.0.0.0", "--port", "0", *options(files, *given)]
    )
    assert shown.exit_code != 0
    assert "other machines" in shown.stderr or "both" in shown.stderr
    assert TOKEN not in shown.output


@pytest.fixture
def address(files: Mapping[str, Path], tmp_path: Path) -> Iterator[str]:
    """A dashboard that listens at every address of this machine; nothing of its terminal has the token."""
    command = [sys.executable, "-m", "nas", "dashboard", "--host", "0.0.0.0", "--port", "0", "--name", "localhost"]
    command += [*options(files, "token", "certificate", "key"), "--journal", str(tmp_path / "home")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    try:
        yield said.strip().removesuffix("login")
    finally:
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=60)[0]
        assert TOKEN not in said


def answer(request: Request, trusted: Path | None) -> tuple[int, Mapping[str, str]]:
    context = ssl.create_default_context(cafile=trusted)
    try:
        with urlopen(request, timeout=60, context=context) as found:
            return found.status, dict(found.headers)
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers)


@pytest.mark.slow
def test_others_are_served_over_tls_and_with_the_token_only(address: str, files: Mapping[str, Path]) -> None:
    known = files["authority"]
    assert address.startswith("https://localhost:")
    assert answer(Request(address), known)[0] == 401
    assert answer(Request(address, headers={"Authorization": f"Bearer {TOKEN}"}), known)[0] == 200
    origin = {"Origin": address.rstrip("/"), "Content-Type": "application/json"}
    status, headers = answer(Request(f"{address}login", json.dumps({"token": TOKEN}).encode(), origin), known)
    cookie = headers["set-cookie"]
    assert status == 200
    assert "; Secure" in cookie
    assert answer(Request(address, headers={"Cookie": cookie.partition(";")[0]}), known)[0] == 200
    plain = {**origin, "Origin": origin["Origin"].replace("https:", "http:")}
    assert answer(Request(f"{address}login", json.dumps({"token": TOKEN}).encode(), plain), known)[0] == 403
    with pytest.raises(URLError, match="certificate verify failed"):
        answer(Request(address), None)
    with pytest.raises((URLError, HTTPException, ConnectionError)):
        answer(Request(address.replace("https:", "http:")), known)
