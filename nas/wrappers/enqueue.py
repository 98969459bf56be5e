"""Enqueue: the candidates that a user wants tried come first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.trial import Json, Trial


@final
class Enqueue(Wrapper):
    """Proposes what was enqueued, in that order, before it asks `inner`."""

    def __init__(self, inner: Strategy) -> None:
        super().__init__(inner)
        self._waiting: list[Candidate] = []
        self._full: list[Trial] = []  # the trials as long as an enqueued one, to name the one that was first

    @property
    def exhausted(self) -> bool:
        return not self._waiting and self.inner.exhausted

    def propose(self, draw: Draw) -> Trial | None:
        if not self._waiting:
            return self.inner.propose(draw)
        return replace(self.trial(draw, self._waiting[0]), note={"arm": "enqueued"})

    def asked(self, trial: Trial) -> None:
        if trial.note.get("arm") == "enqueued" and trial.candidate in self._waiting:
            self._waiting.remove(trial.candidate)
        if trial.epochs == self.setting.epochs:
            self._full.append(trial)
        super().asked(trial)

    def enqueue(self, candidate: Mapping[str, Json]) -> None:
        """Put `candidate` at the end of the queue, its values checked; one that was tried already is refused."""
        checked = self.setting.decisions.candidate(candidate)
        key = self.setting.canonical(checked)
        for trial in self._full:
            if self.setting.canonical(trial.candidate) == key:
                raise UserError(f"trial {trial.id} tries this candidate already: look there, or enqueue another")
        if any(self.setting.canonical(waiting) == key for waiting in self._waiting):
            raise UserError("this candidate waits in the queue already: enqueue another")
        self._waiting.append(checked)
