"""Tie: what holds a shard process to its supervisor, or to the next one on the same folder."""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from parameter_server.processes.channel import Channel
from parameter_server.processes.folder import supervisor_socket
from parameter_server.processes.place import Place
from parameter_server.processes.waking import Waking

SEARCH: Final = 0.05  # seconds between two looks for a supervisor


@final
class Tie:
    """The main thread of a shard process: it says that it serves, passes epochs on, and learns when to end.

    `take` makes an epoch known to the shards, and gives the highest that they know; `network` is where they listen.
    `goes_on` tells whether their folder is still there: the next supervisor at its path may be of another store.
    """

    def __init__(
        self, place: Place, take: Callable[[int], int], network: Mapping[str, str], goes_on: Callable[[], bool]
    ) -> None:
        self.place, self.take, self.network, self.goes_on = place, take, network, goes_on
        self._epoch = take(-1)
        self._told = ""
        self._waking = Waking(dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._signalled))

    def hold(self) -> str:
        """Until the process is told to end, or has found no supervisor for its grace time; gives the reason."""
        limit = time.monotonic() + self.place.grace
        while not self._told:
            if not self.goes_on():
                self._told = "their folder was removed"
                break
            channel = self._found()
            if channel is not None:
                self._hear(channel)
                channel.close()
                limit = time.monotonic() + self.place.grace
            elif time.monotonic() > limit:
                self._told = f"there has been no supervisor for {self.place.grace:g} s"
            else:
                self._wait((self._waking,), SEARCH)
        return self._told

    def close(self) -> None:
        """Have signals do what they did before."""
        self._waking.close()

    def _signalled(self, number: int, _frame: object) -> None:
        self._told = f"signal {number}"

    def _found(self) -> Channel | None:
        try:
            channel = Channel.to(supervisor_socket(self.place.sockets))
        except OSError:
            return None
        if self._say(channel):
            return channel
        channel.close()
        return None

    def _say(self, channel: Channel) -> bool:
        return channel.send(
            {"process": self.place.process, "pid": os.getpid(), "epoch": self._epoch, "network": dict(self.network)}
        )

    def _hear(self, channel: Channel) -> None:
        """Until the supervisor is gone, or says that all is over."""
        while not self._told:
            messages = channel.receive() if channel in self._wait((channel, self._waking)) else []
            if messages is None:
                return
            for message in messages:
                if "epoch" in message:
                    self._epoch = self.take(int(message["epoch"]))
                    self._say(channel)
                elif "end" in message:
                    self._told = str(message["end"])

    def _wait(self, ends: Sequence[Channel | Waking], seconds: float | None = None) -> list[object]:
        """Those of the ends that have something to read."""
        with selectors.DefaultSelector() as selector:
            for end in ends:
                selector.register(end, selectors.EVENT_READ)
            return [key.fileobj for key, _ in selector.select(seconds)]
