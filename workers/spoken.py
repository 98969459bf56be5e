"""Spoken: what a process prints while it trains a child, kept with the attempt it was about."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.trial import Attempt

OUTPUT = "output.txt"
TRACEBACK = "traceback.txt"
HEAD = 64 << 10  # bytes that are kept of the beginning
TAIL = 192 << 10  # and of the end
LOOK = 1.0  # seconds between looks at a running attempt: nobody need be woken when one begins or ends
PATIENCE = 5.0  # seconds between two storings of what it says, at least
COST = 0.01  # the share of a worker's time that storing may take
OF_RAY = (b":job_id:", b":actor_name:", b":task_name:")  # lines that Ray writes for its own monitor


@final
class Spoken:
    """What was written to the files behind standard output and error since this was made; in any language.

    Workers have files there (a local one's is the driver's, Ray's are its logs), so that nothing has to be redirected,
    and an attempt that prints nothing costs two looks at two lengths: 9 microseconds. Where there is a terminal or a
    pipe, nothing is kept.
    """

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = _lengths()

    @property
    def heard(self) -> bool:
        """Whether there are files to look at."""
        return bool(self._begun)

    def length(self, flush: bool = True) -> int:
        """How many bytes were written since then."""
        return sum(max(0, length - self._begun.get(one, 0)) for one, length in _lengths(flush).items())

    def said(self) -> bytes:
        """What was written since then, without its middle where that is long."""
        parts = []
        for descriptor, length in _lengths(flush=False).items():
            begun = self._begun.get(descriptor, 0)
            if length > begun:
                parts.append(_read(descriptor, begun, length))
        return b"".join(parts)


@contextmanager
def kept(artifacts: Artifacts | None, search: str, attempt: Attempt) -> Iterator[None]:
    """Store what is said meanwhile with `attempt`: now and then, should its worker die, and at the end."""
    spoken = Spoken()
    if artifacts is None or not spoken.heard:
        yield
        return
    said = _Said(spoken, artifacts, search, attempt)
    _scribe.listen(said)
    try:
        yield
    finally:
        _scribe.listen(None)
        said.keep()


@final
class _Said:
    """What an attempt has said so far, as its file; stored by one thread at a time."""

    def __init__(self, spoken: Spoken, artifacts: Artifacts, search: str, attempt: Attempt) -> None:
        self._spoken, self._artifacts, self._search, self._attempt = spoken, artifacts, search, attempt
        self._lock = threading.Lock()
        self._over = False
        self._stored = 0  # bytes, of what was said
        self._store_at = 0.0

    def keep(self) -> None:
        """The attempt is over: store the rest."""
        with self._lock:
            self._over = True
            self._store(self._spoken.length())

    def look(self) -> None:
        """Store what is there, if it is time. Flushes nothing: what forks just then would have a locked stream."""
        began = time.monotonic()
        with self._lock:
            if not self._over and began >= self._store_at and self._store(self._spoken.length(flush=False)):
                now = time.monotonic()
                self._store_at = now + max(PATIENCE, (now - began) / COST)

    def _store(self, length: int) -> bool:
        """Whether there was anything new; a full disk costs just that."""
        if length == self._stored:
            return False
        self._stored = length
        if said := self._spoken.said():
            with suppress(UserError):
                self._artifacts.put(self._search, self._attempt.trial.id, self._attempt.number, OUTPUT, said)
        return True


@final
class _Scribe:
    """A thread, of the whole process and begun with its first attempt, that looks at what the running one says."""

    def __init__(self) -> None:
        self._running: _Said | None = None
        self._thread: threading.Thread | None = None

    def listen(self, said: _Said | None) -> None:
        """This is what runs now."""
        self._running = said
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(LOOK)
            if (running := self._running) is not None:
                running.look()


_scribe = _Scribe()


def _lengths(flush: bool = True) -> dict[int, int]:
    """The lengths of the files behind standard output and error, each file once."""
    found: dict[int, int] = {}
    seen = None
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        with suppress(OSError, ValueError, AttributeError):
            if flush:
                stream.flush()
        with suppress(OSError):
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_ino != seen:
                seen = status.st_ino
                found[descriptor] = status.st_size
    return found


def _read(descriptor: int, begun: int, length: int) -> bytes:
    """The bytes of a file between two places, without Ray's own lines; opened anew, as ours may be only written to."""
    try:
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as opened:
            opened.seek(begun)
            if length - begun <= HEAD + TAIL:
                said = opened.read(length - begun)
            else:
                head = opened.read(HEAD)
                opened.seek(length - TAIL)
                said = head + f"\n[... {length - begun - HEAD - TAIL:,} bytes ...]\n".encode() + opened.read(TAIL)
    except OSError:
        return b""
    if any(mark in said for mark in OF_RAY):
        said = b"".join(line for line in said.splitlines(keepends=True) if not line.startswith(OF_RAY))
    return said
