"""Underway: the state of a training that has not ended, from which the next attempt at its trial goes on exactly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

from workers.artifacts import Artifacts
from workers.errors import DamagedError, NotFoundError, UserError
from workers.release import release
from workers.setup import Setup
from workers.task import State
from workers.trial import Attempt

UNDERWAY = "underway.safetensors"
PERIOD = 1.0  # seconds between two writes, at least
PATIENCE = 20.0  # times as long as the last write took, at least: keeping costs a twentieth of the time at most


@final
@dataclass(frozen=True)
class Kept:
    """Where an attempt got to: its state after an epoch, and the device seconds of all attempts that led there."""

    state: State
    seconds: float


@final
class Underway:
    """What an attempt keeps of itself while it trains, and what the attempts before it have left.

    Each writes under its own number, so that one which was given up, but goes on behind a partition, spoils nothing.
    After an epoch the state is written unless the last write was less than `PERIOD` or `PATIENCE` times its own
    duration ago: a worker's death costs one epoch, or that time, whichever is longer.
    """

    def __init__(
        self,
        setup: Setup,
        artifacts: Artifacts | None,
        attempt: Attempt,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._setup, self._search, self._artifacts = setup, setup.search, artifacts
        self._attempt, self._clock = attempt, clock
        self._next = clock() + PERIOD
        self.epoch: int | None = None  # after which the last state was written

    @cached_property
    def _of(self) -> str:
        """What this is a training of."""
        return _fingerprint(self._setup, self._attempt)

    def found(self) -> Kept | None:
        """The newest state that an earlier attempt has left whole; None where there is none."""
        if self._artifacts is None:
            return None
        for number in range(self._attempt.number - 1, 0, -1):
            try:
                content = self._artifacts.get(self._search, self._attempt.trial.id, number, UNDERWAY)
                kept = self._read(content)
            except (NotFoundError, DamagedError, UserError, OSError):
                continue  # the one before is older, or there is none: that costs time and nothing else
            if kept is not None:
                return kept
        return None

    def keep(self, state: State, seconds: float, now: bool = False) -> bool:
        """Write `state` if it is time to, or `now`; whether it is there afterwards. A full disk costs just that."""
        started = self._clock()
        if self._artifacts is None or (started < self._next and not now):
            return False
        from workers.checkpoint import save

        record = {"of": self._of, "seconds": seconds, "record": dict(state.record)}
        with contextlib.suppress(UserError):
            trial, number = self._attempt.trial.id, self._attempt.number
            self._artifacts.put(self._search, trial, number, UNDERWAY, save(replace(state, record=record)))
            self.epoch = state.epoch
        ended = self._clock()
        self._next = ended + max(PERIOD, PATIENCE * (ended - started))
        return self.epoch == state.epoch

    def remove(self) -> None:
        """Remove what this attempt has written: nobody goes on from there any more."""
        if self.epoch is not None and self._artifacts is not None:
            with contextlib.suppress(OSError):  # the driver clears up what is left
                self._artifacts.delete(self._search, self._attempt.trial.id, self._attempt.number, UNDERWAY)
            self.epoch = None

    def _read(self, content: bytes) -> Kept | None:
        """What `keep` wrote; None where it was a training of something else, left by a search of the same name."""
        from workers.checkpoint import load

        state, trial = load(content), self._attempt.trial
        if state.record.get("of") != self._of or state.epoch >= trial.epochs:
            return None
        return Kept(replace(state, record=state.record["record"]), float(state.record["seconds"]))


def _fingerprint(setup: Setup, attempt: Attempt) -> str:
    """What a training depends on, in hexadecimal digits; the numbers of attempts and notes do not count.

    Our own code and torch's release do: after an upgrade another epoch is not the one that was to follow. A user's own
    code does not, as it does not for what a rung goes on from.
    """
    lineage = []
    while True:
        lineage.append({name: value for name, value in attempt.trial.json().items() if name != "note"})
        if attempt.parent is None:
            break
        attempt = attempt.parent
    known = [release(), setup.task.json(), setup.space and setup.space.json(), lineage]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
