"""Caller: one client's connection, as the listener sees it: what has come of messages, what is still to be sent."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, final

from parameter_server.messages.wire import HEADER, Header, header
from parameter_server.outcome import Outcome
from parameter_server.shared_memory.slots import Slot
from parameter_server.store import StoreError

RECEIVED: Final = 2**18  # bytes that are taken from a socket at a time
WAITING: Final = 2**26  # bytes of replies that a client may leave unread
TRUSTED: Final = (0,)  # users besides our own
_DESCRIPTORS: Final = socket.CMSG_SPACE(4 * array.array("i").itemsize)


@final
class Caller:
    """Messages in, replies out; never waits. `asks` is the header of the message that is being answered."""

    def __init__(self, connection: socket.socket, buffer: bytearray) -> None:
        """`buffer` has room for `RECEIVED` bytes, and may be shared by callers of one thread."""
        connection.setblocking(False)
        self.connection = connection
        self.slot: Slot | None = None
        self.epoch: int | None = None  # of the driver that this is; others have none
        self.gone = False
        self._buffer = buffer
        self._rest = bytearray()
        self._unsent = bytearray()
        self._descriptors: list[int] = []

    @property
    def sending(self) -> bool:
        """Whether there is something that the socket has not taken yet."""
        return bool(self._unsent)

    def receive(self) -> Iterator[tuple[Header, bytes]]:
        """The whole messages of what has come; raises `StoreError` for what is none, and is `gone` at the end."""
        try:
            length, ancillary, _, _ = self.connection.recvmsg_into([self._buffer], _DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            length, ancillary = 0, []
        self._keep(ancillary)
        if not length:
            self.gone = True
            return
        came = memoryview(self._buffer)[:length]
        if self._rest:
            self._rest += came
            came = memoryview(self._rest)
        at = 0
        while len(came) - at >= HEADER:
            head = header(came[at : at + HEADER])
            if len(came) - at < HEADER + head.length:
                break
            at += HEADER + head.length
            yield head, bytes(came[at - head.length : at])
        self._rest = bytearray(came[at:])

    def descriptor(self) -> int:
        """The file that came with a message; raises `StoreError` where none did."""
        if not self._descriptors:
            raise StoreError("a slot is announced, but no file came with it", Outcome.TRUNCATED)
        return self._descriptors.pop(0)

    def send(self, data: bytes, descriptor: int | None = None) -> None:
        """Send a reply, or as much of it as the socket takes now; `descriptor` goes with it."""
        self._unsent += data
        if descriptor is not None:
            try:
                sent = socket.send_fds(self.connection, [self._unsent], [descriptor])
                del self._unsent[:sent]
            except OSError:  # it reads nothing, or is gone: without the file the reply means nothing
                self.gone = True
        self.flush()

    def flush(self) -> None:
        """Send more of what is unsent."""
        try:
            while self._unsent:
                del self._unsent[: self.connection.send(self._unsent)]
        except BlockingIOError:
            self.gone = len(self._unsent) > WAITING
        except OSError:
            self.gone = True

    def take(self, slot: Slot) -> None:
        """Let a slot stand for the one before."""
        if self.slot is not None:
            self.slot.close()
        self.slot = slot

    def close(self) -> None:
        """Let go of the connection and of what came with it."""
        if self.slot is not None:
            self.slot.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self.connection.close()

    def trusted(self) -> bool:
        """Whether the client is a process of our user, where the system says so."""
        if not hasattr(socket, "SO_PEERCRED"):
            return True
        with contextlib.suppress(OSError):
            told = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return struct.unpack("3i", told)[1] in (os.geteuid(), *TRUSTED)
        return False

    def _keep(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                came = array.array("i")
                came.frombytes(data[: len(data) - len(data) % came.itemsize])
                self._descriptors += came
        while len(self._descriptors) > 1:  # a message has one
            os.close(self._descriptors.pop())
