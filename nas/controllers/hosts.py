"""Hosts: processes of this machine, each of which computes the gradients of many replicas."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Mapping
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import Final, final

from nas.controllers.lesson import Lesson
from nas.controllers.placement import Placement
from workers.errors import UserError
from workers.line_process import LineProcess, encode
from workers.trial import Json

AHEAD: Final = 64  # lessons that wait for a host; who brings more, waits too
DEATHS: Final = 3  # of processes over one lesson
SECONDS: Final = 30.0  # that a search waits at its end for lessons under way


@final
class Hosts(Placement):
    """Replica r is at host r modulo `count`; a process that dies is replaced, and its lesson sent again.

    `setting` is what a process is told first (`nas.controllers.host`).
    """

    def __init__(self, count: int, setting: Mapping[str, Json]) -> None:
        self._hosts = [_Host(number, json.dumps(setting)) for number in range(count)]

    def learn(self, replica: int, lesson: Lesson) -> None:
        self._hosts[replica % len(self._hosts)].take(lesson)

    def close(self) -> None:
        latest = time.monotonic() + SECONDS
        hosts, self._hosts = self._hosts, []
        for host in hosts:
            host.finish(latest)
        for host in hosts:
            host.end(latest)


@final
class _Host:
    """One process, and the thread that gives it one lesson after the other."""

    def __init__(self, number: int, setting: str) -> None:
        self.process = LineProcess(["-m", "nas.controllers.host"])
        self._setting = setting
        self._lessons: Queue[Lesson | None] = Queue(AHEAD)
        self._failure = ""
        self._thread = Thread(target=self._run, name=f"host-{number}", daemon=True)
        self._thread.start()

    def take(self, lesson: Lesson) -> None:
        if self._failure:
            raise UserError(self._failure)
        self._lessons.put(lesson)

    def finish(self, latest: float) -> None:
        """Let nothing more come."""
        with suppress(Full):
            self._lessons.put(None, timeout=max(0.0, latest - time.monotonic()))

    def end(self, latest: float) -> None:
        """Wait for the lessons until then (monotonic), and end the process."""
        self._thread.join(max(0.0, latest - time.monotonic()))
        self._failure = self._failure or "the search has ended"
        self.finish(0.0)
        self._thread.join()
        self.process.forget()

    def _run(self) -> None:
        while (lesson := self._lessons.get()) is not None:
            if not self._failure:  # what comes after one is not sent, but nobody must wait for room
                self._failure = self._taught(lesson)

    def _taught(self, lesson: Lesson) -> str:
        """Have one lesson computed; what is wrong, in words, if it cannot be."""
        line = encode(lesson.json())
        for _ in range(DEATHS):
            if not self.process.running:
                self.process.start(self._setting)
            self.process.say(line)
            while not self._failure:
                select.select([self.process.descriptor], [], [], 1.0)
                for kind, body in self.process.read():
                    return str(body) if kind == "failed" else ""
                if self.process.cause() is not None:
                    break
            words = f"{self.process.cause()}{self.process.last_words()}"
            self.process.stop()
        return self._failure or f"{DEATHS} processes died over one lesson of {lesson.client}, the last by {words}"
