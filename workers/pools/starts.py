"""Starts: how often actors die before they are up, and how long the next ones wait for it; decides only."""

from __future__ import annotations

from typing import final

from workers.errors import UserError

PAUSE = 1.0  # seconds before the second try; each pause is twice as long as the one before
LONGEST = 60.0
TOLD = 3  # tries in a row, so many have failed, and people are told
HOPELESS = 6  # and if none has ever come up the search ends: after 31 s of pauses, and what starting takes


@final
class Starts:
    """What became of the actors that were hired; times are the driver's monotonic seconds.

    Who dies before it is up is missing until the pause is over. Others are hired at once: those that take the place of
    an actor that was up, and those for which there is new room.
    """

    def __init__(self) -> None:
        self._tries = 0  # that failed in a row
        self._until = 0.0
        self._missing = 0
        self._died = 0  # since it was well
        self._ever = self._risen = self._told = False

    def died(self, reason: str, now: float, others: int) -> str:
        """An actor died before it was up, and so many `others` remain: what people are to be told, if anything.

        `UserError` where none has ever come up.
        """
        if not self._missing:
            self._tries += 1
            self._until = now + min(LONGEST, PAUSE * 2 ** (self._tries - 1))
        self._missing += 1
        self._died += 1
        self._risen = False
        if self._tries >= HOPELESS and not self._ever and not others:
            raise UserError(
                f"no worker comes up on the Ray cluster: {self._died} died as they started, in {self._tries} tries, "
                f"the last one so: {reason}. At least one must start: mend the nodes (packages, memory, runtime "
                "environment; Ray's logs there say more), then `nas resume` goes on from the journal"
            )
        if self._tries < TOLD or self._told:
            return ""
        self._told = True
        return (
            f"workers die on the Ray cluster as they start: {self._died} so far, the last one so: {reason}. Others are "
            f"tried ever more seldom, at last once in {LONGEST:g} s"
        )

    def rose(self) -> None:
        """An actor has come up."""
        self._ever = self._risen = True

    def allowed(self, wanted: int, now: float) -> int:
        """How many of the `wanted` actors may be hired now; they are."""
        if now < self._until:
            return max(0, wanted - self._missing)
        if wanted:
            self._missing = 0
        return wanted

    def settle(self) -> str:
        """All that have room are up: what people are to be told, if anything."""
        if not self._risen or self._missing:
            return ""
        told, self._told = self._told, False
        self._tries = self._died = 0
        return "workers start on the Ray cluster again" if told else ""
