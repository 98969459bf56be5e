"""A Ray cluster: joining one, starting one on this machine, and how much it has room for."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from math import ceil
from typing import Any

import ray

from workers.errors import UserError

OBJECT_STORE = 80_000_000  # bytes; what passes through it here is JSON


def room(share: Mapping[str, float]) -> int:
    """How many attempts the nodes that are alive have room for, each on one node."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs = {kind: amount for kind, amount in share.items() if amount > 0}
    return sum(int(min(node.get(kind, 0.0) / amount + 1e-9 for kind, amount in needs.items())) for node in nodes)


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def connect(address: str | None, share: Mapping[str, float], slots: int | None) -> bool:
    """Join the cluster, or start one on this machine; whether this process now has to leave it again."""
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        cores = max(os.cpu_count() or 1, ceil((slots or 1) * share["CPU"]))
        options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    try:
        _knock(address)
        ray.init(**options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Ray cluster answers at {address!r} ({error}): start one with `ray start --head`, "
            "or leave the address out"
        ) from error
    gpus = ray.cluster_resources().get("GPU", 0.0)
    if address == "local" and share["GPU"] * (slots or 1) > gpus:
        ray.shutdown()
        raise UserError(
            f"{slots or 1} slots with {share['GPU']:g} GPUs each do not fit this machine, which has {gpus:g}: "
            "change slots or gpus of the pool, or give the address of a cluster"
        )
    return True
