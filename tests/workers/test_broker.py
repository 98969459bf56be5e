"""Several searches on one cluster: fair shares through a broker that may die, and nothing that is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

import pytest
from clusters import RayCluster, until
from sharer import samples, used

from workers.pools.broker import Broker
from workers.pools.leased import IDLE, Leased, Limited, lease
from workers.pools.shares import Claim, Shares

HERE = Path(__file__).parent


@final
class Desk:
    """A broker within this process, which may be lost."""

    def __init__(self) -> None:
        self.shares = Shares(time.monotonic, settle=0.0)
        self.lost = False
        self.claims: list[Claim] = []
        self.left: list[str] = []

    def ask(self, claim: str) -> str:
        if self.lost:
            raise ConnectionError("no broker")
        self.claims.append(Claim(**json.loads(claim)))
        told = self.shares.renew(self.claims[-1])
        return json.dumps({"granted": told.granted, "owed": told.owed})

    def member(self, name: str, quota: int | None = None) -> Leased:
        return Leased(name, 1.0, quota, self.ask, lambda: self.left.append(name))


def _soon(look: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not look():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.005)


def test_a_pool_waits_for_no_answer_and_keeps_the_last_one() -> None:
    desk = Desk()
    allowance = desk.member("a")
    assert allowance.granted(4, 4, 0, 0) == 0
    _soon(lambda: allowance.granted(4, 4, 0, 0) == 4)
    desk.lost = True
    for _ in range(3):
        assert allowance.granted(4, 4, 4, 4) == 4
        assert allowance.granted(3, 4, 3, 3) == 3
    allowance.close()
    allowance.close()
    assert desk.left == ["a"]


def test_what_was_granted_counts_as_held_however_long_the_driver_looks_away() -> None:
    """A strategy thinks for a minute after its pool was told of 6 slots, and the thread goes on renewing the lease."""
    told, granted = [], [6]

    def ask(claim: str) -> str:
        told.append(Claim(**json.loads(claim)))
        return json.dumps({"granted": granted[0], "owed": 0.0})

    allowance = Leased("a", 1.0, None, ask, lambda: None)
    try:
        _soon(lambda: allowance.granted(6, 6, 0, 0) == 6)
        granted[0] = 2
        _soon(lambda: told[-1].granted == 2)
        assert told[-1].held == 6
        assert allowance.granted(6, 6, 6, 6) == 2
        assert allowance.granted(6, 6, 2, 2) == 2
        _soon(lambda: told[-1].held == 2)
    finally:
        allowance.close()


def test_members_tell_a_new_broker_what_they_have() -> None:
    desk = Desk()
    a, b = desk.member("a"), desk.member("b")
    held = {"a": 0, "b": 0}

    def both() -> bool:
        for name, one in (("a", a), ("b", b)):
            held[name] = one.granted(6, 6, held[name], held[name])
        return held == {"a": 3, "b": 3}

    _soon(both)
    desk.shares = Shares(time.monotonic, settle=0.3)
    began, heard = time.monotonic(), len(desk.claims)
    while time.monotonic() < began + 0.6 or len(desk.claims) < heard + 4:
        assert both()
    a.close()
    b.close()


def test_slots_that_are_idle_for_long_are_offered_to_others_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("workers.pools.leased.time.monotonic", lambda: now[0])
    allowance = Leased("a", 1.0, None, lambda _: json.dumps({"granted": 8, "owed": 0.0}), lambda: None)
    try:
        _soon(lambda: allowance.granted(8, 8, 8, 8) == 8)
        assert allowance.granted(8, 8, 8, 2) == 8
        now[0] = IDLE + 1
        assert allowance.granted(8, 8, 8, 2) == 3
        assert allowance.granted(8, 8, 3, 2) == 3
        assert allowance.granted(8, 8, 3, 3) == 8, "it has work again"
    finally:
        allowance.close()


def test_a_cluster_of_our_own_is_shared_with_nobody() -> None:
    assert lease("auto", True, "a", 1.0, None).granted(7, 9, 0, 0) == 7
    limited = lease("none", False, "a", 1.0, 3)
    assert isinstance(limited, Limited)
    assert limited.granted(7, 9, 0, 0) == 3


def test_a_broker_whose_last_member_leaves_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr("workers.pools.broker.os._exit", lambda _: ended.set())
    monkeypatch.setattr("workers.pools.broker.FAREWELL", 0.1)
    broker = Broker(settle=0.0)
    assert json.loads(broker.renew(json.dumps({"search": "a", "room": 2, "wanted": 2, "held": 0})))["granted"] == 2
    broker.renew(json.dumps({"search": "b", "room": 2, "wanted": 2, "held": 0}))
    assert not broker.leave("a")
    assert broker.members() == ["b"]
    assert not ended.is_set()
    assert broker.leave("b")
    assert ended.wait(20)


@final
class Crowd:
    """Searches on a cluster, each a process."""

    def __init__(self, cluster: RayCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def join(self, name: str, *options: object, seconds: float = 1.0) -> None:
        command = [sys.executable, str(HERE / "sharer.py"), name, str(self.ledger(name)), str(seconds)]
        errors = (self.folder / f"{name}.err").open("wb")
        self.processes[name] = subprocess.Popen(
            [*command, *map(str, options)],
            stdin=subprocess.PIPE,
            stderr=errors,
            stdout=errors,
            env=self.cluster.whole_environment,
        )
        errors.close()

    def ledger(self, name: str) -> Path:
        return self.folder / f"{name}.ledger"

    def busy(self, name: str) -> int:
        assert self.processes[name].poll() is None, (self.folder / f"{name}.err").read_text()
        known = samples(self.ledger(name))
        return known[-1].busy if known else 0

    def leave(self, name: str) -> None:
        process = self.processes.pop(name)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(100)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    def end(self) -> None:
        for name in list(self.processes):
            self.kill(name)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    cluster = RayCluster(cpus=6)
    made = Crowd(cluster, tmp_path)
    try:
        yield made
    finally:
        made.end()
        cluster.stop()


def _actors() -> dict[int, str]:
    """Who lives on the cluster, by process: what kind of actor it is."""
    from ray._private.state import actors

    return {one["Pid"]: one["ActorClassName"] for one in actors().values() if one["State"] != "DEAD"}


def _brokers() -> set[int]:
    return {pid for pid, kind in _actors().items() if kind == "Broker" and pid}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_searches_share_a_cluster_through_a_broker_that_dies(crowd: Crowd) -> None:
    def busy(*names: str) -> list[int]:
        return [crowd.busy(name) for name in names]

    with crowd.cluster.joined():
        for name in ("a", "b", "c"):
            crowd.join(name, 1.0, *([1] if name == "c" else []))
        until(lambda: sorted(busy("a", "b")) == [2, 3] and busy("c") == [1], "a fair share for each")
        (broker,) = _brokers()
        begin = time.time()
        os.kill(broker, signal.SIGKILL)
        until(lambda: _brokers() - {broker}, "another broker")
        seconds = time.time() - begin
        mean = {name: used(crowd.ledger(name), begin, begin + seconds) / seconds for name in ("a", "b", "c")}
        assert mean["c"] > 0.75, "nobody's share has changed"
        assert min(mean["a"], mean["b"]) > 1.5
        crowd.kill("a")
        until(lambda: busy("b", "c") == [5, 1], "the share of who was killed went to another")
        crowd.leave("c")
        until(lambda: busy("b") == [6], "the share of who has left went to another")
        crowd.leave("b")
        until(lambda: not _actors(), "no actor is left")
