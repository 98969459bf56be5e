"""A full disk under a store: what cannot be kept is refused and said, what was acknowledged stays, and all goes on.

The disk is a small file system in memory, mounted for each test, which takes root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from parameter_server.files.log import Log
from parameter_server.files.snapshot import Snapshots
from parameter_server.link import Answer, Part, Push
from parameter_server.opened import connect, open_store, running
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy
from parameter_server.policy_json import policy_to_json
from parameter_server.processes.folder import Folder, Layout
from parameter_server.processes.hosted import Hosted
from parameter_server.processes.place import Place
from parameter_server.processes.shard_process import write_from_time_to_time
from parameter_server.store import PushId, StoreError, UnreachableError

Result = TypeVar("Result")
Require = Callable[[str, bool, str], None]

PATIENCE = 60.0  # seconds; far above what anything takes
POLICY = Policy((Group(SGD(1.0)),), lease=PATIENCE)
SIZE = 20_000
ONES = {name: np.ones(SIZE, np.float32) for name in ("a", "b")}


@dataclass(frozen=True)
class Disk:
    """A file system of 4 MB."""

    path: Path

    @property
    def ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self, but: int = 0) -> None:
        """Leave no page free, or as many bytes as are asked for."""
        with self.ballast.open("ab", buffering=0) as file:
            with pytest.raises(OSError, match="No space left"):
                _write_on(file)
            if but:
                file.truncate(file.tell() - but)

    def free(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path, require: Require) -> Iterator[Disk]:
    require("namespaces", os.geteuid() == 0, "only root can mount a file system")
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", path], capture_output=True, text=True, check=False
    )
    require("namespaces", made.returncode == 0, f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def _write_on(file: RawIOBase) -> None:
    while True:
        file.write(bytes(4096))


def until(look: Callable[[], Result | None]) -> Result:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def kill_everything(folder: Path) -> None:
    """Kill the processes of the shards, the supervisor, and the processes that come after them; wait for the next."""
    found = until(lambda: running(folder))
    for pid in (*found.processes, found.supervisor):
        if pid is not None:
            os.kill(pid, signal.SIGKILL)

    def again() -> bool:
        now = running(folder)
        return (
            now is not None and now.supervisor != found.supervisor and not {None, *found.processes} & {*now.processes}
        )

    until(again)


def snapshots(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("shard-*/snapshot-*")}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_store_on_a_full_disk_refuses_what_it_cannot_keep_and_goes_on(disk: Disk, durability: str) -> None:
    folder = disk.path / "store"
    store = open_store(folder, POLICY, shards=2, processes=2, durability=durability)
    worker = None
    try:
        store.create({name: np.zeros(SIZE, np.float32) for name in ONES})
        worker = connect(folder, patience=1.0)
        counted = 0

        def push() -> None:
            nonlocal counted
            assert worker is not None
            assert worker.push(ONES, worker.pull().version, PushId("a", counted)).counted
            counted += 1

        push()
        store.snapshot()
        kept = snapshots(folder)
        push()
        disk.fill()
        for deaths in range(2):
            with pytest.raises(StoreError, match=r"keeps the last one .*No space left on device.*: make room"):
                store.snapshot()
            assert [one.snapshots_failed for one in store.statistics()] == [1, 1]
            assert snapshots(folder) == kept
            with pytest.raises(StoreError, match="No space left on device"):
                store.create({"large": np.zeros(200_000, np.float32)})
            if durability == "power":
                with pytest.raises(UnreachableError, match=r"it could not be recorded .*No space left") as refused:
                    push()
                assert refused.value.outcome is Outcome.BUSY
            else:
                push()
            assert {float(value) for tensor in worker.pull().tensors.values() for value in tensor} == {-counted}
            if not deaths:
                kill_everything(folder)
        with pytest.raises(StoreError, match=r"cannot be founded in .*No space left"):
            open_store(disk.path / "another", POLICY)
        disk.free()
        push()
        assert store.create({"c": np.ones(5, np.float32)}) == ("c",)
        store.snapshot()
        assert snapshots(folder).keys() > {max(kept)}
        kill_everything(folder)
        push()
        pulled = worker.pull()
        assert {float(value) for name in ONES for value in pulled.tensors[name]} == {-counted}
        np.testing.assert_array_equal(pulled.tensors["c"], np.ones(5))
    finally:
        if worker is not None:
            worker.close()
        store.close()


class Alone:
    """A shard in this process, on a disk."""

    def __init__(self, path: Path, durability: str) -> None:
        self.place = Place(path, path, Layout(1, 1, durability, policy_to_json(POLICY)), 0, 1.0)
        self.folder = Folder(path).shard(0)
        self.hosted = Hosted(self.place, 0, POLICY)

    def create(self, name: str, value: float, size: int = 100) -> None:
        shard = self.hosted.shard
        with shard.lock:
            shard.create([Piece(name, (size,), "float32", 0, size)], [np.full(size, value, np.float32)])

    def push(self, number: int, name: str, size: int = 100) -> Answer:
        shard = self.hosted.shard
        with shard.lock:
            shard.hello("a", 0)
            book = shard.memory.book
            parts = [Part(f"{name}@0", np.ones(size, np.float32))]
            answer = shard.push(Push(PushId("a", number), book.version, int(book.header["table"][0]), parts))
        assert isinstance(answer, Answer)
        return answer

    def numbers(self) -> dict[str, list[float]]:
        memory = self.hosted.shard.memory
        return {piece.name: memory.front(place)[0].tolist() for place, piece in enumerate(memory.pieces)}

    def die(self) -> None:
        self.hosted.life.close()
        self.hosted.shard.memory.close()

    def again(self) -> None:
        self.die()
        self.hosted = Hosted(self.place, 0, POLICY)


@pytest.fixture
def alone(disk: Disk, request: pytest.FixtureRequest) -> Iterator[Alone]:
    made = Alone(disk.path, request.param)
    yield made
    made.die()


@pytest.mark.parametrize("alone", ["power"], indirect=True)
def test_a_creation_that_found_no_room_is_not_in_the_log(alone: Alone, disk: Disk) -> None:
    """There is room for its record, and none for its arena."""
    alone.create("w", 1, SIZE)
    disk.fill(but=32768)
    with pytest.raises(StoreError, match=r"cannot be made .*No space left on device.*: make room there"):
        alone.create("v", 1)
    disk.free()
    assert alone.push(0, "w", SIZE).outcome is Outcome.APPLIED
    alone.create("v", 2)
    assert alone.push(1, "v").outcome is Outcome.APPLIED
    latest = alone.numbers()
    (alone.folder / "arena").unlink()  # as after a loss of power
    alone.again()
    assert alone.hosted.shard.statistics.recovered_from == "log"
    assert alone.numbers() == latest


@pytest.mark.parametrize("alone", ["power"], indirect=True)
def test_a_push_that_was_refused_for_want_of_room_is_not_in_the_log(alone: Alone, disk: Disk) -> None:
    alone.create("w", 1, SIZE)
    assert alone.push(0, "w", SIZE).outcome is Outcome.APPLIED
    disk.fill(but=40960)  # a part of the record finds room
    refused = alone.push(1, "w", SIZE)
    assert refused.outcome is Outcome.BUSY
    assert "No space left on device" in refused.reason
    latest = alone.numbers()
    alone.again()
    assert alone.numbers() == latest
    disk.free()
    (alone.folder / "arena").unlink()
    alone.again()
    assert alone.numbers() == latest
    assert alone.hosted.shard.memory.book.version == 1
    assert alone.push(1, "w", SIZE).outcome is Outcome.APPLIED


@pytest.mark.parametrize("alone", ["process", "power"], indirect=True)
def test_snapshots_go_on_when_there_is_room_again_though_the_report_had_none(
    alone: Alone, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.create("w", 1, SIZE)
    statistics = alone.hosted.shard.statistics
    with (disk.path / "report").open("w", buffering=1) as report, ExitStack() as stack, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", report)
        disk.fill()
        write_from_time_to_time(0.001, [alone.hosted], stack)
        until(lambda: statistics.snapshots_failed > 50)  # whose lines fill the page that the report had
        assert statistics.snapshots == 0
        disk.free()
        until(lambda: statistics.snapshots)
    latest = alone.numbers()
    (alone.folder / "arena").unlink()
    alone.again()
    assert alone.numbers() == latest


@pytest.mark.parametrize("alone", ["process", "power"], indirect=True)
def test_what_killed_snapshots_leave_does_not_fill_the_disk(alone: Alone) -> None:
    alone.create("w", 1, SIZE)
    shard = alone.hosted.shard
    log = shard.state._recorder
    assert log is None or isinstance(log, Log)

    def die(moment: str) -> None:
        raise SystemExit

    for _ in range(3):
        with pytest.raises(SystemExit):
            Snapshots(alone.folder, shard, log=log, probe=die).write()
        assert len(list(alone.folder.glob(".new-*"))) == 1
    Snapshots(alone.folder, shard, log=log).write()
    assert not list(alone.folder.glob(".new-*"))


def test_nothing_is_left_behind_where_there_was_no_room_for_a_store(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(StoreError, match=r"cannot be founded in .*No space left.*: make room, or choose another"):
        open_store(disk.path / "store", POLICY)
    left: list[Any] = list((disk.path / "store").glob("*"))
    assert not left
    disk.free()
    store = open_store(disk.path / "store", POLICY)
    try:
        assert store.create({"w": np.ones(3, np.float32)}) == ("w",)
    finally:
        store.close()
