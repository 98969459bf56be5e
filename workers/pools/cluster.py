"""A Ray cluster: joining one, or starting one on this machine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from threading import current_thread, main_thread
from typing import Any, final

import ray
from ray.exceptions import AuthenticationError

from workers.errors import UserError
from workers.pools.access import PATH, TOKEN, alone, check_version, introduced

LOCAL = "local"  # the address of a cluster that is started here, and is ours
LATE = ("timed out", "failed to start gcs")  # what Ray says, each in several places, of a part that is not up yet
TRIES = 3
OBJECT_STORE = 80_000_000  # bytes; what passes through it here is JSON


@final
@dataclass(frozen=True)
class Membership:
    """Whether this process has `joined` a cluster (rather than found itself in one), whether that is its `own`.

    `leave` ends a cluster that is its own.
    """

    joined: bool
    own: bool
    leave: Callable[[], None]


def connect(address: str | None, share: Mapping[str, float], slots: int | None) -> Membership:
    """Join the cluster, or start one on this machine."""
    check_version()
    leaving = ExitStack()
    if ray.is_initialized():
        return Membership(False, False, leaving.close)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        cores = max(os.cpu_count() or 1, ceil((slots or 1) * share["CPU"]))
        options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    leaving.enter_context(alone() if address == LOCAL else introduced())
    leaving.callback(ray.shutdown)
    try:
        _begin(address, options)
        if address == LOCAL:
            _check_devices(share["GPU"], slots or 1)
    except BaseException:
        leaving.close()
        raise
    return Membership(True, address == LOCAL, leaving.close)


def _begin(address: str, options: Mapping[str, Any]) -> None:
    """Start or join a cluster; `UserError` where that is not to be."""
    try:
        _knock(address)
    except OSError as error:
        raise UserError(_nobody(address, error)) from error
    try:
        with _same_end():
            _patiently(options)
    except (AuthenticationError, ConnectionError) as error:
        raise UserError(
            f"what listens at {address!r} does not let this process in ({error}). A Ray cluster may ask for another "
            f"token than it is shown: name the file that holds it, {PATH}=..., or the token itself, {TOKEN}=..."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(_nobody(address, error)) from error


def _patiently(options: Mapping[str, Any]) -> None:
    """`ray.init`; of our own cluster anew where a busy machine was slower than Ray allows, 30 s for each part of it."""
    for left in reversed(range(TRIES)):
        try:
            ray.init(**options)
            return
        except Exception as error:  # of many kinds, some of them plain ones
            if options["address"] != LOCAL or not any(words in str(error).lower() for words in LATE):
                raise
            ray.shutdown()
            if not left:
                raise UserError(
                    f"Ray does not come up on this machine, though it was started {TRIES} times and given 30 s each: "
                    "the machine is too busy, or short of memory. Try again later, or name the address of a cluster"
                ) from error


def _nobody(address: str, error: Exception) -> str:
    return (
        f"no Ray cluster answers at {address!r} ({error}): start one with `ray start --head`, or leave the address out"
    )


@contextmanager
def _same_end() -> Iterator[None]:
    """SIGTERM goes on to do what it did: `ray.init` has it end the process at once, in the middle of a search."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and current_thread() is main_thread():
            signal.signal(signal.SIGTERM, before)


def _check_devices(gpus: float, slots: int) -> None:
    there = ray.cluster_resources().get("GPU", 0.0)
    if gpus * slots > there:
        raise UserError(
            f"{slots} slots with {gpus:g} GPUs each do not fit this machine, which has {there:g}: "
            "change slots or gpus of the pool, or give the address of a cluster"
        )


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
