"""Where journals are looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.home import home, open_log
from nas.logs.sqlite import SqliteLog
from workers.errors import UserError


def test_what_is_named_goes_before_the_environment_and_that_before_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NAS_HOME", "/one")
    assert home("/two") == "/two"
    assert home() == "/one"
    monkeypatch.delenv("NAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    log = open_log()
    assert isinstance(log, SqliteLog)
    assert log.folder == tmp_path / ".cellwright"


def test_a_place_that_is_no_place_is_refused() -> None:
    with pytest.raises(UserError, match="'mysql://host/base' is no place for journals"):
        open_log("mysql://host/base")


def test_a_server_that_does_not_answer_is_said() -> None:
    with pytest.raises(UserError, match="PostgreSQL server cannot be used"):
        open_log("postgresql://nobody@/nothing?host=/nonexistent")


def test_a_missing_driver_for_postgresql_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("nas.logs.postgresql", "nas.logs.connection"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UserError, match=r"needs psycopg: pip install 'cellwright\[postgres\]'"):
        open_log("postgresql://nobody@/nothing")


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").touch()
    with pytest.raises(UserError, match="is a file, but journals are kept in a folder"):
        open_log(str(tmp_path / "job.yaml"))


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2", "hun/ter2", "hun ter2", "hun#ter2", "hun?ter2", "%zzter2"])
@pytest.mark.parametrize("place", ["mysql://me:{}@host/base", "postgresql://me:{}@127.0.0.1:1/base"])
def test_no_error_says_the_password(place: str, password: str) -> None:
    with pytest.raises(UserError) as refused:
        open_log(place.format(password))
    assert "ter2" not in str(refused.value)
