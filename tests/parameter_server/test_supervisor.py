"""One supervisor per store: real processes, which are killed; what they host here is a lock and an epoch in a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from watching import PATIENCE, runs, until

from parameter_server.processes.channel import Channel, Message
from parameter_server.processes.drivers import Drivers
from parameter_server.processes.folder import Folder, Layout, held
from parameter_server.processes.place import FREE, LONGEST_PAUSE, at_fault, pause

# What hosts nothing, but is locked, tied, ended and killed as a shard process is.
BODY = """
import os, sys, time
from pathlib import Path
from parameter_server.processes.folder import Folder, locked
from parameter_server.processes.supervisor_process import oversee
from parameter_server.processes.tie import Tie

def body(place):
    folder = Folder(place.folder)
    if (place.folder / "broken").exists():
        return 3
    locks = [locked(folder.life(shard)) for shard in place.shards]
    if None in locks:
        return 4
    known = folder.shard(place.shards[0]) / "epoch"
    def take(epoch):
        highest = max(epoch, int(known.read_text()) if known.exists() else -1)
        known.with_suffix(".new").write_text(str(highest))
        known.with_suffix(".new").replace(known)
        return highest
    with (place.folder / "births").open("a") as births:
        births.write(f"{place.process} {os.getpid()}\\n")
    tie = Tie(place, take, {}, lambda: True)
    reason = tie.hold()
    (folder.shard(place.shards[0]) / "ended").write_text(reason)
    return 0

sys.exit(oversee(Path(sys.argv[1]), body))
"""


class Overseen:
    """A store's folder, and the processes that were started on it."""

    def __init__(self, path: Path, lease: float) -> None:
        self.folder = Folder(path)
        self.folder.found(Layout(3, 2, "process", {"lease": lease}))
        self.started: list[subprocess.Popen[bytes]] = []
        self.channels: list[Channel] = []

    def supervise(self) -> subprocess.Popen[bytes]:
        report = self.folder.report.open("ab")
        with report:
            process = subprocess.Popen([sys.executable, "-c", BODY, str(self.folder.path)], stderr=report)
        self.started.append(process)
        return process

    def births(self) -> list[tuple[int, int]]:
        """Processes of places that began, in order: place, pid."""
        path = self.folder.path / "births"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(place), int(pid)) for place, pid in (line.split() for line in lines)]

    def hosts(self) -> dict[int, int]:
        """The last process of each place."""
        return dict(self.births())

    def wait_for_another(self, before: dict[int, int]) -> None:
        until(lambda: self.hosts() != before)

    def ask(self, epoch: int) -> tuple[Channel, Message]:
        """A driver says hello, and is answered."""
        channel = self.connected()
        channel.send({"driver": epoch})
        return channel, self.answer(channel)

    def connected(self) -> Channel:
        def attempt() -> Channel | None:
            address = self.folder.read_address()
            try:
                return None if address is None else Channel.to(address.supervisor)
            except OSError:
                return None

        channel = until(attempt)
        self.channels.append(channel)
        return channel

    def answer(self, channel: Channel) -> Message:
        return until(lambda: next(iter(channel.receive() or ()), None))

    def everyone(self) -> set[int]:
        return {pid for _, pid in self.births()} | {process.pid for process in self.started}

    def close(self) -> None:
        for channel in self.channels:
            channel.close()
        for process in self.started:
            process.kill()
            process.wait()
        for _, pid in self.births():
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        address = self.folder.read_address()
        if address is not None:
            shutil.rmtree(address.sockets, ignore_errors=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Overseen]:
    made = Overseen(tmp_path / "store", lease=PATIENCE)
    yield made
    made.close()
    until(lambda: not any(runs(pid) for pid in made.everyone()))


def test_a_driver_is_answered_when_every_place_is_served_and_knows_its_epoch(store: Overseen) -> None:
    store.supervise()
    _, answer = store.ask(7)
    assert answer == {"epoch": 7}
    assert set(store.hosts()) == {0, 1}
    assert [(store.folder.shard(shard) / "epoch").read_text() for shard in (0, 1)] == ["7", "7"]
    assert store.folder.address.stat().st_mode & 0o777 == 0o600
    address = store.folder.read_address()
    assert address is not None
    assert Path(address.sockets).stat().st_mode & 0o777 == 0o700


def test_a_killed_shard_process_is_replaced_and_the_others_go_on(store: Overseen) -> None:
    store.supervise()
    store.ask(0)
    for _ in range(5):
        before = store.hosts()
        os.kill(before[1], signal.SIGKILL)
        store.wait_for_another(before)
        assert store.hosts()[0] == before[0]
    assert len(store.births()) == 7
    _, answer = store.ask(0)
    assert answer == {"epoch": 0}


def test_a_new_supervisor_adopts_what_a_killed_one_has_left(store: Overseen) -> None:
    first = store.supervise()
    store.ask(3)
    before = store.hosts()
    first.kill()
    first.wait()
    assert all(runs(pid) for pid in before.values())
    store.supervise()
    _, answer = store.ask(3)
    assert answer == {"epoch": 3}
    assert store.hosts() == before
    os.kill(before[0], signal.SIGKILL)  # of which the new one is not the parent
    store.wait_for_another(before)
    _, answer = store.ask(2)
    assert answer == {"fenced": 3}


def test_a_place_is_never_hosted_twice_though_supervisor_and_shard_die_together(store: Overseen) -> None:
    store.supervise()
    store.ask(0)
    for _ in range(5):
        before = store.hosts()
        store.started[-1].kill()
        os.kill(before[1], signal.SIGKILL)
        store.started[-1].wait()
        store.supervise()
        _, answer = store.ask(0)
        assert answer == {"epoch": 0}
        assert store.hosts()[0] == before[0]
        assert [runs(pid) for place, pid in store.births() if place == 1] == [False] * (len(store.births()) - 2) + [
            True
        ]


def test_of_two_supervisors_one_oversees_and_the_other_ends_at_once(store: Overseen) -> None:
    both = [store.supervise() for _ in range(2)]
    store.ask(0)
    until(lambda: sum(process.poll() is None for process in both) == 1)
    assert sorted(process.poll() is None for process in both) == [False, True]
    assert [process.returncode for process in both if process.poll() is not None] == [0]
    assert len(store.births()) == 2


def test_a_supervisor_that_comes_when_it_is_not_asked_for_any_more_starts_nothing(store: Overseen) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "parameter_server.processes.supervisor_process",
        str(store.folder.path),
        "--foreground",
        "--asked",
    ]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)  # which is at its end
    assert ended.returncode == 0
    assert store.folder.read_address() is None


def test_a_driver_of_a_later_epoch_fences_the_earlier_one_off(store: Overseen) -> None:
    store.supervise()
    early, _ = store.ask(1)
    late, answer = store.ask(2)
    assert answer == {"epoch": 2}
    assert store.answer(early) == {"fenced": 2}
    early.send({"driver": 1})
    assert store.answer(early) == {"fenced": 2}
    late.send({"driver": 2})
    assert store.answer(late) == {"epoch": 2}


def test_when_the_driver_leaves_all_end_and_nothing_is_left_running(store: Overseen) -> None:
    process = store.supervise()
    channel, _ = store.ask(0)
    channel.send({"leave": True})
    assert process.wait(PATIENCE) == 0
    assert not any(runs(pid) for pid in store.everyone())
    assert (store.folder.shard(0) / "ended").read_text() == f"signal {signal.SIGTERM}"
    address = store.folder.read_address()
    assert address is not None
    assert not Path(address.sockets).exists()


def test_a_supervisor_that_is_told_to_end_ends_shards_that_it_has_adopted(store: Overseen) -> None:
    first = store.supervise()
    store.ask(0)
    first.kill()
    first.wait()
    second = store.supervise()
    store.ask(0)
    second.terminate()
    assert second.wait(PATIENCE) == 0
    assert not any(runs(pid) for pid in store.everyone())


def test_when_a_driver_is_silent_for_its_lease_all_end(tmp_path: Path) -> None:
    store = Overseen(tmp_path / "store", lease=0.05)
    try:
        process = store.supervise()
        store.ask(0)
        assert process.wait(PATIENCE) == 0
        until(lambda: not any(runs(pid) for pid in store.everyone()))
        assert "lease" in store.folder.report.read_text()
    finally:
        store.close()


def test_shards_that_no_supervisor_comes_for_end_by_themselves(tmp_path: Path) -> None:
    store = Overseen(tmp_path / "store", lease=0.1)
    try:
        process = store.supervise()
        store.ask(0)
        process.kill()
        process.wait()
        until(lambda: not any(runs(pid) for pid in store.everyone()))
        reasons = [(store.folder.shard(shard) / "ended").read_text() for shard in (0, 1)]
        assert all("no supervisor" in reason for reason in reasons)
    finally:
        store.close()


def test_a_shard_process_that_fails_again_and_again_is_started_ever_more_slowly(store: Overseen) -> None:
    (store.folder.path / "broken").touch()
    store.supervise()
    until(lambda: store.folder.report.exists() and "failed 4 times in a row" in store.folder.report.read_text())
    assert "the next start is in 0.2 s" in store.folder.report.read_text()
    (store.folder.path / "broken").unlink()
    _, answer = store.ask(0)
    assert answer == {"epoch": 0}


def test_nothing_of_the_supervisor_stays_open_in_a_shard_process(store: Overseen) -> None:
    process = store.supervise()
    store.ask(0)
    os.kill(store.hosts()[0], signal.SIGKILL)  # so that one is started while others are connected
    until(lambda: len(store.births()) == 3)
    store.ask(0)
    descriptors = Path(f"/proc/{store.hosts()[0]}/fd")
    if not descriptors.exists():
        pytest.skip("there is no /proc here to look into")
    opened = [os.readlink(descriptor) for descriptor in descriptors.iterdir()]
    assert str(store.folder.lock) not in opened
    assert sum("life" in name for name in opened) == 2
    # its tie, and the pair by which signals wake it
    assert sum(name.startswith("socket:") for name in opened) == 3
    process.kill()
    process.wait()
    assert not held(store.folder.lock)


def test_pauses_grow_to_a_limit_and_a_kill_from_outside_costs_none() -> None:
    assert [pause(failures) for failures in range(FREE + 1)] == [0.0] * (FREE + 1)
    later = [pause(failures) for failures in range(FREE + 1, FREE + 20)]
    assert later == sorted(later)
    assert 0 < later[0] < later[-1] == LONGEST_PAUSE
    killed, crashed, failed = signal.SIGKILL, signal.SIGSEGV, 1 << 8
    assert [at_fault(status, served=True) for status in (0, killed, crashed, failed)] == [False, False, True, True]
    assert all(at_fault(status, served=False) for status in (0, killed, crashed, failed))


def test_the_lease_of_drivers_goes_on_while_one_is_away_and_is_renewed_when_it_beats() -> None:
    class Heard:
        def __init__(self) -> None:
            self.said: list[Message] = []

        def send(self, message: Message) -> bool:
            self.said.append(message)
            return True

    now = 0.0
    drivers = Drivers(lease=10, first=30, clock=lambda: now)
    now = 29.0
    assert not drivers.over
    first: Channel = Heard()  # type: ignore[assignment]
    drivers.hears(first, 4)
    drivers.install(4)
    now = 38.0
    drivers.hears(first, 4)
    drivers.lost(first)
    now = 47.0
    assert not drivers.over
    second: Channel = Heard()  # type: ignore[assignment]
    drivers.hears(second, 4)
    drivers.install(4)
    now = 56.0
    assert not drivers.over
    assert drivers.leaves(second)
    now = 57.5
    assert drivers.over
