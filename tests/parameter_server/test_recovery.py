"""What a shard goes on from when its process has died: the arena, a snapshot, the one before, a log, or nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parameter_server.files import recovery
from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import Momentum
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy
from parameter_server.policy_json import policy_to_json
from parameter_server.processes.folder import Folder, Layout
from parameter_server.processes.hosted import Hosted
from parameter_server.processes.place import Place
from parameter_server.processes.shard_process import write_from_time_to_time
from parameter_server.shards.book import INCARNATION
from parameter_server.shared_memory.arena import Arena
from parameter_server.store import FencedError, PushId, StoreError

PATIENCE = 60.0  # seconds; far above what anything takes
POLICY = Policy((Group(Momentum(0.5)),))
PIECE = Piece("w", (1000,), "float32", 0, 1000)


class Life:
    """The processes of one shard, one after the other."""

    def __init__(self, path: Path, durability: str) -> None:
        self.place = Place(path, path, Layout(1, 1, durability, policy_to_json(POLICY)), 0, 1.0)
        self.folder = Folder(path).shard(0)
        self.numbers = 0
        self.hosted = Hosted(self.place, 0, POLICY)

    def create(self) -> None:
        with self.hosted.shard.lock:
            self.hosted.shard.create([PIECE], [np.zeros(1000, np.float32)])

    def push(self, times: int = 1) -> None:
        for _ in range(times):
            shard, book = self.hosted.shard, self.hosted.shard.memory.book
            gradient = np.full(1000, 0.1 * (1 + self.numbers), np.float32)
            push = Push(PushId("a", self.numbers), book.version, int(book.header["table"][0]), [Part("w@0", gradient)])
            with shard.lock:
                shard.hello("a", 0)
                answer = shard.push(push)
            assert isinstance(answer, Answer)
            assert answer.outcome is Outcome.APPLIED, answer
            self.numbers += 1

    def again(self) -> None:
        """As if the process had been killed: nothing is written, and what was locked is free."""
        self.hosted.life.close()
        self.hosted.shard.memory.close()
        self.hosted = Hosted(self.place, 0, POLICY)

    def end(self) -> None:
        self.hosted.end()
        self.hosted.shard.memory.close()

    def damage(self, name: str) -> None:
        """Flip the bits in the middle of all files that are called so."""
        paths = list(self.folder.glob(name))
        assert paths
        for path in paths:
            content = bytearray(path.read_bytes())
            for place in range(8192, min(len(content), 20000)) if name == "arena" else [len(content) // 2]:
                content[place] ^= 0xFF
            path.write_bytes(content)

    @property
    def version(self) -> int:
        return self.hosted.shard.memory.book.version

    @property
    def source(self) -> str:
        return self.hosted.shard.statistics.recovered_from

    def state(self) -> tuple[int, list[list[float]], int]:
        """Version, numbers, and the next push of the client."""
        memory = self.hosted.shard.memory
        numbers = [buffer.tolist() for place in range(len(memory.pieces)) for buffer in memory.front(place)]
        with self.hosted.shard.lock:
            return self.version, numbers, self.hosted.shard.hello("", 0).version


@pytest.fixture(params=["process", "power"])
def life(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    made = Life(tmp_path, request.param)
    made.create()
    yield made
    made.hosted.life.close()
    made.hosted.shard.memory.close()


def logged(life: Life) -> bool:
    return life.place.layout.durability == "power"


def test_after_a_kill_the_arena_has_all(life: Life) -> None:
    life.push(5)
    before = life.state()
    life.again()
    assert life.state() == before
    assert life.source == "arena"
    assert life.hosted.shard.statistics.recoveries == 1
    life.push()
    life.again()
    assert life.version == 6


def test_a_damaged_arena_is_noticed_and_the_newest_snapshot_taken_or_snapshot_and_log(life: Life) -> None:
    life.push(2)
    life.hosted.snapshot()
    life.push(1)
    life.hosted.snapshot()
    kept = life.state()
    life.push(2)
    latest = life.state()
    life.damage("arena")
    life.again()
    if logged(life):
        assert life.state() == latest
        assert life.source == "snapshot and log"
    else:
        assert life.state()[1] == kept[1]
        assert life.source == "snapshot"
        assert life.version == INCARNATION + 3
    life.push()


def test_a_damaged_snapshot_is_noticed_and_the_one_before_taken(life: Life) -> None:
    life.push(2)
    life.hosted.snapshot()
    kept = life.state()
    life.push(1)
    newest = Path(life.hosted.snapshot())
    life.push(2)
    latest = life.state()
    life.damage("arena")
    life.damage(newest.name)
    life.again()
    if logged(life):
        assert life.state() == latest
        assert life.source == "previous snapshot and log"
    else:
        assert life.state()[1] == kept[1]
        assert life.source == "previous snapshot"
        assert life.version == INCARNATION + 2


def test_a_damaged_snapshot_is_none_of_the_two_that_are_kept(life: Life) -> None:
    for _ in range(2):
        life.push()
        newest = Path(life.hosted.snapshot())
    life.damage("arena")
    life.damage(newest.name)
    life.again()
    life.push()
    newest = Path(life.hosted.snapshot())
    life.push()
    latest = life.state()
    life.damage("arena")
    life.damage(newest.name)
    life.again()
    assert life.source == ("previous snapshot and log" if logged(life) else "previous snapshot")
    if logged(life):
        assert life.state() == latest


def test_a_log_from_the_beginning_is_enough(tmp_path: Path) -> None:
    life = Life(tmp_path, "power")
    life.create()
    life.push(3)
    latest = life.state()
    life.damage("arena")
    life.again()
    assert life.state() == latest
    assert life.source == "log"
    life.end()


@pytest.mark.parametrize("lost", [["log-*"], ["log-*", "snapshot-*"]])
def test_a_log_that_is_gone_is_noticed(tmp_path: Path, lost: list[str]) -> None:
    life = Life(tmp_path, "power")
    life.create()
    life.push(2)
    life.hosted.snapshot()
    life.push(1)
    life.damage("arena")
    for name in lost:
        for path in life.folder.glob(name):
            path.unlink()
    life.again()
    assert life.version == INCARNATION + (2 if len(lost) == 1 else 0)
    life.end()


def test_what_is_acknowledged_after_a_damaged_log_survives_the_next_loss(tmp_path: Path) -> None:
    life = Life(tmp_path, "power")
    life.create()
    life.push(4)
    life.damage("arena")
    life.damage("log-*")
    life.again()
    assert INCARNATION <= life.version < INCARNATION + 4
    life.push(2)
    latest = life.state()
    life.damage("arena")
    life.again()
    assert life.state() == latest
    life.end()


def test_versions_are_monotone_though_one_snapshot_is_gone_on_from_twice(tmp_path: Path) -> None:
    life = Life(tmp_path, "process")
    life.create()
    life.push(2)
    life.hosted.snapshot()
    seen = [life.version]
    for _ in range(3):
        life.push(3)
        seen.append(life.version)
        life.damage("arena")
        life.again()
        seen.append(life.version)
        with life.hosted.shard.lock:
            assert set(life.hosted.shard.pull(["w@0"], seen[-2]).parts) == {"w@0"}  # what was pulled before is outdated
    assert seen == sorted(set(seen))
    assert seen[-1] // INCARNATION == 3
    life.end()


def test_nothing_at_all_is_a_new_incarnation_of_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path, "process")
    assert (life.source, life.version, life.hosted.shard.statistics.recoveries) == ("", 0, 0)
    life.create()
    life.push()
    (life.folder / "arena").unlink()
    life.again()
    assert (life.source, life.version) == ("", INCARNATION)
    assert life.hosted.shard.memory.pieces == ()
    life.end()


def test_an_attempt_that_has_pushed_nothing_fences_earlier_ones_off_after_a_loss_of_power(tmp_path: Path) -> None:
    life = Life(tmp_path, "power")
    life.create()
    life.push(2)
    with life.hosted.shard.lock:
        life.hosted.shard.hello("a", 2)
        life.hosted.shard.hello("b", 1)
    life.damage("arena")
    life.again()
    with life.hosted.shard.lock:
        for client, attempt in (("a", 1), ("b", 0)):
            with pytest.raises(FencedError):
                life.hosted.shard.hello(client, attempt)
        assert life.hosted.shard.hello("a", 2).number == 2
    assert life.version == 2
    life.end()


def test_who_was_told_to_end_has_a_snapshot_that_lacks_nothing(life: Life) -> None:
    life.push(3)
    latest = life.state()
    life.end()
    life.damage("arena")
    life.hosted = Hosted(life.place, 0, POLICY)
    assert life.state() == latest
    assert life.source == "snapshot"
    assert life.hosted.shard.statistics.recoveries == 0


def test_what_was_only_created_is_in_the_last_snapshot_too(life: Life) -> None:
    life.hosted.snapshot()
    with life.hosted.shard.lock:
        life.hosted.shard.create([Piece("v", (2,), "float32", 0, 2)], [np.ones(2, np.float32)])
    life.hosted.write_if_changed()
    life.damage("arena")
    life.again()
    assert [piece.name for piece in life.hosted.shard.memory.pieces] == ["w", "v"]


def test_a_snapshot_is_only_written_when_something_has_changed(life: Life) -> None:
    life.push()
    life.hosted.write_if_changed()
    life.hosted.write_if_changed()
    assert life.hosted.shard.statistics.snapshots == 1


def test_snapshots_are_written_from_time_to_time_while_something_changes(life: Life) -> None:
    limit = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        write_from_time_to_time(0.01, [life.hosted], stack)
        for times in (1, 2):
            life.push()
            while life.hosted.shard.statistics.snapshots < times:
                assert time.monotonic() < limit
                time.sleep(0.01)
    assert len(list(life.folder.glob("snapshot-*"))) == 2


def test_a_full_disk_leaves_the_last_snapshot_is_counted_and_is_tried_again(
    life: Life, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    life.push()
    life.hosted.snapshot()
    life.push()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"keeps the last one .*No space left on device.*: make room on the disk"):
            life.hosted.snapshot()
        life.hosted.write_if_changed()
    assert "No space left" in capsys.readouterr().err
    statistics = life.hosted.shard.statistics
    assert (statistics.snapshots, statistics.snapshots_failed) == (1, 2)
    life.hosted.write_if_changed()
    assert statistics.snapshots == 2
    life.damage("arena")
    life.again()
    assert life.version % INCARNATION == 2


def test_a_death_inside_a_recovery_leaves_what_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path, "process")
    life.create()
    life.push(2)
    life.hosted.snapshot()
    life.push(1)
    life.damage("arena")

    def died(*_: object) -> Arena:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Arena, "create", died)
        with pytest.raises(KeyboardInterrupt):
            life.again()
    life.hosted = Hosted(life.place, 0, POLICY)
    assert life.source == "snapshot"
    assert life.version == 2 * INCARNATION + 2
    life.end()


def died(*parts: object) -> Any:
    """The process is killed here: what it had locked is free."""
    for one in parts:
        if isinstance(one, Hosted):
            one.life.close()
            one.shard.memory.close()
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["Arena.create", "snapshot"])
def test_versions_are_monotone_though_a_process_dies_before_its_first_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    life = Life(tmp_path, "power")
    life.create()
    life.push(4)
    life.hosted.snapshot()
    life.push(4)
    life.damage("arena")
    life.damage("log-000000001")

    with monkeypatch.context() as patch:
        patch.setattr(Arena if moment == "Arena.create" else Hosted, moment.removeprefix("Arena."), died)
        with pytest.raises(KeyboardInterrupt):
            life.again()
    life.hosted = Hosted(life.place, 0, POLICY)
    seen = life.version
    assert seen > INCARNATION
    life.damage("arena")
    life.again()
    assert life.version >= seen
    life.push(2)
    latest = life.state()
    life.damage("arena")
    life.again()
    assert life.state() == latest
    life.end()


def test_what_lay_behind_a_gap_of_the_log_is_gone_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(tmp_path, "power")
    life.create()
    life.push(4)
    path = Path(life.hosted.snapshot())
    life.push(2)
    life.damage("arena")
    life.damage("log-000000000")
    life.damage(path.name)

    monkeypatch.setattr(fcntl, "flock", lambda *_: None)  # the dead one's locks
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "Log", died)
        with pytest.raises(KeyboardInterrupt):
            life.again()
    life.hosted = Hosted(life.place, 0, POLICY)
    life.push(2)
    latest = life.state()
    life.damage("arena")
    life.again()
    assert life.state() == latest
    life.end()
