"""The weights that the children of a search share: whether that can be, where they are kept, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.plan import Plan
from parameter_server.store import StoreError
from workers.errors import UserError


@contextmanager
def open_weights(plan: Plan, epoch: int) -> Iterator[None]:
    """Keep the store of a search's shared weights open, for the driver of this epoch; nothing where none are shared.

    The weights stay in the search's folder: the next driver goes on with them.
    """
    sharing = plan.setup.sharing
    if sharing is None:
        yield
        return
    from parameter_server.opened import open_store

    try:
        Path(sharing.address).parent.mkdir(parents=True, exist_ok=True)
        store = open_store(sharing.address, plan.task.sharing_policy(), epoch=epoch)
    except (OSError, StoreError) as error:
        raise UserError(f"the shared weights in {sharing.address} cannot be opened: {error}") from error
    try:
        yield
    finally:
        store.close()
