"""Supervisor: starts the processes of a store's shards, and replaces the dead; one process per folder.

It imports what shards need once, and is forked for each of them, so that a new one is there within milliseconds; it
has one thread and speaks no gRPC, so that a fork is sound. When the driver's lease is over, shards write their
snapshots and end, and it ends after them. When it dies, shards go on for the time of that lease and look for the next.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, final

from parameter_server.processes.channel import Channel, Message
from parameter_server.processes.drivers import Drivers
from parameter_server.processes.folder import Address, Folder, Layout, held, is_at, machine, socket_folder
from parameter_server.processes.place import FREE, Place, Seat
from parameter_server.processes.report import flush, report
from parameter_server.processes.waking import Waking

if TYPE_CHECKING:
    Body: TypeAlias = Callable[[Place], int]

GLANCE: Final = 0.02  # seconds between two looks at whether a process that is no child of ours still lives
AGAIN: Final = 1.0  # seconds until the address is written again, after there was no room for it
PATIENCE: Final = 30.0  # seconds that shards have to write their snapshots, and a driver to say hello


@final
class Supervisor:
    """The loop; `body` is what a shard process does, in a fork of this one; `lock` is a descriptor, closed there."""

    def __init__(self, folder: Folder, layout: Layout, lease: float, body: Body, lock: int) -> None:
        self.folder, self.layout, self.body, self.lock = folder, layout, body, lock
        self.sockets = socket_folder(folder.path, folder.read_address())
        places = [Place(folder.path, self.sockets, layout, process, lease) for process in range(layout.processes)]
        self.seats = [Seat(place, network=self._known(place)) for place in places]
        self.drivers = Drivers(lease, PATIENCE, time.monotonic)
        self.ending = ""
        self.untold = math.inf  # when to write down again where the store listens
        self.selector = selectors.DefaultSelector()
        self.address = self._address()
        self.listener = self._listening()
        self.waking = Waking({signal.SIGCHLD: lambda *_: None, signal.SIGTERM: self._told_to_end})
        self.selector.register(self.waking, selectors.EVENT_READ, self.waking.clear)

    def run(self) -> None:
        """Until the lease is over, and no shard process is left."""
        self._announce()
        while not self.ending:
            if time.monotonic() > self.untold:
                self._announce()
            self._fill()
            self._turn(self._until())
            self._grant()
            if self.drivers.over:
                self._turn(0)  # who was frozen, or got no processor, has yet to hear what has come meanwhile
            if self.drivers.over:
                self.ending = "the driver's lease is over"
        self._end()

    def _known(self, place: Place) -> dict[str, str]:
        """Where the shards of a place listened under an earlier supervisor."""
        before = self.folder.read_address()
        known = before.network if before is not None and self.layout.network is not None else ()
        return {str(shard): known[shard] for shard in place.shards if shard < len(known) and known[shard]}

    def _address(self) -> Address:
        network = {int(shard): where for seat in self.seats for shard, where in seat.network.items()}
        ports = tuple(network.get(shard, "") for shard in range(self.layout.shards)) if network else ()
        layout, path = self.layout, str(self.folder.path.resolve())
        return Address(machine(), path, str(self.sockets), layout.shards, layout.processes, ports)

    def _listening(self) -> socket.socket:
        self.address.supervisor.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.address.supervisor))
        listener.listen(128)
        self.selector.register(listener, selectors.EVENT_READ, self._accept)
        return listener

    def _told_to_end(self, *_: object) -> None:
        self.ending = "told to end"

    def _until(self) -> float:
        """Seconds that may pass before something is due."""
        now = time.monotonic()
        due = min(
            [self.drivers.expires, self.untold, *(max(seat.not_before, now) for seat in self.seats if seat.empty)]
        )
        return max(due - now, 0.0)

    def _turn(self, seconds: float) -> None:
        for key, _ in self.selector.select(seconds):
            key.data()
        self._reap()

    def _fill(self) -> None:
        """Start what is missing and may be started."""
        for seat in self.seats:
            if not seat.empty or time.monotonic() < seat.not_before:
                continue
            if any(held(self.folder.life(shard)) for shard in seat.place.shards):
                seat.not_before = time.monotonic() + GLANCE  # by a process of an earlier supervisor, which will find us
                continue
            flush()
            child = os.fork()
            if child == 0:
                self._become(seat.next())
            seat.given(child)

    def _become(self, place: Place) -> None:
        """In the child: be a shard process, with nothing that belongs to the supervisor."""
        status = 1
        try:
            self.close()
            os.close(self.lock)
            status = self.body(place)
        except BaseException:
            import traceback

            report(traceback.format_exc())
        finally:
            flush()
            os._exit(status)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            channel = Channel(self.listener.accept()[0])
            self.selector.register(channel, selectors.EVENT_READ, partial(self._hear, channel))

    def _hear(self, channel: Channel) -> None:
        if channel.fileno() < 0:
            return  # it was closed in this turn
        messages = channel.receive()
        if messages is None:
            self._gone(channel)
        for message in messages or ():
            if "process" in message:
                self._serves(channel, message)
            elif "status" in message:
                channel.send({"supervisor": os.getpid(), "processes": [seat.process for seat in self.seats]})
            elif "trouble" in message:
                self.seats[int(message["of"])].trouble = str(message["trouble"])
            elif self.ending:
                self._gone(channel)  # a driver, who asks for the next supervisor when this one is over
                return
            elif "driver" in message:
                self.drivers.hears(channel, int(message["driver"]))
            elif "leave" in message:
                if self.drivers.leaves(channel):
                    self.ending = "the driver has left"
                else:
                    channel.send({"others": True})

    def _gone(self, channel: Channel) -> None:
        self.selector.unregister(channel)
        channel.close()
        self.drivers.lost(channel)
        for seat in self.seats:
            if seat.channel is channel:
                seat.channel = seat.adopted = None
                seat.died = time.monotonic()

    def _serves(self, channel: Channel, message: Message) -> None:
        """A shard process says that it serves, and which epoch it knows."""
        seat = self.seats[int(message["process"])]
        if seat.channel is not channel:
            if seat.channel is not None:
                self._gone(seat.channel)
            seat.channel, seat.served, seat.told = channel, True, int(message["epoch"])
            seat.adopted = None if message["pid"] == seat.child else int(message["pid"])
            how = f"again after {time.monotonic() - seat.died:.3f} s" if seat.died else "from now on"
            self.say(f"shards {seat.place.shards} are served {how} by process {message['pid']}")
            if self.ending:
                channel.send({"end": self.ending})
        seat.epoch = int(message["epoch"])
        if seat.network != message["network"]:
            seat.network = dict(message["network"])
            self.address = self._address()
            self._announce()

    def _announce(self) -> None:
        """Write down where the store listens; where there is no room, try it again before long."""
        try:
            self.folder.announce(self.address)
        except OSError as error:
            self.say(f"cannot write down where the store listens ({error}): make room on the disk")
            self.untold = time.monotonic() + AGAIN
        else:
            self.untold = math.inf

    def _grant(self) -> None:
        """Answer drivers who ask, once every shard serves and knows the highest epoch."""
        if self.drivers.asked is None:
            return
        troubles = [seat.trouble for seat in self.seats if seat.trouble and seat.failures > FREE]
        if troubles:
            if self.drivers.refuse(troubles[0]):
                self.ending = f"nobody drives, and the shards do not start: {troubles[0]}"
        elif all(seat.channel is not None for seat in self.seats):
            highest = max(self.drivers.epoch, self.drivers.asked, *(seat.epoch for seat in self.seats))
            for seat in self.seats:
                if seat.told < highest and seat.channel is not None:
                    seat.told = highest
                    seat.channel.send({"epoch": highest})
            if all(seat.epoch >= highest for seat in self.seats):
                self.drivers.install(highest)

    def _reap(self) -> None:
        """Notice which children have ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for seat in self.seats:
                    if seat.child == ended[0]:
                        self._lost(seat, ended[1])

    def _lost(self, seat: Seat, status: int) -> None:
        if seat.channel is not None and seat.adopted is None:
            self._gone(seat.channel)
        wait = seat.lost(status, time.monotonic())
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
        again = f"; failed {seat.failures} times in a row, the next start is in {wait:.1f} s" if wait else ""
        self.say(f"the process of shards {seat.place.shards} ended with {how}{again}")

    def _end(self) -> None:
        """Have every shard process write its snapshots and end; kill what does not within `PATIENCE`."""
        self.say(f"ending: {self.ending}")
        for seat in self.seats:
            if seat.child is not None:
                os.kill(seat.child, signal.SIGTERM)
            elif seat.channel is not None:
                seat.channel.send({"end": self.ending})
        if not is_at(self.lock, self.folder.lock):
            self._leave()
            return
        limit = time.monotonic() + PATIENCE
        while self._anyone():
            self._turn(GLANCE)
            if time.monotonic() > limit:
                limit += PATIENCE
                for pid in {seat.process for seat in self.seats if seat.process is not None}:
                    self.say(f"process {pid} did not end within {PATIENCE:g} s, and is killed")
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        for path in self.sockets.iterdir():
            path.unlink(missing_ok=True)
        self.sockets.rmdir()
        self.say("ended")

    def _leave(self) -> None:
        """End where the folder was removed: another store may have its path by now, and the sockets."""
        while any(seat.child is not None for seat in self.seats):
            self._turn(GLANCE)

    def _anyone(self) -> bool:
        """Whether any shard process is left, of ours or of an earlier supervisor."""
        if not all(seat.empty for seat in self.seats):
            return True
        return any(held(self.folder.life(shard)) for shard in range(self.layout.shards))

    def say(self, text: str) -> None:
        """To the report."""
        report(f"supervisor: {text}")

    def close(self) -> None:
        """Let go of everything but the lock of the folder, which ends with the process."""
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self.selector.close()
