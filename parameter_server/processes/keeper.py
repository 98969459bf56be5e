"""Keeper: the driver's hold on a store: it starts a supervisor where there is none, and renews the driver's lease."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import time
from threading import Thread
from typing import Final, final

from parameter_server.processes.channel import Channel
from parameter_server.processes.folder import Folder, held, machine
from parameter_server.processes.place import ENVIRONMENT
from parameter_server.store import FencedError, StoreError

PATIENCE: Final = 60.0  # seconds for a store to start, or to end
STARTS: Final = 10  # of a supervisor, a second apart, none of which could be reached
LOOK: Final = 0.01
REPORT_LIMIT: Final = 2**20  # bytes of a report that is begun anew


@final
class Keeper:
    """Holds the lease of one epoch from its construction to `close`, in a thread of its own.

    Raises `FencedError` for an epoch that is not the highest, `StoreError` when the store does not start. A
    supervisor that dies is replaced at once. `fenced` is why the lease was lost to another driver, or empty.
    """

    def __init__(self, folder: Folder, epoch: int, lease: float) -> None:
        self.folder, self.epoch, self.lease = folder, epoch, lease
        self.fenced = ""
        self._channel = self._take()
        self._woken, self._waker = socket.socketpair()
        self._thread = Thread(target=self._beat, name="store lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the lease up; when no other driver holds it, the store ends, and has ended when this returns."""
        if self._waker.fileno() < 0:
            return
        self._waker.close()
        self._thread.join()
        self._woken.close()
        if self._channel.send({"leave": True}) and not self.fenced:
            self._wait_for_the_end()
        self._channel.close()

    def _wait_for_the_end(self) -> None:
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            messages = self._channel.receive()
            if messages is None or any("others" in message for message in messages):
                break
        while messages is None and held(self.folder.lock) and time.monotonic() < limit:
            time.sleep(LOOK)

    def _beat(self) -> None:
        """Renew the lease three times in its length; be there at once when the supervisor dies."""
        while not self.fenced:
            with selectors.DefaultSelector() as selector:
                for end in (self._channel, self._woken):
                    selector.register(end, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in selector.select(self.lease / 3)]
            if self._woken in ready:
                return
            messages = self._channel.receive() if ready else []
            for message in messages or ():
                if "fenced" in message:
                    self.fenced = f"the driver of epoch {message['fenced']} has taken over from epoch {self.epoch}"
            if messages is None:
                self._return()
            elif not ready:
                self._channel.send({"driver": self.epoch})

    def _return(self) -> None:
        """Find the store again, or start it again; while that fails, once in a third of a lease."""
        try:
            channel = self._take()
        except FencedError as error:
            self.fenced = str(error)
        except (StoreError, OSError):
            time.sleep(min(self.lease / 3, 1.0))
        else:
            self._channel.close()
            self._channel = channel

    def _take(self) -> Channel:
        """A connection to the supervisor that has given us the lease."""
        limit, due, asked = time.monotonic() + PATIENCE, 0.0, list[int]()
        try:
            while time.monotonic() < limit and len(asked) <= STARTS:
                channel = self._connected()
                if channel is None:
                    self._check_machine()
                    if time.monotonic() > due and not held(self.folder.lock):
                        asked.append(self._start())
                        due = time.monotonic() + 1.0
                elif self._granted(channel, limit):
                    return channel
                time.sleep(LOOK)
        finally:
            for end in asked:
                os.close(end)  # whichever supervisor comes late learns that it is not asked for any more
        raise StoreError(f"the store in {self.folder.path} does not start: {self.folder.report} says why")

    def _connected(self) -> Channel | None:
        address = self.folder.read_address()
        try:
            return None if address is None else Channel.to(address.supervisor)
        except OSError:
            return None

    def _check_machine(self) -> None:
        """Raise where the folder is shared with another machine, and the store runs there."""
        address = self.folder.read_address()
        if address is not None and address.machine != machine() and held(self.folder.lock):
            raise StoreError(f"the store in {self.folder.path} runs on another machine: connect to it, or end it there")

    def _granted(self, channel: Channel, limit: float) -> bool:
        """Whether the lease is ours; the connection is closed when it is not, as when the supervisor ended first."""
        granted = False
        try:
            granted = self._asked(channel, limit)
        finally:
            if not granted:
                channel.close()
        return granted

    def _asked(self, channel: Channel, limit: float) -> bool:
        channel.send({"driver": self.epoch})
        while time.monotonic() < limit:
            messages = channel.receive()
            if messages is None:
                return False
            for message in messages:
                if "fenced" in message:
                    raise FencedError(
                        f"the driver of epoch {message['fenced']} has taken over the store in {self.folder.path}, "
                        f"and this one is of epoch {self.epoch}: stop it"
                    )
                if "trouble" in message:
                    raise StoreError(f"the store in {self.folder.path} does not start: {message['trouble']}")
                if message.get("epoch") == self.epoch:
                    return True
        return False

    def _start(self) -> int:
        """Start a supervisor; gives a descriptor that stays open for as long as it is asked for."""
        report = self.folder.report
        with contextlib.suppress(FileNotFoundError):
            if report.stat().st_size > REPORT_LIMIT:
                os.replace(report, report.with_suffix(".log.1"))
        theirs, ours = os.pipe()
        try:
            with report.open("ab") as file:
                subprocess.run(
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "parameter_server.processes.supervisor_process",
                        str(self.folder.path.resolve()),
                        "--asked",
                    ],
                    stdin=theirs,
                    stdout=file,
                    stderr=file,
                    env={**os.environ, **ENVIRONMENT},
                    check=False,
                )  # it leaves its parent at once
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return ours
