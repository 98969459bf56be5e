"""Liveness: which nodes have gone, judged by who answers a knock at its door."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from typing import final

PATIENCE = 1.25  # seconds for one knock; a first packet that is lost is sent again after one
LIMIT = 4  # so much silence, summed over knocks in a row, and a node has gone


@final
class Answer(IntEnum):
    """What a knock is answered with, as so much silence.

    A refusal tells more than silence: the host is there, and nobody listens.
    """

    OPEN = 0
    SILENT = 1
    REFUSED = 2


@final
class Liveness:
    """Judges nodes by their answers, one round of knocks after the other.

    Only a node that has answered before can go: the driver may have no way to it at all, and Ray knows better then.
    Nobody goes while the `head` is not heard, for then it may be us who are cut off. Who has gone is back once it
    answers twice in a row.
    """

    def __init__(self) -> None:
        self._silence: dict[str, int] = {}
        self._gone: dict[str, int] = {}  # and how often in a row it answered since

    def round(self, answers: Mapping[str, Answer], head: bool = True) -> frozenset[str]:
        """The ids of those who have gone, after one more answer of each node; who is not asked is forgotten."""
        if not head:
            return frozenset(self._gone)
        self._gone = {node: back for node, back in self._gone.items() if node in answers}
        self._silence = {node: silence for node, silence in self._silence.items() if node in answers}
        for node, answer in answers.items():
            self._hear(node, answer)
        return frozenset(self._gone)

    def _hear(self, node: str, answer: Answer) -> None:
        if answer is Answer.OPEN:
            self._silence[node] = 0
            if node in self._gone:
                self._gone[node] += 1
                if self._gone[node] > 1:
                    del self._gone[node]
            return
        if node in self._silence:
            self._silence[node] += answer
            if node in self._gone or self._silence[node] >= LIMIT:
                self._gone[node] = 0


def knock(doors: Mapping[str, tuple[str, int]], patience: float = PATIENCE) -> dict[str, Answer]:
    """Who lets a connection in at their host and port, all asked at once; takes at most `patience` seconds.

    The kernel of a host answers, so that neither a busy raylet nor the interpreter lock of a worker looks like a death.
    """
    answers = dict.fromkeys(doors, Answer.SILENT)
    with selectors.DefaultSelector() as selector:
        for name, (host, port) in doors.items():
            knocking = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            knocking.setblocking(False)
            with suppress(OSError):
                knocking.connect_ex((host, port))
            selector.register(knocking, selectors.EVENT_WRITE, name)
        end = time.monotonic() + patience
        while selector.get_map():
            arrived = selector.select(max(0.0, end - time.monotonic()))
            for key, _ in arrived:
                assert isinstance(key.fileobj, socket.socket)
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                answers[key.data] = _meaning(key.fileobj, error)
                selector.unregister(key.fileobj)
                key.fileobj.close()
            if not arrived:
                break
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return answers


def _meaning(knocking: socket.socket, error: int) -> Answer:
    if error:
        return Answer.REFUSED if error == errno.ECONNREFUSED else Answer.SILENT
    try:
        knocking.getpeername()
    except OSError:
        return Answer.SILENT  # it could not even be sent
    return Answer.OPEN
