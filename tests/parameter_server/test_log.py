"""The log: what it has acknowledged is there after a loss of power, bit for bit, and nothing that it has refused."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread
from time import monotonic
from typing import Any

import numpy as np
import pytest
from test_snapshot import contents, full_disk, shard_of
from unreliable import links_to

from parameter_server.clients.client import ShardedStore
from parameter_server.files.log import Log, Replayed, replay
from parameter_server.files.snapshot import Snapshots, newest
from parameter_server.optimizers import SGD, Adam
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy, Sync
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.memory import Memory
from parameter_server.shards.recorder import Recorder
from parameter_server.shards.shard import Shard
from parameter_server.shards.state import State
from parameter_server.store import PushId, Rows, StoreError, UnreachableError

PLAIN = Policy((Group(Adam(0.1)),))
START = {"a": np.ones((6, 2)), "b": np.ones(7, "f4")}


def recording(folder: Path, memory: Memory | None = None, policy: Policy = PLAIN) -> tuple[Shard, Log]:
    memory = memory or HeapMemory()
    log = Log(folder, memory.book.version, memory.pieces)
    return Shard(0, 1, memory, policy, clock=monotonic, recorder=log), log


def after_power_loss(folder: Path, policy: Policy = PLAIN) -> tuple[Shard, Replayed]:
    """What the files in a folder make of a machine that has lost everything else."""
    memory = HeapMemory()
    found = newest(folder)
    if found.image is not None:
        found.image.pour(memory)
    replayed = replay(folder, found.number, State(memory, policy, None, lambda moment: None))
    return Shard(0, 1, memory, policy, clock=monotonic), replayed


def push(shard: Shard, number: int, client: str = "me", attempt: int = 0, patience: float = 5.0) -> None:
    store = ShardedStore(links_to([shard]), patience=patience)
    generator = np.random.default_rng(number)
    gradients: dict[str, Any] = {"b": generator.normal(size=7).astype("f4")}
    gradients["a"] = Rows(np.array([1, number % 6]), generator.normal(size=(2, 2)))
    store.push(gradients, store.pull().version, PushId(client, number, attempt))


def numbers(shard: Shard) -> dict[str, Any]:
    """All that is recorded; whose turn it was to say hello is not."""
    return {name: value for name, value in contents(shard).items() if name != "clients"}


def clients(shard: Shard) -> list[tuple[Any, ...]]:
    book = shard.memory.book
    rows = book.clients[: int(book.header["clients"][0])]
    return [(row["name"], row["attempt"], row["highest"], row["mask"], row["versions"].tolist()) for row in rows]


def test_what_was_acknowledged_is_there_after_a_loss_of_power(tmp_path: Path) -> None:
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    for number in range(5):
        push(shard, number, attempt=2)
    ShardedStore(links_to([shard])).create({"late": np.ones(3)})
    push(shard, 0, "another")
    log.close()
    again, replayed = after_power_loss(tmp_path)
    assert numbers(again) == numbers(shard)
    assert clients(again) == clients(shard)
    assert not replayed.damages
    with pytest.raises(StoreError, match="attempt 2 of me has taken over"):
        push(again, 5, attempt=1)
    push(again, 4, attempt=2)  # sent again: it was counted
    assert numbers(again) == numbers(shard)


def test_a_log_begins_anew_with_each_snapshot(tmp_path: Path) -> None:
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    snapshots = Snapshots(tmp_path, shard, log=log)
    for number in range(12):
        push(shard, number)
        if number % 3 == 2:
            snapshots.write()
    push(shard, 12)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{what}-00000000{number}" for what in ("log", "snapshot") for number in (3, 4)
    ]
    again, replayed = after_power_loss(tmp_path)
    assert replayed == Replayed(1, ())
    assert numbers(again) == numbers(shard)
    newest_one = tmp_path / "snapshot-000000004"
    newest_one.write_bytes(newest_one.read_bytes()[:-1])
    again, replayed = after_power_loss(tmp_path)  # from the one before
    assert replayed == Replayed(4, ())
    assert numbers(again) == numbers(shard)


def test_a_torn_record_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    push(shard, 0)
    before, size = numbers(shard), (tmp_path / "log-000000000").stat().st_size
    push(shard, 1)
    log.close()
    whole = (tmp_path / "log-000000000").read_bytes()
    for end in {*range(size, len(whole), 37), size, size + 1, len(whole) - 1}:
        for tail in (b"", bytes(50)):  # a file may have become longer before its bytes came to the disk
            (tmp_path / "log-000000000").write_bytes(whole[:end] + tail)
            again, replayed = after_power_loss(tmp_path)
            assert numbers(again) == before
            assert not replayed.damages
            Log(tmp_path, again.memory.book.version, again.memory.pieces).close()
            assert (tmp_path / "log-000000000").read_bytes() == whole[:size]


def test_a_push_that_was_recorded_but_never_taken_gives_its_place_to_the_next(tmp_path: Path) -> None:
    """The process dies between record and commit; its memory outlives it without the push."""
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    push(shard, 0)
    memory = shard.memory
    lost = ShardedStore(links_to([shard]))
    shard.memory.commit = _die  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        lost.push({"b": np.full(7, 100.0, "f4")}, (1,), PushId("me", 1))
    del memory.commit
    memory.rollback()
    log.close()
    shard, log = recording(tmp_path, memory)
    push(shard, 1)
    log.close()
    again, replayed = after_power_loss(tmp_path)
    assert numbers(again) == numbers(shard)
    assert not replayed.damages


def test_what_was_recorded_but_never_created_gives_its_place_to_the_next(tmp_path: Path) -> None:
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    memory = shard.memory
    memory.grow = _die  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        links_to([shard])[0].create([Piece("c", (2,), "float32", 0, 2)], [np.full(2, 1.0, "f4")])
    del memory.grow
    log.close()
    shard, log = recording(tmp_path, memory)
    links_to([shard])[0].create([Piece("c", (2,), "float32", 0, 2)], [np.full(2, 2.0, "f4")])
    log.close()
    assert numbers(after_power_loss(tmp_path)[0]) == numbers(shard)


def pushed_with_little_patience(shard: Shard, number: int) -> bool:
    try:
        push(shard, number, patience=0.05)
    except UnreachableError as error:
        if "could not be recorded" in str(error):
            return False
        raise
    return True


def _die(*arguments: Any) -> None:
    raise SystemExit


def test_a_flipped_bit_in_the_middle_is_no_torn_tail(tmp_path: Path) -> None:
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    push(shard, 0)
    size = (tmp_path / "log-000000000").stat().st_size
    for number in range(1, 4):
        push(shard, number)
    log.close()
    data = bytearray((tmp_path / "log-000000000").read_bytes())
    data[size + 60] ^= 4
    (tmp_path / "log-000000000").write_bytes(data)
    again, replayed = after_power_loss(tmp_path)
    assert again.memory.book.version == 1
    assert replayed.damages == (f"{tmp_path}/log-000000000 is damaged after {size} bytes",)


def test_a_full_disk_refuses_pushes_loses_none_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    shard, log = recording(tmp_path)
    store = ShardedStore(links_to([shard]))
    store.create(START)
    snapshots = Snapshots(tmp_path, shard, log=log)
    snapshots.write()
    acknowledged, number = [], 0
    with full_disk(2000):
        while True:
            before = numbers(shard)
            if not pushed_with_little_patience(shard, number):
                break
            acknowledged.append(number)
            number += 1
        assert numbers(shard) == before
        assert numbers(after_power_loss(tmp_path)[0]) == before
        with pytest.raises(OSError, match="File too large"):
            snapshots.write()
        with pytest.raises(StoreError, match="could not be recorded"):
            store.create({"large": np.ones(1000)})
    assert len(acknowledged) > 1
    push(shard, number)  # the same again
    store.create({"large": np.ones(1000)})
    log.close()
    assert numbers(after_power_loss(tmp_path)[0]) == numbers(shard)
    snapshots_failed = shard.statistics.snapshots_failed
    assert snapshots_failed == 1


def test_what_could_not_be_synced_was_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard, log = recording(tmp_path)
    ShardedStore(links_to([shard])).create(START)
    push(shard, 0)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", fail)
        assert not pushed_with_little_patience(shard, 1)
    assert numbers(after_power_loss(tmp_path)[0]) == numbers(shard)
    assert shard.memory.book.version == 1
    log.close()


def test_rounds_of_a_synchronous_store_are_replayed_as_they_were(tmp_path: Path) -> None:
    policy = Policy((Group(SGD(0.1)),), Sync(2))
    shard, log = recording(tmp_path, policy=policy)
    ShardedStore(links_to([shard])).create(START)
    together = Barrier(2)

    def work(client: str) -> None:
        ShardedStore(links_to([shard])).join(client)
        together.wait()
        for number in range(4):
            push(shard, number, client)

    workers = [Thread(target=work, args=(client,)) for client in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    log.close()
    again, replayed = after_power_loss(tmp_path, policy)
    assert replayed == Replayed(6, ())  # claims, pieces with their seals, four rounds
    assert numbers(again) == numbers(shard)
    assert sorted(clients(again)) == sorted(clients(shard))


def test_a_recorder_hears_of_what_is_created(tmp_path: Path) -> None:
    class Deaf(Recorder):
        def record(self, version: int, pushes: Any) -> None:
            pass

    shard = Shard(0, 1, HeapMemory(), PLAIN, clock=monotonic, recorder=Deaf())
    ShardedStore(links_to([shard])).create(START)
    assert contents(shard)["pieces"]
    assert not contents(shard_of(HeapMemory()))["pieces"]
