"""Our store, with all checks and safe against `kill -9`: pushes and pulls by shared memory, pushes by gRPC."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from parameter_server.clients.client import ShardedStore
from parameter_server.opened import connect, open_store
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy
from parameter_server.processes.folder import Folder, Network
from parameter_server.store import PushId
from servers.contestant import answering, gradient, serve

DURABILITY = "process"
RATE = 1e-3


@contextmanager
def opened(shards: int, rate: float = RATE, network: bool = False) -> Iterator[tuple[ShardedStore, Path]]:
    """A store that takes steps of SGD, in a folder of its own."""
    policy = Policy((Group(SGD(rate)),))
    with tempfile.TemporaryDirectory() as folder:
        over = Network() if network else None
        with closing(open_store(folder, policy, shards=shards, durability=DURABILITY, network=over)) as store:
            yield store, Path(folder)


def over_network(folder: Path) -> ShardedStore:
    """The store as another machine reaches it."""
    address = Folder(folder).read_address()
    assert address is not None
    return connect(replace(address, machine="another"))


def main() -> None:
    """Serve `parameter_server.py`."""
    megabytes, shards = int(sys.argv[1]), int(sys.argv[2])
    values, room = gradient(megabytes), gradient(megabytes)
    numbers = count()
    with answering() as answers, opened(shards, network=True) as (store, folder), closing(over_network(folder)) as far:
        store.create({"tensor": values})
        base = store.pull().version

        def push(through: ShardedStore) -> None:
            pushed = through.push({"tensor": values}, base, PushId("benchmark", next(numbers)))
            assert pushed.counted

        def pull() -> None:
            assert store.pull(["tensor"], into={"tensor": room}).tensors["tensor"].size == len(room)

        serve({"push": lambda: push(store), "pull": pull, "tcp": lambda: push(far)}, megabytes, answers)
        np.testing.assert_array_equal(store.pull().tensors["tensor"], far.pull().tensors["tensor"])


if __name__ == "__main__":
    main()
