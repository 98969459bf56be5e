"""Folder: where a store keeps what it knows on disk, who may write there, and where it is reached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, final

from parameter_server.store import StoreError

Json: TypeAlias = dict[str, Any]

FORMAT: Final = 1
DURABILITIES: Final = ("process", "power")


@final
@dataclass(frozen=True, slots=True)
class Network:
    """Where shards listen for other machines: process p at `port` + p, or with port 0 wherever there is room.

    `host` is also where others are told to look: an address of this machine (an IPv6 one in brackets), not 0.0.0.0.
    Files in PEM format as in `Security`; the token is made with the store, and is in its folder.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: str | None = None
    key: str | None = None
    authority: str | None = None

    def address(self, process: int) -> str:
        return f"{self.host}:{self.port + process if self.port else 0}"


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """What a store is for good: `policy` as JSON; process p of `processes` hosts shards p, p + processes, ..."""

    shards: int
    processes: int
    durability: str
    policy: Json
    network: Network | None = None

    def hosted(self, process: int) -> tuple[int, ...]:
        return tuple(range(process, self.shards, self.processes))

    def to_json(self) -> Json:
        return {
            "format": FORMAT, "shards": self.shards, "processes": self.processes, "durability": self.durability,
            "policy": self.policy, "network": None if self.network is None else asdict(self.network),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Json) -> Layout:
        if data.get("format") != FORMAT:
            raise StoreError(f"the folder has the format {data.get('format')}, and this program reads {FORMAT}")
        try:
            network = None if data["network"] is None else Network(**data["network"])
            return cls(data["shards"], data["processes"], data["durability"], data["policy"], network)
        except (KeyError, TypeError) as error:
            raise StoreError(f"the description of the store is damaged ({error}): restore store.json") from None


@final
@dataclass(frozen=True, slots=True)
class Address:
    """Where a store listens: the folder of its sockets on `machine`, and per shard HOST:PORT where gRPC was asked.

    Shards are spread over processes as in `Layout`.
    """

    machine: str
    folder: str
    sockets: str
    shards: int
    processes: int
    network: tuple[str, ...] = ()

    @property
    def supervisor(self) -> Path:
        return supervisor_socket(Path(self.sockets))

    def process(self, number: int) -> Path:
        return process_socket(Path(self.sockets), number)

    def to_json(self) -> Json:
        return {
            "format": FORMAT, "machine": self.machine, "folder": self.folder, "sockets": self.sockets,
            "shards": self.shards, "processes": self.processes, "network": list(self.network),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Json) -> Address:
        if data.get("format") != FORMAT:
            raise StoreError(f"the address has the format {data.get('format')}, and this program reads {FORMAT}")
        return cls(
            data["machine"], data["folder"], data["sockets"], data["shards"], data["processes"], tuple(data["network"])
        )


@final
@dataclass(frozen=True, slots=True)
class Folder:
    """The paths of a store."""

    path: Path

    @property
    def layout(self) -> Path:
        return self.path / "store.json"

    @property
    def address(self) -> Path:
        return self.path / "address.json"

    @property
    def token(self) -> Path:
        return self.path / "token"

    @property
    def lock(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def report(self) -> Path:
        return self.path / "supervisor.log"

    def shard(self, number: int) -> Path:
        return self.path / f"shard-{number}"

    def life(self, number: int) -> Path:
        """The file that the process of a shard holds locked for as long as it lives."""
        return self.shard(number) / "life"

    def read_layout(self) -> Layout | None:
        """What the store is, or None where there is none yet."""
        data = _read(self.layout)
        return None if data is None else Layout.from_json(data)

    def read_address(self) -> Address | None:
        """Where it listens, or listened when it last ran; None where it never did."""
        data = _read(self.address)
        return None if data is None else Address.from_json(data)

    def found(self, layout: Layout) -> Layout:
        """Write down what the store is, unless somebody has; gives what is written."""
        if (known := self.read_layout()) is not None:
            return known
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            name = _written(self.path, layout.to_json())
        except OSError as error:
            raise StoreError(
                f"a store cannot be founded in {self.path} ({error.strerror}): make room, or choose another folder"
            ) from error
        try:
            os.link(name, self.layout)
        except FileExistsError:
            pass
        finally:
            os.unlink(name)
        there = self.read_layout()
        assert there is not None
        return there

    def announce(self, address: Address) -> None:
        """Write where the store listens, for its owner only; `OSError` where that is new and there is no room."""
        with suppress(StoreError):  # what cannot be read is written anew
            if self.read_address() == address:
                return
        os.replace(_written(self.path, address.to_json()), self.address)


def process_socket(sockets: Path, process: int) -> Path:
    """Where a shard process listens for clients of its machine."""
    return sockets / f"process-{process}"


def supervisor_socket(sockets: Path) -> Path:
    """Where the supervisor listens for shard processes and drivers."""
    return sockets / "supervisor"


def socket_folder(folder: Path, before: Address | None) -> Path:
    """The folder of a store's sockets, made if need be: the one from before where it is still ours, and free to take.

    Not in the store's folder, for the path of a socket has at most 108 bytes.
    """
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    usual = Path(tempfile.gettempdir()) / f"cellwright-{os.getuid()}-{name}"
    known = [Path(before.sockets)] if before is not None and before.machine == machine() else []
    for path in (*known, usual):
        with suppress(OSError):
            path.mkdir(mode=0o700, exist_ok=True)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
                return path
    return Path(tempfile.mkdtemp(prefix="cellwright-"))


def locked(path: Path) -> int | None:
    """Lock a file for as long as the descriptor, or the process, is there; None when another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def patiently_locked(path: Path, seconds: float) -> int | None:
    """The same, but wait so long for another process to let go."""
    limit = time.monotonic() + seconds
    while (descriptor := locked(path)) is None and time.monotonic() < limit:
        time.sleep(0.002)
    return descriptor


def held(path: Path) -> bool:
    """Whether a process has the file locked now; nobody has what cannot be opened."""
    try:
        descriptor = locked(path)
    except OSError:
        return False
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path, and was not removed or replaced, perhaps with its folder."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def machine() -> str:
    """What tells this machine, since it was last started, and this network of processes from others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import platform

        return platform.node()


def _read(path: Path) -> Json | None:
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}): restore it, or open the store in another folder") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path} holds no JSON object: restore it, or open the store in another folder")
    return data


def _written(folder: Path, data: Json) -> str:
    """A temporary file, whole and on disk, with the mode 0600; where there is no room, none is left."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(name)
        raise
    return name
