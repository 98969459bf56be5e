"""Shared: the parameters that the replicas of a search share, and where their gradients are computed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, final

from nas.controllers.controller import Controller
from nas.controllers.host import setting as for_host
from nas.controllers.hosts import Hosts
from nas.controllers.learner import Learner
from nas.controllers.learning import Learning
from nas.controllers.placement import Placement
from nas.controllers.stores import opened
from nas.strategy import Setting

FOLDER: Final = "store"  # in that of the search


@final
class Shared:
    """A controller, its `store` and the `placement` of its lessons; in a search that has a folder, the next driver's.

    With `shards` the parameters are in so many processes, with `hosts` gradients are computed in so many more. Without,
    they go on from an `image` of the store.
    Raises `UserError` where they cannot be had.
    """

    def __init__(
        self, setting: Setting, learning: Learning, shards: int = 0, hosts: int = 0, image: bytes = b""
    ) -> None:
        self.controller = Controller(setting.decisions, learning)
        with ExitStack() as stack:
            folder = setting.folder if setting.folder or not shards else stack.enter_context(TemporaryDirectory())
            place = str(Path(folder) / FOLDER)
            self.store = opened(place, shards, learning, setting.driver, image)
            stack.callback(self.store.close)
            self.placement: Placement = Learner(self.controller, self.store, learning, setting.driver)
            if hosts:
                self.placement = Hosts(hosts, for_host(place, setting, learning))
            stack.callback(self.placement.close)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Wait for what is under way, and let go of the store; shards wait for the next driver for a while."""
        self._stack.close()
