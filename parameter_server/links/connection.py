"""Connections of one client to the process of a shard on the same machine: one for each call under way, kept for more.

A connection has a slot of its own, so calls of several threads never meet.
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Final, TypeVar, final

from parameter_server.messages.wire import HEADER, Header, Kind, header, json_of, message, raise_failure
from parameter_server.shared_memory.allocation import keep_freed_memory
from parameter_server.shared_memory.slots import Slot
from parameter_server.store import StoreError, UnreachableError

Result = TypeVar("Result")

FIRST: Final = 0.02  # seconds until a call is sent again, doubled up to the longest, and each time some less by chance
LONGEST: Final = 0.2
RECEIVED: Final = 2**16  # bytes that are taken from a socket at a time; for more of them malloc asks the kernel
LEAST: Final = 0.01  # seconds for a reply to be read that may have come while another process was waited for
GONE: Final = "the process of the shard has closed the connection"


@final
class Connection:
    """One connected socket; each request waits for its reply until a moment of `monotonic`.

    Raises `OSError` when the process is gone or does not answer: the connection is of no use then. A driver says its
    `epoch`, by which a later one fences it off.
    """

    def __init__(self, path: Path, until: float, epoch: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._requests = 0
        self._slot: Slot | None = None
        self._serial = 0
        self._came = b""  # of the reply, and not yet looked at
        try:
            self._wait(until)
            self._socket.connect(str(path))
            if epoch is not None:
                self.ask(Kind.DRIVER, 0, until, json.dumps({"epoch": epoch}).encode())
        except BaseException:
            self._socket.close()
            raise

    def ask(self, kind: Kind, shard: int, until: float, *body: bytes | bytearray) -> tuple[Header, bytes]:
        """Send a request, and wait for the reply; raises what the reply says."""
        self.send(kind, shard, until, *body)
        return self.receive(until)

    def send(self, kind: Kind, shard: int, until: float, *body: bytes | bytearray) -> None:
        self._requests += 1
        self._wait(until)
        self._socket.sendall(message(kind, shard, self._requests, *body))

    def receive(self, until: float) -> tuple[Header, bytes]:
        """The reply to what was sent last."""
        head = self._header(self._exactly(HEADER, until))
        body = self._exactly(head.length, until)
        if head.kind is Kind.REFUSED:
            raise_failure(json_of(body))
        return head, body

    def answered(self) -> bool:
        """Whether there is something to receive, or the end."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def ask_for_file(self, kind: Kind, shard: int, until: float) -> int | None:
        """A request whose reply brings a file; None when it does not."""
        self.send(kind, shard, until)
        self._wait(until)
        self._came, descriptors, _, _ = socket.recv_fds(self._socket, RECEIVED, 1)
        try:
            if not self._came:
                raise ConnectionError(GONE)
            self.receive(until)
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return descriptors[0] if descriptors else None

    def slot(self, size: int, until: float) -> Slot:
        """The slot of the connection, with room for so many bytes; the process has mapped it."""
        if self._slot is None or self._slot.size < size:
            if self._slot is not None:
                self._slot.close()
                self._slot = None
            slot = Slot.create(size)
            try:
                self._requests += 1
                self._wait(until)
                socket.send_fds(self._socket, [message(Kind.SLOT, 0, self._requests)], [slot.descriptor])
                self.receive(until)
            except BaseException:  # the process has none then, or another one
                slot.close()
                raise
            self._slot = slot
        return self._slot

    def serial(self) -> int:
        """A number that no push of this connection had."""
        self._serial += 1
        return self._serial

    def close(self) -> None:
        self._socket.close()
        if self._slot is not None:
            self._slot.close()

    def _header(self, data: bytes) -> Header:
        try:
            head = header(data)
        except StoreError as error:
            raise ConnectionError(str(error)) from error
        if head.request != self._requests:
            raise ConnectionError(f"reply {head.request} came for request {self._requests}")
        return head

    def _exactly(self, length: int, until: float) -> bytes:
        while len(self._came) < length:
            self._wait(until)
            part = self._socket.recv(RECEIVED)
            if not part:
                raise ConnectionError(GONE)
            self._came += part
        data, self._came = self._came[:length], self._came[length:]
        return data

    def _wait(self, until: float) -> None:
        left = until - monotonic()
        if left <= 0:
            raise TimeoutError("it did not answer in time")
        self._socket.settimeout(left)


@final
class Connections:
    """To the process that listens at `path`, shared by links to its shards; a call takes at most `seconds`.

    `shards` are those that it hosts, for who must be told which do not answer. `epoch` is that of the driver whose
    connections these are.
    """

    def __init__(
        self, path: Path | str, seconds: float = 60.0, shards: Sequence[int] = (), epoch: int | None = None
    ) -> None:
        self.path = Path(path)
        self.name = " and ".join(f"shard {shard}" for shard in shards) or "the shards"
        self.seconds = seconds
        self._epoch = epoch
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._owner = os.getpid()
        self._chance = random.Random(str(path))
        keep_freed_memory()  # what was pulled into new memory, and dropped, is the next pull's

    def begin(
        self, send: Callable[[Connection, float], None], receive: Callable[[Connection, float], Result]
    ) -> Callable[[], Result]:
        """Send a request now; gives what receives the reply, or sends it again as `call` does, in the time it has."""
        until = monotonic() + self.seconds

        def both(connection: Connection, until: float) -> Result:
            send(connection, until)
            return receive(connection, until)

        def again() -> Result:
            return self.call(both, until)

        connection = self._taken()
        if connection is None:
            return again
        try:
            send(connection, until)
        except (OSError, StoreError):
            connection.close()
            return again
        except BaseException:
            connection.close()
            raise
        return lambda: self._ended(connection, receive, again, until)

    def call(
        self, use: Callable[[Connection, float], Result], until: float | None = None, *, keep: bool = True
    ) -> Result:
        """Use a connection until there is a result, with others when one ends; it gets the moment of its deadline.

        Raises `UnreachableError` when the time is over. Without `keep` the connection, with its slot, is closed.
        """
        until, pause = monotonic() + self.seconds if until is None else until, FIRST
        fresh = False
        while True:
            try:
                connection = self._taken() or Connection(self.path, until, self._epoch)
                try:
                    result = use(connection, until)
                except StoreError:
                    self._keep(connection, keep)
                    raise
                except BaseException:
                    connection.close()
                    raise
                self._keep(connection, keep)
                return result
            except OSError as error:
                reason = error
            self.close()  # idle ones have ended with it
            if monotonic() + pause > until:
                raise UnreachableError(
                    f"{self.name} at {self.path} did not answer within {self.seconds:g} s ({reason}): "
                    "what they have acknowledged is not lost"
                )
            if fresh:
                sleep(pause * (0.5 + 0.5 * self._chance.random()))
                pause = min(2 * pause, LONGEST)
            fresh = True

    def close(self) -> None:
        """Close what is not in use; a later call connects again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _ended(
        self,
        connection: Connection,
        receive: Callable[[Connection, float], Result],
        again: Callable[[], Result],
        until: float,
    ) -> Result:
        """What came on a connection that was sent something, if it ends well."""
        try:
            result = receive(connection, max(until, monotonic() + LEAST))
        except StoreError:
            self._keep(connection, True)
            raise
        except OSError:
            connection.close()
            return again()
        except BaseException:
            connection.close()
            raise
        self._keep(connection, True)
        return result

    def _taken(self) -> Connection | None:
        if os.getpid() != self._owner:  # after a fork: these belong to the parent
            self.close()
            self._owner = os.getpid()
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, connection: Connection, keep: bool) -> None:
        if keep:
            with self._lock:
                self._idle.append(connection)
        else:
            connection.close()
