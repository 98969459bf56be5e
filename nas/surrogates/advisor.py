"""Advisor: ranks what could be tried next, by all that was told."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np

from nas.strategy import Setting
from nas.surrogates.acquisition import log_expected_improvement, log_feasibility
from nas.surrogates.belief import Belief
from nas.surrogates.codes import Codes
from nas.surrogates.evidence import Evidence, share
from nas.surrogates.gaussian_process import GaussianProcess, Posterior
from nas.surrogates.kernel import Kernel
from nas.surrogates.moves import enumerated, mutated, neighbours
from nas.surrogates.networks import Looked, Networks
from nas.surrogates.targets import targets
from search_spaces.decisions import Candidate
from workers.objectives import Outcome

if TYPE_CHECKING:
    from nas.surrogates.codes import Rows
    from nas.surrogates.kernel import Matrix

    See: TypeAlias = Callable[[Rows], Rows]
    Score: TypeAlias = Callable[[Rows], Matrix]

PARENTS = 10  # the best told, whose mutations are looked at
CLOSE = 3  # of them, whose every neighbour is looked at
REFINED = 5  # candidates around which the search goes on
DRAWN = 0.2  # of the pool: drawn from the whole space
ENUMERABLE = 2_000  # candidates of a space that is looked at as a whole
ROUNDS = 3  # of refinement
NARROW = 0.01  # spread of numbers there, as a share of the range
HEAD = 64  # of a ranking: looked at as networks, where there is a space
SECOND = 0.5  # as much evidence as of decisions is digested of networks
LOOKED = 16  # of what proxies rank highest: are in the head, wherever the decisions alone would place them
TWINS = 5  # times as many are looked at for so many different ones
EXPLORED = 0.15  # of the asks: a sample of the posterior decides instead of the expected improvement


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What became of the trials of a search: gains (or why there is none) in the order of telling, and what runs."""

    candidates: Mapping[int, Candidate]
    outcomes: Mapping[int, float | Outcome]
    running: Sequence[int]


@final
class Advice(Sequence[Candidate]):
    """Rows as the candidates they stand for."""

    def __init__(self, codes: Codes, rows: Rows) -> None:
        self._codes, self._rows = codes, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Candidate:  # type: ignore[override]
        return self._codes.candidate(self._rows[place].tolist())


@final
class Advisor:
    """Believes what a Gaussian process says of a table of decisions, and another of the networks that they stand for.

    The second orders what the first ranks highest, since a network takes 0.2 to 0.5 ms to describe. Nothing that is
    remembered changes the advice.
    """

    def __init__(self, setting: Setting, pool: int, looks: Looked = ()) -> None:
        self.codes = Codes(setting.decisions)
        process = GaussianProcess(Kernel(self.codes))
        self._categorical = float(self.codes.categorical.mean()) if len(self.codes) else 1.0
        part = share(process.kernel.effort)
        self.pool = max(1, round(part * pool))
        self._value, self._feasible = Belief(process, part), Belief(process, part)
        self._every = enumerated(self.codes) if setting.decisions.size() <= ENUMERABLE else None
        self._rows: dict[int, Rows] = {}
        self._tried: set[bytes] = set()
        self._networks = Networks(self.codes, setting, looks) if setting.space else None
        self._network_value = None
        self._looked = self.codes.rows([candidate for candidate, _ in looks])
        if self._networks and self._networks.groups():
            process = GaussianProcess(Kernel(self.codes, self._networks.groups()))
            self._network_value = Belief(process, SECOND * share(process.kernel.effort))

    def ranked(self, told: Told, generator: np.random.Generator) -> Advice:
        """Candidates that were not tried, the most promising first."""
        self._encode(told)
        running, count = self._of(told.running), len(told.outcomes)
        gains, labels = partial(self._gains, told), partial(self._labels, told)
        some = Outcome.INFEASIBLE in told.outcomes.values()
        feasible = self._feasible.posterior(labels, count, running[:0]) if some else None
        known = gains(count)
        believed = known.bounded(self._value.believed).rows
        explore = generator.random() < EXPLORED

        def scored(value: Posterior, seen: See) -> Score:
            best = float(value.predict(seen(believed))[0].max(initial=0.0))

            def score(rows: Rows) -> Matrix:
                mean, deviation = value.predict(seen(rows))
                if explore:
                    scores = mean + deviation * generator.standard_normal(len(rows))
                else:
                    scores = log_expected_improvement(mean, deviation, best)
                if feasible is not None:
                    mean, deviation = feasible.predict(rows)
                    scores += log_feasibility(mean, np.hypot(deviation, feasible.noise))
                return scores

            return score

        score = scored(self._value.posterior(gains, count, running), _as_coded)
        ranking = self._best(self._candidates(known, generator), score, generator)
        if (networks := self._networks) is not None:
            if self._network_value is not None:
                value = self._network_value.posterior(gains, count, running, networks.seen)
                score = scored(value, networks.seen)
            met = networks.keys(np.concatenate([believed, running]))
            looked = _new(self._looked, set(self._tried))[:LOOKED]
            ranking = np.concatenate([looked, _new(ranking, set(_keys(looked)))])
            ranking = self._reviewed(networks, ranking, met, score)
        return Advice(self.codes, ranking)

    def _reviewed(self, networks: Networks, ranking: Rows, known: Iterable[Hashable], score: Score) -> Rows:
        """The ranking, its head ordered by what the candidates are as networks, and those that are known last."""
        met = set(known)
        head: list[int] = []
        twins: list[int] = []
        for place, key in enumerate(networks.keys(ranking[: TWINS * HEAD])):
            if len(head) == HEAD:
                break
            (twins if key in met else head).append(place)
            met.add(key)
        rest = np.delete(ranking, [*head, *twins], axis=0)
        first = ranking[head]
        if len(first) and networks.groups():
            first = first[np.argsort(-score(first), kind="stable")]
        return np.concatenate([first, rest, ranking[twins]])

    def _gains(self, told: Told, count: int) -> Evidence:
        """Of the first so many told the gains; failures count as the worst, what is infeasible has none."""
        first = dict(islice(told.outcomes.items(), count))
        trials = [trial for trial, outcome in first.items() if outcome is not Outcome.INFEASIBLE]
        gains = np.array([np.nan if isinstance(first[t], Outcome) else first[t] for t in trials], dtype=np.float64)
        known = np.isfinite(gains)
        gains[~known] = gains[known].min() if known.any() else 0.0
        return Evidence(self._of(trials), targets(gains, self._categorical))

    def _labels(self, told: Told, count: int) -> Evidence:
        """Of the first so many told +1 for what is feasible, -1 for what is not."""
        first = dict(islice(told.outcomes.items(), count))
        labels = [-1.0 if outcome is Outcome.INFEASIBLE else 1.0 for outcome in first.values()]
        return Evidence(self._of(list(first)), np.array(labels))

    def _candidates(self, evidence: Evidence, generator: np.random.Generator) -> Rows:
        """What is looked at: everything in a small space, else mutations of the best and some of everywhere."""
        if self._every is not None:
            return self._every
        drawn = self.codes.sample(max(1, round(self.pool * DRAWN)), generator)
        if not len(evidence):
            return drawn
        order = np.argsort(-evidence.targets, kind="stable")[:PARENTS]
        parents = np.repeat(evidence.rows[order], -(-(self.pool - len(drawn)) // len(order)), axis=0)
        near = neighbours(self.codes, evidence.rows[order[:CLOSE]], generator)
        return np.concatenate([near, mutated(self.codes, parents, generator), drawn])

    def _best(self, rows: Rows, score: Callable[[Rows], Matrix], generator: np.random.Generator) -> Rows:
        """The untried of the rows, and of those around the best of them, the best first."""
        met = set(self._tried)
        rows = _new(rows, met)
        scores = score(rows)
        for _ in range(0 if self._every is not None else ROUNDS):
            best = rows[np.argsort(-scores, kind="stable")[:REFINED]]
            close = mutated(self.codes, np.repeat(best, 20, axis=0), generator, 1, NARROW)
            further = _new(np.concatenate([neighbours(self.codes, best, generator), close]), met)
            rows, scores = np.concatenate([rows, further]), np.concatenate([scores, score(further)])
        return rows[np.argsort(-scores, kind="stable")]

    def _encode(self, told: Told) -> None:
        new = [trial for trial in told.candidates if trial not in self._rows]
        for trial, row in zip(new, self.codes.rows([told.candidates[trial] for trial in new]), strict=True):
            self._rows[trial] = row
        self._tried.update(_keys(self._of(new)))

    def _of(self, trials: Sequence[int]) -> Rows:
        return np.array([self._rows[trial] for trial in trials]).reshape(len(trials), len(self.codes))


def _as_coded(rows: Rows) -> Rows:
    return rows


def _new(rows: Rows, met: set[bytes]) -> Rows:
    """The rows that were not met yet, each once, and from now on they are."""
    kept = []
    for place, key in enumerate(_keys(rows)):
        if key not in met:
            met.add(key)
            kept.append(place)
    return rows[kept]


def _keys(rows: Rows) -> list[bytes]:
    """What equal rows share, though a number went to its value and back."""
    return [row.tobytes() for row in np.rint(rows * 1e9).astype(np.int64)]
