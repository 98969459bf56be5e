"""SameMachineListener: shards of this process, for clients on this machine: one thread, many connections."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Final, final

from parameter_server.listeners.caller import RECEIVED, Caller
from parameter_server.listeners.desk import Desk
from parameter_server.messages.packing import checksum
from parameter_server.messages.wire import Header, failure, said
from parameter_server.outcome import Outcome
from parameter_server.shards.shard import Shard
from parameter_server.store import StoreError

BACKLOG: Final = 1024
LOOK: Final = 0.05  # seconds between looks at leases that lapse by the clock
_LOG = logging.getLogger(__name__)


@final
class SameMachineListener:
    """Listens on a Unix socket at `path`, in place of whoever did before, until it is closed.

    `snapshot` has the shard of a number write its state, and gives the file; it is called in a thread of its own. The
    folder of the socket should be closed to other users; a client of another user is refused.
    """

    def __init__(self, shards: Sequence[Shard], path: Path, snapshot: Callable[[int], str]) -> None:
        self.path = path
        self._shards = {shard.number: shard for shard in shards}
        self._snapshot = snapshot
        self._desk = Desk(self._shards, self._begin_snapshot)
        self._looked = monotonic()
        self._buffer = bytearray(RECEIVED)
        self._snapshots = ThreadPoolExecutor(1, "snapshot")
        self._written: deque[tuple[Caller, Header, Future[str]]] = deque()
        self._callers: set[Caller] = set()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._listening = _listening(path)
        self._place = os.stat(path).st_ino
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = Thread(target=self._serve, name="same machine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections; pushes that wait are given up, and their clients will send them again."""
        self._waker.close()
        self._thread.join()
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == self._place:
                self.path.unlink()

    def _serve(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._listening.close()
            for caller in list(self._callers):
                self._drop(caller)
            self._desk.look()
            self._snapshots.shutdown()
            self._woken.close()
            self._selector.close()

    def _turn(self) -> bool:
        """See to whatever has come; False when it is time to end."""
        for key, events in self._selector.select(LOOK):
            if key.fileobj is self._listening:
                self._accept()
            elif key.fileobj is self._woken:
                if not self._woken.recv(4096):
                    return False
            else:
                self._attend(key.data, events)
        while self._written:
            self._reply_snapshot(*self._written.popleft())
        if monotonic() > self._looked + LOOK:
            self._looked = monotonic()
            self._desk.settle()
        for caller in self._desk.look():
            self._mind(caller)
        return True

    def _accept(self) -> None:
        """Let in all who have come: one at a time, the last of a crowd would stand outside for as many turns."""
        for _ in range(BACKLOG):
            try:
                connection, _ = self._listening.accept()
            except OSError:  # there is nobody any more, or there are no descriptors left
                return
            caller = Caller(connection, self._buffer)
            if caller.trusted():
                self._callers.add(caller)
                self._selector.register(connection, selectors.EVENT_READ, caller)
            else:
                self._desk.count(-1, Outcome.UNAUTHENTICATED)
                caller.close()

    def _attend(self, caller: Caller, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            caller.flush()
        if events & selectors.EVENT_READ:
            self._hear(caller)
        self._mind(caller)

    def _mind(self, caller: Caller) -> None:
        """Let go of who is gone, and of who leaves replies unread wait until there is room."""
        if caller not in self._callers:
            return
        if caller.gone:
            self._drop(caller)
        else:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if caller.sending else 0)
            if self._selector.get_key(caller.connection).events != wanted:
                self._selector.modify(caller.connection, wanted, caller)

    def _hear(self, caller: Caller) -> None:
        """Answer the messages that have come; who does not speak our language is told so, and cut off."""
        try:
            for head, body in caller.receive():
                try:
                    if checksum(body) != head.checksum:
                        raise StoreError("a checksum does not fit: send the same again", Outcome.CORRUPTED)
                    self._desk.answer(caller, head, body)
                except StoreError as error:
                    self._desk.count(head.shard, error.outcome or Outcome.CORRUPTED)
                    caller.send(failure(head.shard, head.request, error))
                except Exception:
                    _LOG.exception("a message of kind %s failed", head.kind.name)
                    reason = StoreError("the shard failed: its log says why")
                    caller.send(failure(head.shard, head.request, reason))
        except StoreError as error:
            self._desk.count(-1, error.outcome or Outcome.CORRUPTED)
            caller.send(failure(0, 0, error))
            caller.gone = True

    def _drop(self, caller: Caller) -> None:
        caller.gone = True  # whatever it waits for is given up at the next look
        self._callers.discard(caller)
        self._selector.unregister(caller.connection)
        caller.close()

    def _begin_snapshot(self, caller: Caller, head: Header) -> None:
        future = self._snapshots.submit(self._snapshot, head.shard)
        future.add_done_callback(partial(self._end_snapshot, caller, head))

    def _end_snapshot(self, caller: Caller, head: Header, future: Future[str]) -> None:
        self._written.append((caller, head, future))
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _reply_snapshot(self, caller: Caller, head: Header, future: Future[str]) -> None:
        if caller.gone:
            return
        error = future.exception()
        if error is None:
            caller.send(said(head.shard, head.request, {"path": future.result()}))
        else:
            caller.send(failure(head.shard, head.request, StoreError(f"there is no snapshot: {error}")))
        self._mind(caller)


def _listening(path: Path) -> socket.socket:
    """A socket that takes the place of any other one in one step, so that clients always find one."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside = path.with_name(f"{path.name}.new")
    try:
        beside.unlink(missing_ok=True)
        listening.bind(str(beside))
        listening.listen(BACKLOG)
        listening.setblocking(False)
        os.rename(beside, path)
    except OSError as error:
        listening.close()
        raise StoreError(f"nobody can listen on {path}: {error}") from error
    return listening
