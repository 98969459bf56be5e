"""Coordinator: deals batches to workers and replaces those that die, until every batch has counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

from workers.data_parallel.crew import Crew, Word
from workers.data_parallel.dealer import Dealer
from workers.data_parallel.journal import Journal
from workers.data_parallel.tally import Learned, Tally
from workers.errors import DivergedError, UserError

LIVES = 3  # of a worker, one after the other, in which it finishes nothing
LOOK = 1.0  # seconds at most between two reports


@final
class Coordinator:
    """Drives a crew; all that it knows is in the journal before it acts on it."""

    def __init__(self, tally: Tally, slots: int, lockstep: bool, crew: Crew, journal: Journal) -> None:
        self.tally, self.crew, self.journal = tally, crew, journal
        self._attempts = [0] * slots
        self._futile = [0] * slots  # deaths since the last batch
        dealt: list[list[int]] = [[] for _ in range(slots)]
        self._before = 0.0
        begun = 0.0
        for entry in journal.entries:
            if "begun" in entry:
                begun, self._before = entry["begun"], tally.seconds
            elif "learned" in entry:
                self._take(Learned(**entry["learned"]))
                tally.seconds = self._before + max(entry["at"] - begun, 0.0)
            elif "attempt" in entry:
                tally.replaced += entry["attempt"] > 1
                self._attempts[entry["slot"]] = entry["attempt"]
            else:
                dealt[entry["slot"]].append(entry["batch"])
        self.dealer = Dealer(tally.count, slots, lockstep, dealt)

    def run(self, report: Callable[[Tally], None]) -> None:
        """Go on until all batches count; raises `UserError` where that cannot be."""
        self._before, begun = self.tally.seconds, time.time()
        self.journal.append({"begun": begun})
        for slot in range(len(self._attempts)):
            self._start(slot)
        while not self.dealer.finished:
            for word in self.crew.wait(LOOK):
                self._hear(word)
            self.tally.seconds = self._before + time.time() - begun
            report(self.tally)

    def _hear(self, word: Word) -> None:
        slot = word.slot
        if word.kind == "died":
            self._replace(slot, word.body)
        elif word.kind == "broken":
            raise UserError(f"worker {slot} cannot go on: {word.body}")
        elif word.kind == "diverged":
            raise DivergedError(word.body)
        else:
            if word.kind == "ready":
                self.dealer.joined(slot, word.body)
            else:
                self._learned(Learned(**word.body))
            self._deal(slot)

    def _learned(self, learned: Learned) -> None:
        self.journal.append({"learned": learned.json(), "at": time.time()})
        self.dealer.counted(learned.slot, learned.number)
        self._futile[learned.slot] = 0
        self._take(learned)

    def _take(self, learned: Learned) -> None:
        self.tally.learned[learned.batch] = learned

    def _deal(self, slot: int) -> None:
        found = self.dealer.next(slot)
        if found is None:
            self.crew.say(slot, None)
            return
        deal, new = found
        if new:
            self.journal.append({"slot": slot, "batch": deal.batch})
        self.crew.say(slot, {"slot": slot, "number": deal.number, "batch": deal.batch})

    def _replace(self, slot: int, cause: str) -> None:
        self._futile[slot] += 1
        if self._futile[slot] >= LIVES:
            raise UserError(
                f"worker {slot} died {LIVES} times without finishing a batch ({cause}): mend that, and give the same "
                "command again, which goes on from here"
            )
        self.tally.replaced += 1
        self._start(slot)

    def _start(self, slot: int) -> None:
        self._attempts[slot] += 1
        self.journal.append({"slot": slot, "attempt": self._attempts[slot]})
        self.crew.start(slot, self._attempts[slot])
