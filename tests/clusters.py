"""RayCluster: a real Ray cluster for tests, several raylets on this machine, each a host of its own if wanted."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cluster_host import descendants

RAY = str(Path(sys.executable).with_name("ray"))
HOST = str(Path(__file__).with_name("cluster_host.py"))
STORE = 80_000_000  # bytes of a node's object store; Ray takes no less than 75 MiB
PATIENCE = 180.0  # seconds for what takes some five on an idle machine
PREEMPTION = "DRAIN_NODE_REASON_PREEMPTION"
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
_numbers = itertools.count()


@dataclass(eq=False)
class Node:
    """One raylet with all it started; `apart` names the network namespace that it is alone in."""

    id: str
    address: str
    folder: Path
    apart: str = ""
    link: str = ""
    head: bool = False
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def processes(self) -> list[int]:
        """All processes of the node that live, agents and workers too."""
        return [] if self.process is None else descendants(self.process.pid)

    @property
    def raylet(self) -> int:
        """The process id of the raylet."""
        return next(pid for pid in self.processes if _title(pid).rpartition(" ")[2] == "raylet")

    @property
    def workers(self) -> list[int]:
        """The processes that tasks and actors run in."""
        return [pid for pid in self.processes if (title := _title(pid)).startswith("ray::") and title not in AGENTS]

    def within(self, *command: str) -> list[str]:
        """`command` as it is run on this node's host."""
        return ["ip", "netns", "exec", self.apart, *command] if self.apart else list(command)

    def end(self) -> None:
        """Kill everything of the node at once."""
        if self.process is not None:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            with suppress(OSError):
                self.process.stdin.close()
            self.process.wait(60)
            self.process.stdout.close()
            self.process = None


class RayCluster:
    """A head and nodes, each with ports, a temporary folder and a small object store of its own; ends with `stop`.

    With `namespaces` (`can_be_namespaced` says whether this machine can) every further node is a host of its own behind
    a bridge; the head, unless `head_apart`, is where the tests are, so that they can be drivers. `dashboard` starts the
    job server. With `token` nobody is let in without it. `environment` holds for all processes of the cluster.
    """

    def __init__(
        self,
        cpus: float = 1,
        namespaces: bool = False,
        head_apart: bool = False,
        dashboard: bool = False,
        token: bool = True,
        resources: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cw-", dir="/tmp"))  # sockets have short names only
        self.nodes: list[Node] = []
        self._further = dict(environment or {})
        self._network = _Network() if namespaces else None
        self._ports = {name: free_port() for name in ("gcs", "dashboard")}
        self._with_dashboard = dashboard
        self._head_options = (cpus, dict(resources or {}))
        self._token = self.folder / "token"
        self._with_token = token
        if token:
            self._token.touch(mode=0o600)
            self._token.write_text(secrets.token_hex(32))
        try:
            self.head = self._new_node(head=True, apart=head_apart)
            self._start(self.head, *self._head_arguments())
        except BaseException:
            self.stop()
            raise

    @property
    def address(self) -> str:
        """Where drivers connect."""
        return f"{self.head.address}:{self._ports['gcs']}"

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://{self.head.address}:{self._ports['dashboard']}"

    @property
    def environment(self) -> dict[str, str]:
        """What a driver needs in its environment, beside its own."""
        mode = {"RAY_AUTH_MODE": "disabled"}
        if self._with_token:
            mode = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._token)}
        return {"RAY_ADDRESS": self.address, "RAY_USAGE_STATS_ENABLED": "0", **mode}

    @property
    def whole_environment(self) -> dict[str, str]:
        """The environment of a driver that is a process of its own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {**inherited, **self.environment}

    @contextmanager
    def joined(self, **options: Any) -> Iterator[None]:
        """This process as a driver of the cluster."""
        import ray

        with self.entered():
            ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **options)
            try:
                yield
            finally:
                ray.shutdown()

    @contextmanager
    def entered(self, named: bool = True) -> Iterator[None]:
        """This process with the cluster's environment, its address only if `named`; not yet connected."""
        from ray._private.authentication_test_utils import reset_auth_token_state

        before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
        for name in before:
            del os.environ[name]
        os.environ.update(self.environment)
        if not named:
            del os.environ["RAY_ADDRESS"]
        reset_auth_token_state()  # Ray reads the token once in a process
        try:
            yield
        finally:
            for name in [name for name in os.environ if name.startswith("RAY_")]:
                del os.environ[name]
            os.environ.update(before)
            reset_auth_token_state()

    def add_node(
        self,
        cpus: float = 1,
        gpus: float = 0,
        resources: Mapping[str, float] | None = None,
        apart: bool | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Node:
        """A node that has joined; in a namespace of its own if the cluster has them, unless `apart` says otherwise."""
        node = self._new_node(apart=self._network is not None if apart is None else apart)
        self._start(node, "--address", self.address, *_room(cpus, gpus, resources or {}), further=environment)
        return node

    def kill_node(self, node: Node, silently: bool = False) -> None:
        """Kill -9 of the raylet and all its workers; `silently`, nobody is told: its network is gone first."""
        if silently:
            self.partition(node)
        node.end()
        self.nodes.remove(node)
        if self._network is not None and node.apart:
            self._network.remove(node)

    def kill_head(self) -> None:
        """Kill -9 of the head with its GCS."""
        self.head.end()
        self.nodes.remove(self.head)

    def restart_head(self) -> None:
        """Start the head anew at the same place; it knows what was before only with RAY_REDIS_ADDRESS."""
        assert self.head.process is None
        before = self.head
        self.head = Node(_node_id(), before.address, self.folder / f"{next(_numbers)}", before.apart, before.link, True)
        self._start(self.head, *self._head_arguments())

    def drain(self, node: Node, seconds: int = 30, reason: str = PREEMPTION) -> None:
        """Say that `node` will be gone in so many seconds, as the machines of a cloud do."""
        command = [RAY, "drain-node", "--address", self.address, "--node-id", node.id, "--reason", reason]
        command += ["--reason-message", "the machine is taken back", "--deadline-remaining-seconds", str(seconds)]
        said = subprocess.run(
            self.head.within(*command), env=self.whole_environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert not said.returncode, said.stdout + said.stderr

    def partition(self, node: Node) -> None:
        """Pull the cable of a node that is apart: nothing gets through, and nobody is told."""
        _run("ip", "link", "set", node.link, "down")

    def heal(self, node: Node) -> None:
        """Plug it in again."""
        _run("ip", "link", "set", node.link, "up")

    def stop(self) -> None:
        """End every process, remove every file and network; may be called twice."""
        for node in self.nodes:
            node.end()
            if self._network is not None and node.apart:
                self._network.remove(node)
        self.nodes = []
        if self._network is not None:
            if self.head.apart:
                self._network.remove(self.head)
            self._network.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _new_node(self, apart: bool, head: bool = False) -> Node:
        folder = self.folder / f"{next(_numbers)}"
        if self._network is None:
            return Node(_node_id(), "127.0.0.1", folder, head=head)
        if not apart:
            return Node(_node_id(), self._network.address, folder, head=head)
        name, link, address = self._network.add()
        return Node(_node_id(), address, folder, name, link, head)

    def _head_arguments(self) -> list[str]:
        cpus, resources = self._head_options
        shown = ["--dashboard-host", self.head.address, "--dashboard-port", str(self._ports["dashboard"])]
        return [
            *("--head", "--port", str(self._ports["gcs"])),
            *("--include-dashboard", str(self._with_dashboard).lower()),
            *(shown if self._with_dashboard else ()),
            *("--ray-client-server-port", str(free_port())),
            *_room(cpus, 0, resources),
        ]

    def _start(self, node: Node, *arguments: str, further: Mapping[str, str] | None = None) -> None:
        """Start a raylet, once more should another process have taken one of its ports meanwhile."""
        node.folder.mkdir(exist_ok=True)
        if node not in self.nodes:
            self.nodes.append(node)
        for last in (False, False, True):
            log = node.folder.with_suffix(".log")
            with log.open("w") as errors:
                node.process = subprocess.Popen(
                    node.within(sys.executable, HOST, RAY, "start", *self._options(node), *arguments),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                    env={**self.whole_environment, **self._further, **(further or {}),
                         "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node.id},
                )  # fmt: skip
            assert node.process.stdout is not None
            if node.process.stdout.readline().strip() == "0":
                return
            node.end()
            assert not last, log.read_text()

    def _options(self, node: Node) -> list[str]:
        return [
            *("--node-ip-address", node.address, "--temp-dir", str(node.folder)),
            *("--object-store-memory", str(STORE), "--dashboard-agent-listen-port", str(free_port())),
            *("--include-log-monitor", "false", "--disable-usage-stats"),
        ]


class _Network:
    """A bridge of this machine, and the namespaces that are plugged into it."""

    def __init__(self) -> None:
        number = next(_numbers)
        self._name = f"cw{os.getpid() % 100000}x{number}"
        self._prefix = f"10.{100 + number % 60}.{os.getpid() % 250}"
        self.address = f"{self._prefix}.1"
        self._given = itertools.count(2)
        _run("ip", "link", "add", self._name, "type", "bridge")
        _run("ip", "address", "add", f"{self.address}/24", "dev", self._name)
        _run("ip", "link", "set", self._name, "up")

    def add(self) -> tuple[str, str, str]:
        """A namespace, the device on this side, and the address on the other."""
        number = next(self._given)
        name, address = f"{self._name}n{number}", f"{self._prefix}.{number}"
        near, far = f"{self._name}a{number}"[-15:], f"{self._name}b{number}"[-15:]
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _run("ip", "link", "set", near, "master", self._name, "up")
        _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", far)
        _run("ip", "-n", name, "link", "set", far, "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        return name, near, address

    def remove(self, node: Node) -> None:
        subprocess.run(["ip", "link", "del", node.link], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", node.apart], capture_output=True, check=False)

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self._name], capture_output=True, check=False)


@cache
def can_be_namespaced() -> str:
    """Why this machine can make no hosts of their own; empty if it can."""
    if os.geteuid() != 0:
        return "only root can make a network namespace"
    if shutil.which("ip") is None:
        return "ip is not installed (the package iproute2)"
    try:
        _Network().close()
    except subprocess.CalledProcessError as error:
        return f"no network can be made here: {error.stderr.strip()}"
    return ""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port


def until(look: Callable[[], Any], what: str = "it", limit: float = PATIENCE) -> None:
    """Wait for a condition."""
    end = time.monotonic() + limit
    while not look():
        assert time.monotonic() < end, f"{what} did not happen within {limit:g} s"
        time.sleep(0.05)


def freeze(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def thaw(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def _room(cpus: float, gpus: float, resources: Mapping[str, float]) -> list[str]:
    # Ray takes whole cores on its command line; a fraction is a resource like others
    return ["--num-cpus", str(int(cpus)), "--num-gpus", str(int(gpus)), "--resources", json.dumps(dict(resources))]


def _node_id() -> str:
    return secrets.token_hex(28)


def _title(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        first = words[0].decode(errors="replace")
        return first if first.startswith("ray::") else Path(first).name
    return ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
