"""Local search: climb from neighbour to neighbour (White et al., UAI 2021): https://arxiv.org/abs/2005.02960."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, final

from nas.strategy import Draw, Setting, Strategy, gained
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.trial import Json, Result, Trial

STEPS = ("first", "best")
KEPT = 64  # centres whose neighbours are remembered

Neighbours: TypeAlias = list[tuple[Hashable, Candidate]]  # with their canonical keys


@final
@dataclass(frozen=True, slots=True)
class _View:
    """Where a climb stands: its centre, the neighbours that nobody has tried, and whether a result is awaited."""

    centre: int
    untried: list[Candidate]
    awaited: bool


@final
@dataclass(frozen=True, slots=True)
class _Offer:
    """An untried neighbour: of which trial in which climb, and how many climbs are over before it is asked."""

    candidate: Candidate
    climb: int
    centre: int
    over: int


@final
class LocalSearch(Strategy):
    """Climbs by one changed decision at a time: a number or an ordered choice by a step, others to every option.

    The best of `starts` random candidates is climbed from first. With `step: first` a climb moves on as soon as a
    neighbour is better, with `best` to the best one when all are known. Where none is better it is over: the next best
    one goes on, or another begins at random. No slot waits: when the best climb has nothing left to try, it works on
    the next. What is known from another climb is not trained again, and a candidate of the user's is a start.

    A trial's note holds its `climb` (the trial that began it), the trial it is a neighbour `of`, and the climbs that
    were `over` when it was asked: at their top, or every neighbour refused by a wrapper.
    """

    objectives_at_most = 1
    foreign = True

    def __init__(self, setting: Setting, starts: int = 10, step: Literal["first", "best"] = "first") -> None:
        super().__init__(setting)
        if starts < 1:
            raise UserError(f"starts is {starts}, but strategy local_search needs at least 1")
        if step not in STEPS:
            raise UserError(f"step is {step!r}, but strategy local_search knows {' and '.join(STEPS)}")
        self.starts = starts
        self.first = step == "first"
        self._trials: dict[int, Trial] = {}
        self._gains: dict[int, float | None] = {}  # of the trials that ended; None: nowhere to climb from
        self._members: dict[int, int] = {}  # the climb of each trial: the trial that began it
        self._centres: dict[int, int | None] = {}  # by climb, the trial it has reached
        self._running: dict[int, int] = {}  # by climb, how many of its trials run
        self._open: list[tuple[float, int]] = []  # the climbs that are not over, best first
        # All below are caches: what they hold follows from the above.
        self._unkeyed: list[int] = []
        self._tried: dict[Hashable, int] = {}
        self._neighbours: dict[int, Neighbours] = {}
        self._offers: list[_Offer] = []  # of the climbs that were looked at since something was heard
        self._over: list[int] = []  # those of them that are over where all that they offer is refused
        self._looked = 0

    def asked(self, trial: Trial) -> None:
        self._forget()
        if trial.parent is not None:
            return  # it continues one that is known
        climb = trial.note.get("climb")
        if climb not in self._centres:
            climb = trial.id
            self._centres[climb] = None
        self._trials[trial.id] = trial
        self._members[trial.id] = climb
        self._unkeyed.append(trial.id)
        self._running[climb] = self._running.get(climb, 0) + 1
        for one in trial.note.get("over", ()):
            self._close(one)
        if climb != trial.id:
            self._advance(climb, trial.note["of"])

    def told(self, result: Result) -> None:
        self._forget()
        climb = self._members.get(result.trial_id)
        if climb is None or result.trial_id in self._gains:
            return
        self._running[climb] -= 1
        found = gained(result, self.setting.objectives)
        self._gains[result.trial_id] = found[0] if found else None
        if self.first or self._centres[climb] is None:
            self._advance(climb, result.trial_id)
        elif self._better(result.trial_id, self._centres[climb]):
            self._reopen(climb)

    def propose(self, draw: Draw) -> Trial:
        """Number `draw.proposal` of the untried neighbours of all climbs, the best climb's first; then a start."""
        self._catch_up()
        while len(self._offers) <= draw.proposal and self._look_further():
            pass
        if draw.proposal < len(self._offers):
            offer = self._offers[draw.proposal]
            note = {"climb": offer.climb, "of": offer.centre}
            return self.trial(draw, offer.candidate, _noted(note, self._over[: offer.over]))
        return self.trial(draw, self.setting.decisions.sample(draw.generator()), _noted({}, self._over))

    def _forget(self) -> None:
        """What was heard may have moved any climb."""
        self._offers, self._over, self._looked = [], [], 0

    def _look_further(self) -> bool:
        """Whether there is one more climb; then what it offers is known.

        Where a space runs out a wrapper refuses a thousand proposals in a row: each climb is looked at once for all.
        """
        if len(self._centres) < self.starts or self._looked == len(self._open):
            return False
        _, climb = self._open[self._looked]
        self._looked += 1
        view = self._view(climb)
        self._offers += [_Offer(one, climb, view.centre, len(self._over)) for one in view.untried]
        if view.untried or not (view.awaited or self._running[climb]):
            self._over.append(climb)
        return True

    def _view(self, climb: int) -> _View:
        """Where a climb has got to, led on by what is known from other climbs as well."""
        centre = self._centres[climb]
        assert centre is not None
        while True:
            untried, known = [], []
            for key, candidate in self._around(centre):
                if key in self._tried:
                    known.append(self._tried[key])
                else:
                    untried.append(candidate)
            awaited = any(trial not in self._gains for trial in known)
            better = [trial for trial in known if self._better(trial, centre)]
            if not better or not (self.first or not (untried or awaited)):
                return _View(centre, untried, awaited)
            centre = max(better, key=lambda trial: (self._gains[trial], -trial))

    def _around(self, centre: int) -> Neighbours:
        """The neighbours of a trial in random order."""
        if centre not in self._neighbours:
            generator = Random(f"{self.setting.seed}/neighbours/{centre}")
            found = list(self.setting.decisions.neighbours(self._trials[centre].candidate, generator))
            generator.shuffle(found)
            if len(self._neighbours) >= KEPT:
                del self._neighbours[next(iter(self._neighbours))]
            self._neighbours[centre] = list({self.setting.canonical(one): one for one in found}.items())
        return self._neighbours[centre]

    def _catch_up(self) -> None:
        for trial in self._unkeyed:
            self._tried.setdefault(self.setting.canonical(self._trials[trial].candidate), trial)
        self._unkeyed.clear()

    def _better(self, trial: int, than: int | None) -> bool:
        """Whether a trial has ended with more than another has, or has anything where there is no other."""
        gain, other = self._gains.get(trial), None if than is None else self._gains[than]
        return gain is not None and (other is None or gain > other)

    def _advance(self, climb: int, trial: int) -> None:
        """Let `trial` be the centre of a climb, if it is better."""
        if self._better(trial, self._centres[climb]):
            self._close(climb)
            self._centres[climb] = trial
            self._reopen(climb)

    def _reopen(self, climb: int) -> None:
        entry = self._entry(climb)
        place = bisect_left(self._open, entry)
        if self._open[place : place + 1] != [entry]:
            insort(self._open, entry)

    def _close(self, climb: int) -> None:
        """A climb is over; a better result of what still runs opens it again."""
        if self._centres.get(climb) is not None:
            entry = self._entry(climb)
            place = bisect_left(self._open, entry)
            if self._open[place : place + 1] == [entry]:
                del self._open[place]

    def _entry(self, climb: int) -> tuple[float, int]:
        centre = self._centres[climb]
        gain = None if centre is None else self._gains[centre]
        assert gain is not None
        return -gain, climb


def _noted(note: Mapping[str, Json], over: list[int]) -> dict[str, Json]:
    return {**note, "over": list(over)} if over else dict(note)
