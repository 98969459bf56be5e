"""Victim: a search whose driver can be killed, and the ledger of its trials, which its journal is held against."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import chaos_trial

from nas.driver import start
from nas.home import open_log
from nas.job import Job
from workers.objectives import Outcome
from workers.trial import Json

CHAOS = Path(chaos_trial.__file__).parent
ROOT = CHAOS.parents[1]
PATIENCE = 400.0  # seconds within which a search must have recovered, on a machine that does other work, too


@final
class Victim:
    """A search that goes on until it is stopped, whoever drives it."""

    def __init__(self, folder: Path, place: str, job: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.folder, self.place, self.ledger = folder, place, folder / "ledger"
        self.environment = {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), str(CHAOS)]), "NAS_HOME": place}
        self.driver: subprocess.Popen[bytes] | None = None
        self.may_end = False  # the driver, of what was done to it
        self.hits: Counter[int] = Counter()  # by trial, how often its worker was taken from it
        self.known: dict[int, tuple[Json, int]] = {}
        self._results: dict[int, list[Json]] = {}
        self._asked: set[int] = set()
        self._seen = 0
        log = open_log(place)
        whole = {"name": "chaos", "baseline": 0.0, "seed": 3, "budget": {"trials": 1_000_000}, "final": {"top": 0}}
        start(Job.parse({**whole, "journal": place, "folder": str(CHAOS), **job}), log)
        log.close()

    def drive(self) -> None:
        """Have a driver go on with the search."""
        with (self.folder / "driver.log").open("ab") as out:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "nas", "resume", "chaos", "--journal", self.place],
                env=self.environment, stdout=out, stderr=out,
            )  # fmt: skip

    def in_flight(self) -> list[chaos_trial.Line]:
        return chaos_trial.in_flight(self.ledger)

    def starts(self) -> int:
        return sum(line.what == "start" for line in chaos_trial.read(self.ledger))

    def goes_on_after(self, before: int, flying: set[int]) -> Callable[[], bool]:
        """Whether what was in flight has finished, and more trials than `before` have started."""

        def look() -> bool:
            lines = chaos_trial.read(self.ledger)
            finished = {line.trial for line in lines if line.what == "finish"}
            return flying <= finished and sum(line.what == "start" for line in lines) > before

        return look

    def until(self, look: Callable[[], bool], what: str) -> float:
        """The seconds until `look` is true; a driver that may end is followed by another."""
        began = time.monotonic()
        while not look():
            if time.monotonic() > began + PATIENCE:
                raise AssertionError(f"{what}: not over within {PATIENCE:g} s")
            if self.driver is not None and self.driver.poll() is not None:
                assert self.may_end, f"{what}: the driver has ended with {self.driver.returncode}"
                self.drive()
            time.sleep(0.02)
        return time.monotonic() - began

    def remember(self) -> None:
        """See what is told by now: for those trials that was the end."""
        log = open_log(self.place)
        for entry in log.entries("chaos", after=self._seen):
            self._seen = entry.sequence
            if entry.kind == "ask" and entry.trial is not None:
                self._asked.add(entry.trial)
            if entry.kind == "tell" and entry.trial is not None and Outcome(entry.body["outcome"]).charged:
                self._results.setdefault(entry.trial, []).append(entry.body)
        log.close()
        starts = Counter(line.trial for line in chaos_trial.read(self.ledger) if line.what == "start")
        for trial, results in self._results.items():
            self.known.setdefault(trial, (results[0], starts[trial]))

    def stop(self) -> tuple[int, int, int]:
        """End the search in good order: how many results there are, how many were lost, and how many are twice."""
        if self.driver is None or self.driver.poll() is not None:
            self.drive()
        log = open_log(self.place)
        log.request("chaos", "stop", {})
        log.close()
        assert self.driver is not None
        self.driver.wait(PATIENCE)
        self.remember()
        lines = chaos_trial.read(self.ledger)
        starts = Counter(line.trial for line in lines if line.what == "start")
        finished = {line.trial: line for line in lines if line.what == "finish"}
        lost = {trial for trial in self._asked if trial not in self._results}
        for trial, results in self._results.items():
            right = trial in finished and results[0]["metrics"].get("score") == chaos_trial.score(
                finished[trial].candidate
            )
            if not right or Outcome(results[0]["outcome"]) is not Outcome.COMPLETED:
                lost.add(trial)
        twice = {trial for trial, results in self._results.items() if len(results) > 1}
        twice |= {trial for trial, (_, before) in self.known.items() if starts[trial] != before}
        return len(self._results), len(lost), len(twice)
