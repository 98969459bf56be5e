"""What outlives the processes of a shard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parameter_server.processes import life
from parameter_server.processes.folder import held
from parameter_server.processes.life import SIZE, Life, Record
from parameter_server.store import StoreError


def test_who_comes_after_a_kill_learns_that_there_was_one(tmp_path: Path) -> None:
    path = tmp_path / "shard-0" / "life"
    first = Life(path)
    assert first.before == Record()
    first.incarnate(3)
    first.close()
    second = Life(path)
    assert second.before == Record(begun=1, ended=-1, incarnation=3)
    second.end(41)
    second.close()
    third = Life(path)
    assert third.before == Record(begun=2, killed=1, ended=41, incarnation=3)
    third.close()
    fourth = Life(path)
    assert fourth.before == Record(begun=3, killed=1, ended=-1, incarnation=3)
    assert fourth.now.killed == 2
    fourth.close()


def test_a_loss_of_power_leaves_no_end_that_another_process_began_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "life"
    kept: list[bytes] = []  # what was synced last is all that is sure to be there afterwards
    sync = os.fsync

    def synced(descriptor: int) -> None:
        sync(descriptor)
        kept.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", synced)
    Life(path).close()
    assert kept, "whoever comes next would take the shard for a new one"
    made = Life(path)
    made.end(7)
    made.close()
    Life(path).close()
    path.write_bytes(kept[-1])
    after = Life(path)
    assert after.before.ended == -1, "snapshot 7 would count as all there was, whatever was acknowledged since"
    after.close()


def test_one_process_at_a_time_has_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "PATIENCE", 0.01)
    first = Life(tmp_path / "life")
    assert held(tmp_path / "life")
    with pytest.raises(StoreError, match="another process serves"):
        Life(tmp_path / "life")
    first.close()
    assert not held(tmp_path / "life")
    Life(tmp_path / "life").close()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"begun": 1, "x": 2}', b"\xff" * SIZE])
def test_a_damaged_record_counts_as_a_life_whose_end_is_not_known(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "life").write_bytes(content)
    made = Life(tmp_path / "life")
    assert made.before == Record(begun=1, ended=-1)
    made.close()
