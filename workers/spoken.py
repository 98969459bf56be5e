"""Spoken: what a process prints while it trains a child, kept with the attempt it was about."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import final

from workers.artifacts import Artifacts
from workers.errors import UserError
from workers.trial import Attempt

OUTPUT = "output.txt"
TRACEBACK = "traceback.txt"
HEAD = 64 << 10  # bytes that are kept of the beginning
TAIL = 192 << 10  # and of the end
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

    def said(self) -> bytes:
        """What was written since then, without its middle where that is long."""
        parts = []
        for descriptor, length in _lengths().items():
            begun = self._begun.get(descriptor, 0)
            if length > begun:
                parts.append(_read(descriptor, begun, length))
        return b"".join(parts)

    def keep(self, artifacts: Artifacts | None, search: str, attempt: Attempt) -> None:
        """Store it, if there is anything; a full disk costs just that."""
        if artifacts is not None and (said := self.said()):
            with suppress(UserError):
                artifacts.put(search, attempt.trial.id, attempt.number, OUTPUT, said)


def _lengths() -> dict[int, int]:
    """The lengths of the files behind standard output and error, each file once."""
    found: dict[int, int] = {}
    seen = None
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        with suppress(OSError, ValueError, AttributeError):
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
