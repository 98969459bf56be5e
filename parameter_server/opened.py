"""Opened: a store in processes of its own, as its driver opens it and as workers connect to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from parameter_server.clients.client import ShardedStore
from parameter_server.policy_json import policy_to_json
from parameter_server.processes.channel import Channel
from parameter_server.processes.folder import DURABILITIES, Address, Folder, Layout, Network, machine
from parameter_server.processes.keeper import Keeper
from parameter_server.processes.place import LEASES
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.link import Link
    from parameter_server.messages.compression import Compression
    from parameter_server.policy import Policy
    from parameter_server.security import Security

PATIENCE: Final = 120.0  # seconds that a call may take


def open_store(
    folder: Path | str,
    policy: Policy,
    *,
    shards: int = 1,
    processes: int | None = None,
    epoch: int = 0,
    durability: str = "process",
    network: Network | None = None,
) -> ShardedStore:
    """The store in `folder`, started or adopted; it runs until every driver of its highest epoch has closed it.

    `processes` host the shards, as many as there are cores by default. `durability` "process" keeps what was
    acknowledged through the death of any process; "power" through a loss of power too, and writes every push to disk.
    With `network` the shards listen for other machines as well. When this process dies, the store waits for a driver
    for three leases of `policy`, then writes snapshots and ends. What the first opener said of policy, shards,
    processes, durability and network holds for good: raises `StoreError` for anything else, and `FencedError` when
    there is a driver of a later epoch.
    """
    if shards < 1 or (processes is not None and not 1 <= processes <= shards):
        raise StoreError(f"{shards} shards in {processes} processes: there is 1 shard at least, and none is cut in two")
    if durability not in DURABILITIES:
        raise StoreError(f"durability is {durability!r}, but must be one of: {', '.join(DURABILITIES)}")
    spread = min(shards, os.cpu_count() or 1) if processes is None else processes
    wanted = Layout(shards, spread, durability, policy_to_json(policy), network)
    place = Folder(Path(folder))
    _check_same(place, wanted, place.found(wanted), chosen=processes is not None)
    if network is not None:
        from parameter_server.security import write_token

        with suppress(FileExistsError):
            write_token(place.token)
    keeper = Keeper(place, epoch, LEASES * policy.lease)
    try:
        address = place.read_address()
        assert address is not None
        return ShardedStore(_here(address, PATIENCE, epoch), patience=PATIENCE, closing=keeper.close)
    except BaseException:
        keeper.close()
        raise


def connect(
    where: Path | str | Address,
    *,
    security: Security | None = None,
    patience: float = PATIENCE,
    compression: Compression = None,
) -> ShardedStore:
    """A store that another process has opened: `where` is its folder, or its address.

    On the same machine through shared memory, else over gRPC with `security`, which by default is what the folder
    has. A call takes at most `patience` seconds. `compression` is of gradients on their way over gRPC ("bfloat16",
    "float16", or `TopK`); in shared memory they stay as they are.
    """
    address = where if isinstance(where, Address) else Folder(Path(where)).read_address()
    if address is None:
        raise StoreError(f"there is no store in {where}, or it has never run: open_store starts one")
    return ShardedStore(_links(address, security, patience, compression), patience=patience)


@final
@dataclass(frozen=True, slots=True)
class Running:
    """The processes of a store, by their numbers; None for one that is being replaced."""

    supervisor: int
    processes: tuple[int | None, ...]


def running(folder: Path | str) -> Running | None:
    """What runs of the store in a folder of this machine; None where nothing does."""
    address = Folder(Path(folder)).read_address()
    try:
        channel = None if address is None else Channel.to(address.supervisor)
    except OSError:
        return None
    if channel is None:
        return None
    try:
        channel.send({"status": True})
        for message in channel.receive() or ():
            return Running(message["supervisor"], tuple(message["processes"]))
    finally:
        channel.close()
    return None


def _links(address: Address, security: Security | None, patience: float, compression: Compression = None) -> list[Link]:
    if address.machine == machine() and Path(address.sockets).is_dir():
        return _here(address, patience)
    if not address.network:
        raise StoreError(
            f"the store in {address.folder} runs on another machine and listens there only: open it with a network"
        )
    from parameter_server.links.network import NetworkLink

    security = security or _security(Folder(Path(address.folder)))
    return [
        NetworkLink(where, number, security, seconds=patience, compression=compression)
        for number, where in enumerate(address.network)
    ]


def _here(address: Address, patience: float, epoch: int | None = None) -> list[Link]:
    """Links to the shards of a store on this machine, for the driver of this epoch, or for who drives nothing."""
    from parameter_server.links.connection import Connections
    from parameter_server.links.same_machine import SameMachineLink

    processes = [
        Connections(address.process(number), patience, range(number, address.shards, address.processes), epoch)
        for number in range(address.processes)
    ]
    return [SameMachineLink(processes[number % len(processes)], number) for number in range(address.shards)]


def _security(folder: Folder) -> Security:
    """What a link needs, from a folder that this machine shares with the store's."""
    from parameter_server.security import Security, read_token

    layout = folder.read_layout()
    authority = layout.network.authority if layout is not None and layout.network is not None else None
    return Security(authority=None if authority is None else Path(authority), token=read_token(folder.token))


def _check_same(folder: Folder, wanted: Layout, there: Layout, chosen: bool) -> None:
    """Raise when the store is not the wanted one, with both in the message."""
    kept, asked = there.to_json(), json.loads(json.dumps(wanted.to_json()))
    if not chosen:
        asked["processes"] = kept["processes"]
    different = list(_differences("", kept, asked))
    if different:
        both = "; ".join(f"its {name} is {mine}, and {other} was asked for" for name, mine, other in different)
        raise StoreError(
            f"the store in {folder.path} is another one: {both}. Open it as it is, or load its checkpoint into a store "
            "in another folder"
        )


def _differences(name: str, kept: Any, asked: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two descriptions differ, as deep as they are alike: names with dots, and both values."""
    if isinstance(kept, dict) and isinstance(asked, dict) and kept.keys() == asked.keys():
        for key in kept:
            yield from _differences(f"{name}.{key}".lstrip("."), kept[key], asked[key])
    elif isinstance(kept, list) and isinstance(asked, list) and len(kept) == len(asked):
        for place, (mine, other) in enumerate(zip(kept, asked, strict=True)):
            yield from _differences(f"{name}.{place}", mine, other)
    elif kept != asked:
        yield name, kept, asked
