"""Drivers: who gives a store its orders, of which epoch, and until when it runs without hearing of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import final

from parameter_server.processes.channel import Channel


@final
class Drivers:
    """Those of the highest epoch share the lease; whoever comes with a lower one is fenced off.

    `clock` gives seconds; the first driver has the time `first` to come.
    """

    def __init__(self, lease: float, first: float, clock: Callable[[], float]) -> None:
        self.epoch = -1
        self.expires = clock() + first
        self._lease, self._clock = lease, clock
        self._asking: dict[Channel, int] = {}
        self._driving: set[Channel] = set()

    @property
    def asked(self) -> int | None:
        """The highest epoch of those who wait for an answer; None when nobody does."""
        return max(self._asking.values(), default=None)

    @property
    def over(self) -> bool:
        return self._clock() > self.expires

    def hears(self, channel: Channel, epoch: int) -> None:
        """A driver asks to drive, or beats."""
        if channel in self._driving and epoch == self.epoch:
            self._renew(channel)
        else:
            self._driving.discard(channel)
            self._asking[channel] = epoch

    def refuse(self, trouble: str) -> bool:
        """Tell those who ask why there is nothing to drive; whether nobody drives."""
        for channel in self._asking:
            channel.send({"trouble": trouble})
        self._asking.clear()
        return not self._driving

    def install(self, epoch: int) -> None:
        """Every shard knows of the epoch: who asked with it drives."""
        if epoch > self.epoch:
            self._fence(self._driving, epoch)
            self._driving.clear()
            self.epoch = epoch
        self._fence([channel for channel, asked in self._asking.items() if asked < epoch], epoch)
        for channel, asked in self._asking.items():
            if asked == epoch:
                self._driving.add(channel)
                self._renew(channel)
        self._asking.clear()

    def leaves(self, channel: Channel) -> bool:
        """Whether nobody is left now that this driver says that it is done."""
        left = channel in self._driving and len(self._driving) == 1 and not self._asking
        self._driving.discard(channel)
        return left

    def lost(self, channel: Channel) -> None:
        """A connection has ended; the lease goes on, for the driver may come back."""
        self._asking.pop(channel, None)
        self._driving.discard(channel)

    def _renew(self, channel: Channel) -> None:
        self.expires = self._clock() + self._lease
        channel.send({"epoch": self.epoch})

    def _fence(self, channels: Collection[Channel], epoch: int) -> None:
        for channel in channels:
            channel.send({"fenced": epoch})
