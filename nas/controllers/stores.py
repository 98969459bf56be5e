"""Where the parameters of a controller are: in the driver's memory, or on shards, which are processes of their own."""

from __future__ import annotations

from nas.controllers.learning import Learning
from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import Adam
from parameter_server.policy import Group, Policy
from parameter_server.store import Store, StoreError
from workers.errors import UserError


def opened(folder: str, shards: int, learning: Learning, driver: int = 0, image: bytes = b"") -> Store:
    """Those of `folder`, started or adopted for this `driver`; with 0 shards new ones, which end with this process.

    The latter are as in `image`, if there is one; raises `StoreError` where that is damaged.
    """
    policy = Policy((Group(Adam(learning.learning_rate)),))
    if shards == 0:
        return MemoryStore(policy, images=(image,) if image else ())
    from parameter_server.opened import open_store

    try:
        return open_store(folder, policy, shards=shards, epoch=driver)
    except StoreError as error:
        raise UserError(f"the controller's parameters cannot be opened: {error}") from error


def joined(folder: str) -> Store:
    """Those that another process has opened in `folder`."""
    from parameter_server.opened import connect

    return connect(folder)
