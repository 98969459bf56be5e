"""Regularized evolution: tournaments, and the oldest dies (Real et al., AAAI 2019): https://arxiv.org/abs/1802.01548."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from nas.ranking import ordered
from nas.strategy import Draw, Setting, Strategy, gained
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Result, Trial

PATIENCE = 50  # proposals refused in a row after which a child is mutated once more

Fitness: TypeAlias = tuple[float, ...]  # larger is better; empty, less than any other, where training failed


@final
@dataclass(frozen=True, slots=True)
class _Member:
    candidate: Candidate
    gains: tuple[float, ...] | None


@final
class Evolution(Strategy):
    """A child of the best of `sample` members drawn (with replacement) from the last `population` trials that ended.

    The child has one decision mutated. The first `population` trials are random, and so are all until `sample` have
    ended; after that a slot never waits: it gets a child of those that have. A failed trial is a member that loses to
    every other, an infeasible one is none. Several objectives: the better one stands on the earlier front, and among
    equals more alone (NSGA-II). A child that a wrapper refuses again and again is mutated further, and at last drawn
    at random, so that the search leaves a neighbourhood where everything is known.
    """

    objectives_at_most = None
    foreign = True

    def __init__(self, setting: Setting, population: int = 10, sample: int = 5) -> None:
        super().__init__(setting)
        for name, value in (("population", population), ("sample", sample)):
            if value < 1:
                raise UserError(f"{name} is {value}, but strategy evolution needs at least 1")
        if sample > population:
            raise UserError(f"sample is {sample}, but cannot be larger than the population, {population}: lower it")
        self.population = population
        self.sample = sample
        self._running: dict[int, Candidate] = {}
        self._members: dict[int, _Member] = {}  # by trial, the oldest first
        self._asked = 0
        self._ended = 0
        self._fitness: dict[int, Fitness] | None = None  # a cache, until the next result

    def asked(self, trial: Trial) -> None:
        if trial.parent is None:  # else it continues one that is known
            self._running[trial.id] = trial.candidate
            self._asked += 1

    def told(self, result: Result) -> None:
        candidate = self._running.pop(result.trial_id, None)
        if candidate is not None:
            self._ended += 1
        elif (member := self._members.pop(result.trial_id, None)) is not None:
            candidate = member.candidate
        if candidate is None:
            return
        self._fitness = None
        if result.outcome is not Outcome.INFEASIBLE:
            self._members[result.trial_id] = _Member(candidate, gained(result, self.setting.objectives))
            if len(self._members) > self.population:
                del self._members[next(iter(self._members))]

    def propose(self, draw: Draw) -> Trial:
        generator, decisions = draw.generator(), self.setting.decisions
        if self._asked < self.population or self._ended < self.sample or not self._members:
            return self.trial(draw, decisions.sample(generator))
        fitness, members = self._fitnesses(), list(self._members)
        drawn = [members[int(generator.random() * len(members))] for _ in range(self.sample)]
        child = self._members[max(drawn, key=fitness.__getitem__)].candidate
        mutations = 1 + draw.proposal // PATIENCE
        if mutations > max(1, len(decisions)):
            return self.trial(draw, decisions.sample(generator))  # as far away, and sooner said
        for _ in range(mutations):
            child = decisions.mutate(child, generator)
        return self.trial(draw, child)

    def _fitnesses(self) -> dict[int, Fitness]:
        """One number or none per member."""
        if self._fitness is None:
            known = {trial: member.gains for trial, member in self._members.items() if member.gains is not None}
            if len(self.setting.objectives) > 1:
                trials, order = list(known), ordered(list(known.values()))
                known = {trials[place]: (-float(rank),) for rank, place in enumerate(order)}
            self._fitness = {trial: known.get(trial, ()) for trial in self._members}
        return self._fitness
