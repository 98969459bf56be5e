"""A network that falls silent between a worker and the shards: noticed soon, and once it is back all counts once.

Worker and shards meet over a pair of network devices that has one end in a namespace of the worker's own, so that what
is cut is the network, under real sockets; over it there are TLS and a token, as between machines.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trustme
from puppet import Puppet

from parameter_server.opened import open_store
from parameter_server.optimizers import SGD
from parameter_server.policy import Async, Group, Mode, Policy, Sync
from parameter_server.processes.folder import Folder, Network
from parameter_server.store import PushId

if TYPE_CHECKING:
    from parameter_server.clients.client import ShardedStore

Require = Callable[[str, bool, str], None]

LEASE = 2.0
NOTICED = 20.0  # seconds; three are promised, and machines are busy; without keepalive it would be `LONG`
LONG = 90.0
SHORT = 4.0
# What of the network is lost: both ways, the one to the worker, or the one from it.
WAYS = ("both", *(pytest.param(way, marks=pytest.mark.slow) for way in ("to the worker", "from the worker")))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@dataclass(frozen=True)
class Wire:
    """A pair of network devices; the far end is in the namespace of the worker."""

    name: str
    near: str
    far: str
    address: str

    @property
    def within(self) -> tuple[str, ...]:
        return "ip", "netns", "exec", self.name

    def cut(self, way: str) -> None:
        """Lose all that is sent, or all that is sent in one way, without a word to anybody."""
        if way == "both":
            _run("ip", "link", "set", self.near, "down")
        elif way == "to the worker":
            _run("tc", "qdisc", "add", "dev", self.near, *_LOSE)
        else:
            _run("tc", "-n", self.name, "qdisc", "add", "dev", self.far, *_LOSE)

    def heal(self, way: str) -> None:
        if way == "both":
            _run("ip", "link", "set", self.near, "up")
        elif way == "to the worker":
            _run("tc", "qdisc", "del", "dev", self.near, "root")
        else:
            _run("tc", "-n", self.name, "qdisc", "del", "dev", self.far, "root")


_LOSE = ("root", "tbf", "rate", "8bit", "burst", "1", "limit", "1")  # a bucket that no packet fits into


@pytest.fixture
def wire(require: Require) -> Iterator[Wire]:
    require("namespaces", os.geteuid() == 0, "only root can make a network namespace")
    tools = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    require("namespaces", not tools, f"{tools} are not installed (the package iproute2)")
    number = os.getpid() % 16000
    made = Wire(
        f"cellwright-{number}",
        f"cw{number}a",
        f"cw{number}b",
        f"10.{200 + number % 50}.{number // 64}.{number % 64 * 4 + 1}",
    )
    other = f"{made.address.rpartition('.')[0]}.{int(made.address.rpartition('.')[2]) + 1}"
    added = subprocess.run(["ip", "netns", "add", made.name], capture_output=True, text=True, check=False)
    require("namespaces", not added.returncode, f"no network namespace can be made here: {added.stderr.strip()}")
    try:
        _run("ip", "link", "add", made.near, "type", "veth", "peer", "name", made.far, "netns", made.name)
        _run("ip", "address", "add", f"{made.address}/30", "dev", made.near)
        _run("ip", "link", "set", made.near, "up")
        _run("ip", "-n", made.name, "address", "add", f"{other}/30", "dev", made.far)
        _run("ip", "-n", made.name, "link", "set", made.far, "up")
        yield made
    finally:
        subprocess.run(["ip", "link", "del", made.near], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", made.name], capture_output=True, check=False)


def until(look: Callable[[], bool]) -> None:
    limit = time.monotonic() + NOTICED
    while not look():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.02)


class Partitioned:
    """A store of two shards that listens on a wire, who drives it on this side, and workers on both."""

    def __init__(self, folder: Path, wire: Wire, mode: Mode) -> None:
        self.wire = wire
        self.folder = folder / "store"
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        made = authority.issue_cert(wire.address)
        certificate, key = folder / "listener.pem", folder / "listener.key"
        made.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        policy = Policy((Group(SGD(1.0)),), mode, lease=LEASE)
        network = Network(wire.address, 0, str(certificate), str(key), None)
        self.workers: list[Puppet] = []
        self.store: ShardedStore = open_store(self.folder, policy, shards=2, processes=2, network=network)
        self.store.create({"a": np.zeros(3000, np.float32), "b": np.zeros(3000, np.float32)})

    def far(self, name: str, attempt: int = 0, patience: float = LONG) -> Puppet:
        """A worker on the other side of the wire, as on another machine."""
        address = Folder(self.folder).read_address()
        assert address is not None
        where = json.dumps(replace(address, machine="another", folder="/nowhere").to_json())
        token = Folder(self.folder).token.read_text().strip()
        made = Puppet(name, attempt, patience, where, self.authority, token, within=self.wire.within)
        self.workers.append(made)
        return made

    def near(self, name: str, attempt: int = 0, patience: float = LONG) -> Puppet:
        made = Puppet(name, attempt, patience, self.folder)
        self.workers.append(made)
        return made

    def value(self) -> float:
        """What all elements are: the negative of how often a push counted on their shard."""
        (value,) = {float(value) for array in self.store.pull().tensors.values() for value in np.unique(array)}
        return value

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self.store.close()


@pytest.fixture
def partitioned(tmp_path: Path, wire: Wire, request: pytest.FixtureRequest) -> Iterator[Partitioned]:
    made = Partitioned(tmp_path, wire, getattr(request, "param", Async()))
    try:
        yield made
    finally:
        made.close()


def connected(worker: Puppet) -> bool:
    """Whether there is a connection in the worker's namespace that it believes in."""
    lines = Path(f"/proc/{worker.process.pid}/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[3] == "01" for line in lines)


@pytest.mark.parametrize("way", WAYS)
def test_a_call_into_a_silent_network_ends_within_its_deadline_and_counts_once_after(
    partitioned: Partitioned, way: str
) -> None:
    worker = partitioned.far("a", patience=SHORT)
    assert worker.ask("push 0").counted
    partitioned.wire.cut(way)
    said = worker.ask("push 1")
    assert said.error == "UnreachableError", said
    assert "did not answer" in said.text
    assert "shard 0" in said.text or "shard 1" in said.text
    assert said.seconds < NOTICED
    if way == "to the worker":  # it came, and nobody heard of it
        until(lambda: partitioned.value() == -2)
    else:
        assert partitioned.value() == -1
    partitioned.wire.heal(way)
    said = worker.ask("push 1")
    assert said.outcomes == (("duplicate",) if way == "to the worker" else ("applied",)) * 2
    assert partitioned.value() == -2


@pytest.mark.parametrize("way", WAYS)
def test_a_silent_network_is_noticed_and_a_push_goes_on_by_itself_when_it_is_back(
    partitioned: Partitioned, way: str
) -> None:
    worker = partitioned.far("a")
    assert worker.ask("push 0").counted
    assert connected(worker)
    partitioned.wire.cut(way)
    worker.tell("push 1")
    assert partitioned.near("b").ask("push 0").counted  # others go on
    until(lambda: not connected(worker))
    assert worker.silent(0)
    partitioned.wire.heal(way)
    began = time.monotonic()
    assert worker.hear().counted
    assert time.monotonic() - began < NOTICED
    assert partitioned.value() == -3


@pytest.mark.parametrize("partitioned", [Sync(2)], indirect=True)
def test_a_round_goes_on_without_who_is_cut_off_once_its_lease_is_over(partitioned: Partitioned) -> None:
    far, near = partitioned.far("far"), partitioned.near("near")
    far.tell("push 0")
    assert near.ask("push 0").counted
    assert far.hear().counted
    partitioned.wire.cut("both")
    far.tell("push 1")
    said = near.ask("push 1")
    assert said.counted, said
    assert said.seconds < LEASE + NOTICED
    assert near.ask("push 2").counted
    lapsed = [one.leases_lapsed for one in partitioned.store.statistics()]
    assert min(lapsed) >= 1
    partitioned.wire.heal("both")
    assert far.hear().outcomes == ("late", "late")
    assert partitioned.value() == -3


def test_an_attempt_that_was_cut_off_and_replaced_is_fenced_when_it_is_back(partitioned: Partitioned) -> None:
    cut_off = partitioned.far("a", attempt=0)
    assert cut_off.ask("push 0").counted
    partitioned.wire.cut("both")
    cut_off.tell("push 1")
    replacement = partitioned.near("a", attempt=1)
    assert replacement.ask("push 1").counted
    assert replacement.ask("push 2").counted
    partitioned.wire.heal("both")
    said = cut_off.hear()
    assert said.error == "FencedError", said
    assert "attempt 1 of a has taken over from attempt 0" in said.text
    assert replacement.ask("push 3").counted
    assert partitioned.value() == -4


def test_nobody_is_let_in_over_the_wire_without_the_token(partitioned: Partitioned) -> None:
    address = Folder(partitioned.folder).read_address()
    assert address is not None
    assert all(where.startswith(partitioned.wire.address) for where in address.network)
    where = json.dumps(replace(address, machine="another", folder="/nowhere").to_json())
    stranger = Puppet("a", 0, SHORT, where, partitioned.authority, "a wrong token of some length",
                      within=partitioned.wire.within)  # fmt: skip
    partitioned.workers.append(stranger)
    said = stranger.ask("push 0")
    assert (said.error, "token" in said.text) == ("StoreError", True), said
    assert partitioned.store.push(
        {"a": np.ones(3000, np.float32)}, partitioned.store.pull().version, PushId("b", 0)
    ).counted
