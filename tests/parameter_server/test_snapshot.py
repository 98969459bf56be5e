"""Snapshots: they hold all a shard is, bit for bit; damage and full disks are noticed, and the one before counts."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from unreliable import links_to

from parameter_server.clients.client import ShardedStore
from parameter_server.files.snapshot import Snapshots, newest, read_image
from parameter_server.optimizers import SGD, Adam
from parameter_server.policy import Group, Policy
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import PushId, Rows, StoreError

if TYPE_CHECKING:
    from parameter_server.shards.book import Book

POLICY = Policy((Group(Adam(0.1)),))


def shard_of(memory: HeapMemory) -> Shard:
    return Shard(0, 1, memory, POLICY, clock=monotonic)


def trained(pushes: int = 5) -> Shard:
    """A shard with some history: two clients, dense gradients and rows, a push that came twice."""
    shard = shard_of(HeapMemory())
    store = ShardedStore(links_to([shard]))
    generator = np.random.default_rng(2)
    store.create(
        {"a": generator.normal(size=(6, 2)), "b": generator.normal(size=7).astype("f4"), "e": np.empty((0, 3))}
    )
    work(shard, 0, pushes)
    return shard


def work(shard: Shard, first: int, stop: int) -> None:
    """Pushes of numbers `first` to before `stop`, the same every time."""
    store = ShardedStore(links_to([shard]))
    for number in range(first, stop):
        generator = np.random.default_rng(number)
        sparse = Rows(np.array([1, number % 6]), generator.normal(size=(2, 2)))
        store.push({"b": generator.normal(size=7).astype("f4")}, store.pull().version, PushId("dense", number, 1))
        store.push({"a": sparse}, store.pull().version, PushId("sparse", number))
        store.push({"a": sparse}, store.pull().version, PushId("sparse", number))


def contents(shard: Shard) -> dict[str, Any]:
    """All a shard is, as what can be compared; but for where its memory keeps it."""
    memory = shard.memory
    book: Book = memory.book
    names = ("version", "incarnation", "epoch", "round", "table", "clients")
    return {
        "pieces": memory.pieces,
        "buffers": [[one.tobytes() for one in memory.front(place)] for place in range(len(memory.pieces))],
        "header": [int(book.header[name][0]) for name in names],
        "of pieces": [book.pieces[name].tolist() for name in ("changed", "steps", "ledger")],
        "clients": [row.tobytes() for row in book.clients[: int(book.header["clients"][0])]],
    }


def recovered(folder: Path) -> Shard:
    memory = HeapMemory()
    image = newest(folder).image
    assert image is not None
    image.pour(memory)
    return shard_of(memory)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Files larger than `room` bytes cannot be written, as on a full disk: part of it is, then comes the error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_shard_goes_on_from_its_snapshot_as_if_nothing_had_happened(tmp_path: Path) -> None:
    shard = trained()
    path = Snapshots(tmp_path, shard).write()
    assert path == tmp_path / "snapshot-000000001"
    again = recovered(tmp_path)
    assert contents(again) == contents(shard)
    for one in (shard, again):
        work(one, 5, 8)
    assert contents(again) == contents(shard)
    assert shard.statistics.snapshots == 1
    assert shard.statistics.snapshot_bytes == path.stat().st_size


def test_only_what_changed_is_copied_and_all_of_it_is_written(tmp_path: Path) -> None:
    shard = trained()
    snapshots = Snapshots(tmp_path, shard)
    snapshots.write()
    store = ShardedStore(links_to([shard]))
    store.push({"b": np.ones(7, "f4")}, store.pull().version, PushId("dense", 5, 1))
    store.create({"new": np.full(3, 9.0)})
    snapshots.write()
    assert contents(recovered(tmp_path)) == contents(shard)
    store.push({"new": np.ones(3)}, store.pull().version, PushId("dense", 6, 1))
    snapshots.write()
    assert contents(recovered(tmp_path)) == contents(shard)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot-000000002", "snapshot-000000003"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "noise", "other"])
def test_a_damaged_snapshot_is_noticed_and_the_one_before_counts(tmp_path: Path, damage: str) -> None:
    shard = trained()
    snapshots = Snapshots(tmp_path, shard)
    snapshots.write()
    before = contents(shard)
    work(shard, 5, 6)
    path = snapshots.write()
    data = bytearray(path.read_bytes())
    generator = np.random.default_rng(1)
    for place in generator.integers(0, len(data), 20):
        if damage == "cut":
            path.write_bytes(data[:place])
        elif damage == "flip":
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        else:
            path.write_bytes({"empty": b"", "noise": generator.bytes(500), "other": b"CWSNAP01" * 100}[damage])
        with pytest.raises(StoreError, match=r"damaged|no snapshot"):
            read_image(path)
        found = newest(tmp_path)
        assert found.number == 1
        assert len(found.damages) == 1
        assert contents(recovered(tmp_path)) == before
    snapshots.write()  # with a number of its own
    assert contents(recovered(tmp_path)) == contents(shard)


def test_a_full_disk_leaves_the_snapshot_before_and_is_counted(tmp_path: Path) -> None:
    shard = trained()
    snapshots = Snapshots(tmp_path, shard)
    snapshots.write()
    before = contents(shard)
    work(shard, 5, 6)
    with full_disk(300), pytest.raises(OSError, match="File too large"):
        snapshots.write()
    assert shard.statistics.snapshots_failed == 1
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-000000001"]
    assert contents(recovered(tmp_path)) == before
    snapshots.write()
    assert contents(recovered(tmp_path)) == contents(shard)
    assert shard.statistics.snapshots == 2


def test_who_dies_inside_a_snapshot_leaves_the_one_before(tmp_path: Path) -> None:
    shard = trained()
    Snapshots(tmp_path, shard).write()
    before = contents(shard)
    work(shard, 5, 6)

    def die(moment: str) -> None:
        assert moment == "inside snapshot"
        raise KeyboardInterrupt  # nothing is tidied up, as by a kill

    with pytest.raises(KeyboardInterrupt):
        Snapshots(tmp_path, shard, probe=die).write()
    assert (tmp_path / ".new-snapshot-000000002").exists()
    assert contents(recovered(tmp_path)) == before
    Snapshots(tmp_path, shard).write()
    assert contents(recovered(tmp_path)) == contents(shard)
    assert not list(tmp_path.glob(".new-*"))


def test_a_snapshot_is_not_poured_into_a_shard_whose_optimizer_remembers_other_things(tmp_path: Path) -> None:
    image = read_image(Snapshots(tmp_path, trained()).write())
    with pytest.raises(StoreError, match=r"with 2 arrays .* SGD remembers 0: open it with the policy"):
        image.pour(HeapMemory(), Policy((Group(SGD(0.1)),)))
    image.pour(HeapMemory(), POLICY)
