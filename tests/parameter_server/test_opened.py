"""Stores in processes of their own, as drivers open them and as all that can die there does."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from watching import PATIENCE, runs, until

from parameter_server.clients.client import ShardedStore
from parameter_server.links.network import NetworkLink
from parameter_server.opened import Running, connect, open_store, running
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome
from parameter_server.policy import Group, Policy
from parameter_server.processes import faults
from parameter_server.processes.folder import Folder, Network, held
from parameter_server.processes.shard_process import DESCRIPTORS
from parameter_server.store import FencedError, PushId, StoreError

POLICY = Policy((Group(SGD(1.0)),), lease=PATIENCE)
START = np.zeros((64, 3), np.float32)
ONES = np.ones((64, 3), np.float32)


class Opened:
    """A store of two shards in two processes; who opens it again closes it again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores: list[ShardedStore] = []
        self.seen: set[int] = set()

    def open(self, policy: Policy = POLICY, epoch: int = 0, network: Network | None = None) -> ShardedStore:
        store = open_store(self.folder, policy, shards=2, processes=2, epoch=epoch, network=network)
        self.stores.append(store)
        self.running()
        return store

    def connect(self) -> ShardedStore:
        store = connect(self.folder)
        self.stores.append(store)
        return store

    def running(self) -> Running:
        """The processes, when all of them are there."""

        def look() -> Running | None:
            found = running(self.folder)
            return found if found is not None and None not in found.processes else None

        found = until(look)
        self.seen |= {found.supervisor, *self.shards(found)}
        return found

    @staticmethod
    def shards(found: Running) -> list[int]:
        return [pid for pid in found.processes if pid is not None]

    def close(self) -> None:
        for store in self.stores:
            store.close()
        self.stores.clear()

    def all_ended(self) -> bool:
        return not held(Folder(self.folder).lock) and not any(runs(pid) for pid in self.seen)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made = Opened(tmp_path / "store")
    yield made
    made.close()
    until(made.all_ended)


def push(store: ShardedStore, number: int, client: str = "a") -> None:
    """One step of -1 everywhere."""
    assert store.push({"w": ONES}, store.pull().version, PushId(client, number)).counted


def value(store: ShardedStore) -> float:
    """What all elements are; they are all the same, on all shards, when every push counted once on each."""
    pulled = store.pull()
    values = np.unique(np.asarray(pulled.tensors["w"]))
    assert len(values) == 1
    return float(values[0])


def test_a_store_that_was_closed_has_all_when_it_is_opened_again(opened: Opened) -> None:
    store = opened.open()
    assert store.create({"w": START}) == ("w",)
    for number in range(3):
        push(store, number)
    version = store.pull().version
    opened.close()
    until(opened.all_ended)
    store = opened.open()
    assert value(store) == -3
    assert store.pull().version == version
    assert store.join("a") == 3


def test_a_killed_shard_comes_back_with_every_push_counted_once(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    for number in range(6):
        push(store, number)
        os.kill(opened.shards(opened.running())[number % 2], signal.SIGKILL)
    push(store, 6)
    assert value(store) == -7
    assert [one.recovered_from for one in store.statistics()] == ["arena", "arena"]
    assert [one.recoveries for one in store.statistics()] == [3, 3]


def test_a_killed_supervisor_is_replaced_and_the_shards_go_on(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    before = opened.running()
    os.kill(before.supervisor, signal.SIGKILL)
    until(lambda: not runs(before.supervisor))
    push(store, 0)
    after = until(lambda: running(opened.folder))
    assert after.supervisor != before.supervisor
    assert opened.running().processes == before.processes
    push(store, 1)
    assert value(store) == -2


def test_when_all_processes_are_killed_at_once_the_driver_starts_them_again(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    push(store, 0)
    before = opened.running()
    for pid in (before.supervisor, *opened.shards(before)):
        os.kill(pid, signal.SIGKILL)
    push(store, 1)
    assert value(store) == -2
    assert not set(opened.shards(opened.running())) & set(opened.shards(before))


# A driver that opens the store, pushes what it acknowledges in a file, and goes on until it is killed.
DRIVER = """
import sys, itertools
from pathlib import Path
import numpy as np
from parameter_server.opened import open_store
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
from parameter_server.store import FencedError, PushId, StoreError

folder, lease, acknowledged = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
store = open_store(folder, Policy((Group(SGD(1.0)),), lease=lease), shards=2, processes=2)
store.create({"w": np.zeros((64, 3), np.float32)})
with acknowledged.open("a") as file:
    for number in itertools.count(store.join("a")):
        pushed = store.push({"w": np.ones((64, 3), np.float32)}, store.pull().version, PushId("a", number))
        assert pushed.counted
        file.write(f"{number}\\n")
        file.flush()
"""


def counted(store: ShardedStore, acknowledged: int) -> set[int]:
    """How many pushes each shard has counted: what was acknowledged, and at most one that was on its way.

    A driver that dies between two shards leaves them one apart.
    """
    counts = {int(-one) for one in np.unique(store.pull().tensors["w"])}
    assert counts <= {acknowledged, acknowledged + 1}
    return counts


class Driver:
    """A driver in a process of its own."""

    def __init__(self, folder: Path, lease: float) -> None:
        self._acknowledged = folder.parent / "acknowledged"
        arguments = [str(folder), str(lease), str(self._acknowledged)]
        self.process = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments])

    def acknowledged(self) -> int:
        """How many pushes it knows to have been counted."""
        if not self._acknowledged.exists():
            assert self.process.poll() is None
            return 0
        return self._acknowledged.read_text().count("\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_after_everything_was_killed_at_once_nothing_acknowledged_is_missing(opened: Opened) -> None:
    driver = Driver(opened.folder, PATIENCE)
    until(lambda: driver.acknowledged() >= 20)
    before = opened.running()
    driver.process.send_signal(signal.SIGSTOP)  # so that it starts nothing while it is the last
    for pid in (before.supervisor, *opened.shards(before)):
        os.kill(pid, signal.SIGKILL)
    driver.kill()
    until(opened.all_ended)
    store = opened.open()
    assert store.join("a") == max(counted(store, driver.acknowledged()))


def test_a_driver_that_comes_after_a_killed_one_finds_the_same_processes(opened: Opened) -> None:
    driver = Driver(opened.folder, PATIENCE)
    until(lambda: driver.acknowledged() >= 3)
    before = opened.running()
    driver.kill()
    store = opened.open(epoch=1)
    assert opened.running() == before
    counted(store, driver.acknowledged())


def test_when_a_driver_was_killed_the_store_ends_with_its_lease_and_keeps_all(opened: Opened) -> None:
    driver = Driver(opened.folder, 1.0)
    until(lambda: driver.acknowledged() >= 3)
    opened.running()
    driver.kill()
    until(opened.all_ended)
    assert "lease" in Folder(opened.folder).report.read_text()
    store = opened.open(Policy((Group(SGD(1.0)),), lease=1.0))
    counted(store, driver.acknowledged())
    assert [one.recoveries for one in store.statistics()] == [0, 0]


def test_a_shard_that_is_told_to_end_leaves_a_snapshot_and_is_started_again(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    push(store, 0)
    before = opened.shards(opened.running())
    os.kill(before[0], signal.SIGTERM)
    push(store, 1)
    assert value(store) == -2
    until(lambda: opened.shards(opened.running()) != before)
    assert [one.recoveries for one in store.statistics()] == [0, 0]
    assert "signal 15" in Folder(opened.folder).report.read_text()
    assert len(list(Folder(opened.folder).shard(0).glob("snapshot-*"))) == 1


@pytest.mark.parametrize("moment", ["before apply", "inside apply", "after apply", "after commit", "inside snapshot"])
def test_a_shard_may_die_at_any_moment_of_a_push_or_a_snapshot(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv(faults.ASKED, "yes")
    store = opened.open()
    store.create({"w": START})
    push(store, 0)
    for shard in (0, 1):
        (Folder(opened.folder).shard(shard) / f"die {moment}").touch()
    store.snapshot()
    push(store, 1)
    push(store, 2)
    assert value(store) == -3
    assert [one.recoveries for one in store.statistics()] == [1, 1]
    store.snapshot()


def test_versions_go_on_and_a_driver_is_told_when_a_shard_has_lost_its_arena(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    push(store, 0)
    store.snapshot()
    push(store, 1)
    before = store.pull().version
    opened.close()
    until(opened.all_ended)
    arena = Folder(opened.folder).shard(1) / "arena"
    arena.write_bytes(bytes(arena.stat().st_size))
    for snapshot in sorted(arena.parent.glob("snapshot-*"))[1:]:
        snapshot.write_bytes(snapshot.read_bytes()[:-1])
    store = opened.open()
    after = store.pull().version
    assert after[0] == before[0]
    assert after[1] > before[1]
    assert [one.recovered_from for one in store.statistics()] == ["arena", "previous snapshot"]
    assert "may lack what was acknowledged last" in Folder(opened.folder).report.read_text()
    assert np.unique(np.asarray(store.pull().tensors["w"])).tolist() == [-2.0, -1.0]


def test_another_driver_of_the_same_epoch_shares_the_lease(opened: Opened) -> None:
    first, second = opened.open(), opened.open()
    first.create({"w": START})
    first.close()
    push(second, 0)
    assert value(second) == -1


def test_drivers_that_open_a_new_store_at_once_get_one_store(opened: Opened) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = [future.result() for future in [pool.submit(opened.open) for _ in range(4)]]
    assert sum(len(store.create({"w": START})) for store in stores) == 1
    for number, store in enumerate(stores):
        push(store, 0, f"client-{number}")
    assert value(stores[0]) == -4
    assert len(opened.seen) == 3


def test_a_driver_that_was_frozen_for_longer_than_its_lease_starts_the_store_again(opened: Opened) -> None:
    driver = Driver(opened.folder, 0.2)
    until(lambda: driver.acknowledged() >= 3)
    opened.running()
    driver.process.send_signal(signal.SIGSTOP)
    until(opened.all_ended)
    before = driver.acknowledged()
    driver.process.send_signal(signal.SIGCONT)
    until(lambda: driver.acknowledged() >= before + 3)
    opened.running()
    driver.kill()
    until(opened.all_ended)
    store = opened.open(Policy((Group(SGD(1.0)),), lease=0.2))
    counted(store, driver.acknowledged())


def test_a_driver_of_an_earlier_epoch_is_turned_away(opened: Opened) -> None:
    opened.open(epoch=5)
    with pytest.raises(FencedError, match=r"epoch 5 has taken over .* this one is of epoch 4"):
        opened.open(epoch=4)


@pytest.mark.parametrize("size", [64, 300_000])  # in the message, and by the ring
def test_a_driver_that_was_replaced_changes_nothing_any_more(opened: Opened, size: int) -> None:
    first = opened.open(epoch=1)
    first.create({"w": np.zeros((size, 3), np.float32)})
    ones = {"w": np.ones((size, 3), np.float32)}
    assert first.push(ones, first.pull().version, PushId("a", 0)).counted
    worker = opened.connect()
    second = opened.open(epoch=2)
    pulled = first.pull()
    with pytest.raises(FencedError, match="epoch 2 has taken over from that of epoch 1"):
        first.push(ones, pulled.version, PushId("a", 1))
    assert sum(one.pushes[Outcome.FENCED] for one in second.statistics()) > 0
    with pytest.raises(FencedError, match="epoch 2"):
        first.create({"v": START})
    with pytest.raises(FencedError, match="epoch 2"):
        first.join("b")
    assert value(second) == -1
    assert list(second.pull().tensors) == ["w"]
    assert second.push(ones, pulled.version, PushId("a", 1)).counted
    assert worker.push(ones, pulled.version, PushId("b", 0)).counted
    assert value(first) == -3


def test_who_asks_for_another_store_in_the_same_folder_is_told_of_both(opened: Opened) -> None:
    opened.open()
    with pytest.raises(StoreError, match="its shards is 2, and 3 was asked for"):
        open_store(opened.folder, POLICY, shards=3)
    with pytest.raises(StoreError, match=r"its policy\.groups\.0\.optimizer\.learning_rate is 1\.0, and 0\.5"):
        open_store(opened.folder, Policy((Group(SGD(0.5)),), lease=PATIENCE), shards=2)
    with pytest.raises(StoreError, match="its durability is process, and power was asked for"):
        open_store(opened.folder, POLICY, shards=2, durability="power")


@pytest.mark.parametrize(
    ("shards", "processes", "durability", "message"),
    [
        (0, None, "process", "1 shard at least"),
        (2, 3, "process", "none is cut in two"),
        (2, 0, "process", "none is cut in two"),
        (2, 1, "forever", "must be one of: process, power"),
    ],
)
def test_what_cannot_be_opened_is_refused_before_anything_is_made(
    tmp_path: Path, shards: int, processes: int | None, durability: str, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(tmp_path / "store", POLICY, shards=shards, processes=processes, durability=durability)
    assert not (tmp_path / "store").exists()


def test_workers_connect_by_the_folder_and_by_the_address(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    push(opened.connect(), 0, "b")
    address = Folder(opened.folder).read_address()
    assert address is not None
    worker = connect(address)
    push(worker, 0, "c")
    worker.close()
    assert value(store) == -2


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are asked for on Linux")
def test_a_shard_has_room_for_more_clients_than_a_process_has_descriptors_for_at_first(opened: Opened) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = max(int(name) for name in os.listdir("/proc/self/fd"))  # by this process and the tests before
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 200, limits[1]))
    try:
        opened.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for pid in opened.shards(opened.running()):
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[0] == min(limits[1], DESCRIPTORS)


def test_a_worker_that_was_forked_after_its_first_push_pushes_on(opened: Opened) -> None:
    opened.open().create({"w": START})
    store = opened.connect()
    push(store, 0)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(int(PATIENCE))
            push(store, 1)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert value(store) == -2
    push(store, 2)


def test_nobody_connects_where_no_store_is(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store in"):
        connect(tmp_path)
    assert running(tmp_path) is None


def test_workers_of_another_machine_reach_a_shard_where_it_was_after_it_was_killed(opened: Opened) -> None:
    store = opened.open(network=Network())
    store.create({"w": START})
    address = Folder(opened.folder).read_address()
    assert address is not None
    assert len(set(address.network)) == 2
    assert Folder(opened.folder).token.stat().st_mode & 0o777 == 0o600
    threads = Path(f"/proc/{opened.running().supervisor}/task")
    assert not threads.exists() or len(list(threads.iterdir())) == 1  # or its forks would not be sound
    elsewhere = connect(replace(address, machine="another"))
    opened.stores.insert(0, elsewhere)
    assert all(isinstance(link, NetworkLink) for link in elsewhere.links)
    push(elsewhere, 0, "b")
    os.kill(opened.shards(opened.running())[1], signal.SIGKILL)
    push(elsewhere, 1, "b")
    assert value(store) == -2
    assert Folder(opened.folder).read_address() == address


def test_gradients_travel_in_fewer_bytes_where_that_is_asked(opened: Opened) -> None:
    store = opened.open(network=Network())
    store.create({"w": START})
    address = Folder(opened.folder).read_address()
    assert address is not None
    fine = ONES + np.float32(2**-10)  # which bfloat16 rounds to 1
    far = connect(replace(address, machine="another"), compression="bfloat16")
    near = connect(opened.folder, compression="bfloat16")
    opened.stores[:0] = [far, near]
    assert far.push({"w": fine}, far.pull().version, PushId("far", 0)).counted
    assert value(store) == -1
    assert near.push({"w": fine}, near.pull().version, PushId("near", 0)).counted
    assert value(store) == -2 - 2**-10


def test_workers_of_another_machine_are_told_when_a_store_does_not_listen_for_them(opened: Opened) -> None:
    opened.open()
    address = Folder(opened.folder).read_address()
    assert address is not None
    with pytest.raises(StoreError, match="listens there only"):
        connect(replace(address, machine="another"))


def test_the_metrics_of_a_store_that_runs_are_served_on_loopback(opened: Opened) -> None:
    store = opened.open()
    store.create({"w": START})
    push(store, 0)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "parameter_server.metrics", str(opened.folder), "--port", str(port)]
    # A shell has the programs that it starts in the background ignore the signal.
    process = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def scrape() -> str | None:
        assert process.poll() is None
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text: str = answer.read().decode()
                return text
        except URLError:
            return None

    try:
        text = until(scrape)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    for shard in (0, 1):
        assert f'nas_store_up{{shard="{shard}"}} 1.0' in text
        assert f'nas_store_pushes_total{{outcome="applied",shard="{shard}"}} 1.0' in text


def test_a_store_that_cannot_start_says_why_and_leaves_nothing_running(opened: Opened) -> None:
    opened.folder.mkdir()
    (opened.folder / "shard-1").write_text("in the way")
    with pytest.raises(StoreError, match="does not start: FileExistsError"):
        open_store(opened.folder, POLICY, shards=2, processes=2)
    until(lambda: running(opened.folder) is None)
    (opened.folder / "shard-1").unlink()
    store = opened.open()
    assert store.create({"w": START}) == ("w",)


def test_a_store_that_another_machine_runs_is_not_started_here(opened: Opened) -> None:
    opened.open()
    folder = Folder(opened.folder)
    address = folder.read_address()
    assert address is not None
    folder.announce(replace(address, machine="another", sockets="/nowhere"))
    with pytest.raises(StoreError, match="runs on another machine"):
        opened.open()
    folder.announce(address)


def test_what_stores_run_on_is_there_without_torch_ray_and_grpc() -> None:
    loaded = "import sys, parameter_server.opened; from parameter_server.processes import shard_process as process; "
    prepared = "from pathlib import Path; "
    prepared += "from parameter_server.processes.folder import Folder; process.prepare(Folder(Path('nowhere'))); "
    said = subprocess.run(
        [sys.executable, "-c", loaded + prepared + "print({'torch', 'ray', 'grpc'} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "set()"
