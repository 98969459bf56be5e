"""Sharing: how the children of a search share their weights; a worker is told it with its setup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from parameter_server.store import Store


@final
@dataclass(frozen=True)
class Sharing:
    """Children are parts of one network (ENAS), whose tensors are in the store of the folder `address`.

    A step of training is the mean over `children` architectures: the trial's own, and others drawn from the space. The
    first values of a tensor are drawn by `seed` and the tensor's name.
    """

    address: str
    children: int = 4
    seed: int = 0

    def connect(self) -> Store:
        """The store, which the search's driver keeps open."""
        from parameter_server.opened import connect

        return connect(self.address)
