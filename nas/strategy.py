"""Strategy: ask and tell. It sees candidates and scores, never models or machines."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from random import Random
from typing import final

from nas.ranking import gains
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature, Space
from workers.errors import UserError
from workers.objectives import Objective, Outcome
from workers.trial import Json, Result, Trial


@final
@dataclass(frozen=True)
class Setting:
    """What every strategy is told about its search.

    `space` is None where only hyperparameters are searched. `epochs` is how long a child is trained, `fidelities` the
    epochs after which it can be judged, ascending (empty: any number of them); `seed` is the job's.
    `ceilings` are the largest values of metrics that are feasible. In `folder`, on the driver's machine, a strategy may
    keep what a journal is too small for, for the search's next driver; "" where a search leaves nothing behind.
    `driver` is the number of the search's driver, higher than those of all before it.
    """

    decisions: Decisions
    objectives: tuple[Objective, ...]
    space: Space | None = None
    signature: Signature | None = None
    epochs: int = 1
    seed: int = 0
    fidelities: tuple[int, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict, hash=False)
    folder: str = ""
    driver: int = 0

    @cached_property
    def further(self) -> tuple[str, ...]:
        """The decisions that are not the space's."""
        inside = self.space.decisions if self.space else {}
        return tuple(name for name in self.decisions if name not in inside)

    def canonical(self, candidate: Candidate) -> tuple[object, ...]:
        """The key that isomorphic networks with the same hyperparameters share."""
        values = candidate.json()
        rest = [(name, values[name]) for name in self.further if name in values]
        return (self.space.canonical(candidate) if self.space else None, *rest)


@final
@dataclass(frozen=True, slots=True)
class Draw:
    """The source of randomness of one proposal: (seed, trial id, how often this trial was proposed), nothing else."""

    seed: int
    trial: int
    proposal: int = 0

    def generator(self) -> Random:
        """A generator that is equal for equal draws, on any machine."""
        return Random(f"{self.seed}/{self.trial}/{self.proposal}")  # a string: seeded through SHA-512

    def again(self) -> Draw:
        """The draw of the next proposal for the same trial."""
        return replace(self, proposal=self.proposal + 1)


class Strategy(ABC):
    """Decides what to try next. Restored by hearing its history again: `asked` and `told`, in the journal's order.

    A subclass writes `propose`, `asked` and `told`. Fit models lazily, in `propose`: hearing must be cheap.
    """

    objectives_at_most: int | None = 1  # None: any number
    foreign = False  # whether it also learns from trials that it did not propose (a user's, say)

    def __init__(self, setting: Setting) -> None:
        limit = self.objectives_at_most
        if limit is not None and len(setting.objectives) > limit:
            names = ", ".join(objective.metric for objective in setting.objectives)
            raise UserError(
                f"{len(setting.objectives)} objectives ({names}) are given, but {type(self).__name__} takes at most "
                f"{limit}: leave out the others, or take a strategy for several: evolution, halving, optuna or random"
            )
        self.setting = setting
        self.next_id = 0

    @final
    def ask(self) -> Trial | None:
        """The next trial, already counted as asked; None while results are awaited, or for ever when `exhausted`."""
        trial = self.propose(Draw(self.setting.seed, self.next_id))
        if trial is not None:
            self.hear(trial)
        return trial

    @final
    def hear(self, trial: Trial) -> None:
        """Take note of a trial that was asked, now or before the last restart."""
        self.next_id = max(self.next_id, trial.id + 1)
        self.asked(trial)

    @final
    def tell(self, result: Result) -> None:
        """Learn how a trial ended; a result that is not charged to the candidate is no news."""
        if result.outcome.charged:
            self.told(result)

    @property
    def exhausted(self) -> bool:
        """Whether `ask` will never again give a trial, whatever is told."""
        return False

    @abstractmethod
    def propose(self, draw: Draw) -> Trial | None:
        """The trial with id `draw.trial`, or None; changes nothing, and equal history and draw give equal trials."""

    @abstractmethod
    def asked(self, trial: Trial) -> None:
        """`trial` is going to run."""

    @abstractmethod
    def told(self, result: Result) -> None:
        """A trial ended as `completed`, `failed` or `infeasible`."""

    def expect(self, count: int) -> None:
        """`count` asks in a row are to come before anything more is told: a strategy may think once for all of them.

        What is asked afterwards may depend on it; nothing else is to change.
        """

    def gauges(self) -> Mapping[str, float]:
        """What the strategy can tell of itself in numbers, at any moment and at once; NaN for what is not known yet.

        Changes nothing. Names are those of `nas.metrics.catalogue.TOLD`; the same ones from the beginning.
        """
        return {}

    def snapshot(self) -> bytes | None:
        """What took long to work out of the history, for a driver that will have heard the same; never a pickle.

        None where that is nothing, or where it is kept elsewhere.
        """
        return None

    def recall(self, content: bytes) -> bool:
        """Go on from what `snapshot` gave to an earlier driver, now that the history is heard.

        False, and nothing has changed, where it does not follow from this history: it is worked out again then. What
        other code has kept is not offered; what was kept by somebody who meant no good may be.
        """
        return False

    def close(self) -> None:
        """Let go of processes and connections, if there are any: the search ends, or its driver does."""

    @final
    def trial(self, draw: Draw, candidate: Candidate, note: Mapping[str, Json] | None = None) -> Trial:
        """A full trial of `candidate`, as long as the setting says."""
        epochs = self.setting.epochs
        return Trial(draw.trial, candidate, epochs, epochs, note=note or {}, seed=self.setting.seed)


@final
class Scores:
    """The gains of the trials that were told: one number per objective, larger better."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self._known: dict[int, tuple[float, ...]] = {}

    def told(self, result: Result) -> None:
        """Take note of a result; one that is infeasible, or lacks a finite value for an objective, has no gain."""
        self._known.pop(result.trial_id, None)
        if (found := gained(result, self.objectives)) is not None:
            self._known[result.trial_id] = found

    def known(self) -> dict[int, tuple[float, ...]]:
        """The trials that have a gain, by their number."""
        return dict(self._known)


def gained(result: Result, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """A result's gain for each objective, larger better; None where it is infeasible or lacks a finite value."""
    found = None if result.outcome is Outcome.INFEASIBLE else gains(result.metrics, objectives)
    return found if found is not None and all(map(math.isfinite, found)) else None
