"""Advisor: ranks what could be tried next, by all that was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np

from nas.strategy import Setting
from nas.surrogates.acquisition import log_expected_improvement, log_feasibility
from nas.surrogates.batch import EXPLORED, Outlook, chosen
from nas.surrogates.belief import Belief
from nas.surrogates.codes import Codes
from nas.surrogates.evidence import Evidence, share
from nas.surrogates.gaussian_process import GaussianProcess, Posterior
from nas.surrogates.kernel import Kernel
from nas.surrogates.known import Known
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
PENDING = 200  # running trials that count as seen; of more, half are those of which most is expected
AT_ONCE = 64  # candidates that one ranking gives
NEWEST = 1_000  # of the running trials, which are looked at for that
AMONG, LEAST = 2, 256  # times as many as are tried at once, and how many at least, these are chosen from


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What became of the trials of a search: gains (or why there is none) in the order of telling, and what runs."""

    candidates: Mapping[int, Candidate]
    outcomes: Mapping[int, float | Outcome]
    running: Sequence[int]


@final
@dataclass(frozen=True, eq=False)
class View:
    """What is known when something is to be ranked: the `evidence` of so many told, what counts as running, beliefs.

    `believed` are the rows that `value` was computed from; `feasible` is None where everything was.
    """

    gains: Callable[[int], Evidence]
    count: int
    pending: Rows
    evidence: Evidence
    believed: Rows
    value: Posterior
    feasible: Posterior | None

    def best(self, value: Posterior, seen: See) -> float:
        """What is to be improved on: the best that is expected of what was told, which is less noisy than what was."""
        return float(value.predict(seen(self.believed))[0].max(initial=0.0))

    def doubted(self, rows: Rows, scores: Matrix) -> Matrix:
        """The scores, each with the logarithm of the chance that the row is feasible."""
        if self.feasible is None:
            return scores
        mean, deviation = self.feasible.predict(rows)
        return np.asarray(scores + log_feasibility(mean, np.hypot(deviation, self.feasible.noise)))


@final
class Advice(Sequence[Candidate]):
    """Rows as the candidates they stand for; `mean` is what is believed of rows, asked of `ahead` of them at once."""

    def __init__(self, codes: Codes, rows: Rows, mean: Score, ahead: int = 1) -> None:
        self._codes, self._rows = codes, rows
        self._mean, self._ahead = mean, ahead
        self._means: list[float] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Candidate:  # type: ignore[override]
        return self._codes.candidate(self._rows[place].tolist())

    def behind(self, place: int) -> Advice:
        """What comes from this place on."""
        rest = Advice(self._codes, self._rows[place:], self._mean, self._ahead)
        rest._means = self._means[place:]
        return rest

    def expected(self, place: int) -> float:
        """What the decisions alone promise there, larger better, on the scale that the belief was fitted on."""
        if place >= len(self._means):
            self._means = self._mean(self._rows[: place + self._ahead]).tolist()
        return self._means[place]


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
        self._known = Known(self.codes)
        self._tried: set[bytes] = set()
        self._networks = Networks(self.codes, setting, looks) if setting.space else None
        self._network_value = None
        self._looked = self.codes.rows([candidate for candidate, _ in looks])
        if self._networks and self._networks.groups():
            process = GaussianProcess(Kernel(self.codes, self._networks.groups()))
            self._network_value = Belief(process, SECOND * share(process.kernel.effort))

    def ranked(self, told: Told, generator: np.random.Generator) -> Advice:
        """Candidates that were not tried, the most promising first."""
        view = self._view(told)
        explore = generator.random() < EXPLORED

        def scored(value: Posterior, seen: See) -> Score:
            best = view.best(value, seen)

            def score(rows: Rows) -> Matrix:
                mean, deviation = value.predict(seen(rows))
                if explore:
                    scores = mean + deviation * generator.standard_normal(len(rows))
                else:
                    scores = log_expected_improvement(mean, deviation, best)
                return view.doubted(rows, scores)

            return score

        score = scored(view.value, _as_coded)
        ranking = self._best(self._candidates(view.evidence, generator), score, generator)
        if (networks := self._networks) is not None:
            if (value := self._value_of_networks(view)) is not None:
                score = scored(value, networks.seen)
            first, rest = self._reviewed(networks, self._with_looked(ranking), view, HEAD)
            if len(first) and networks.groups():
                first = first[np.argsort(-score(first), kind="stable")]
            ranking = np.concatenate([first, rest])
        return Advice(self.codes, ranking, _mean(view.value))

    def batch(self, told: Told, generator: np.random.Generator, count: int) -> Advice:
        """Candidates that were not tried, the first `count` of them to be tried at once.

        Each of these is chosen as if those before it, and what runs, had given what is expected of them.
        """
        view = self._view(told)
        best = view.best(view.value, _as_coded)

        def score(rows: Rows) -> Matrix:
            return view.doubted(rows, log_expected_improvement(*view.value.predict(rows), best))

        ranking = self._best(self._candidates(view.evidence, generator), score, generator)
        among, value, seen = max(LEAST, AMONG * count), view.value, _as_coded
        first, rest = ranking[:among], ranking[among:]
        if (networks := self._networks) is not None:
            first, rest = self._reviewed(networks, self._with_looked(ranking), view, HEAD + count)
            if (found := self._value_of_networks(view)) is not None:
                value, seen = found, networks.seen
                best = view.best(value, seen)
        doubt = view.doubted(first, np.zeros(len(first)))
        picked = chosen(Outlook(value, seen(first), count), best, doubt, count, generator)
        return Advice(
            self.codes,
            np.concatenate([first[picked], np.delete(first, picked, axis=0), rest]),
            _mean(view.value),
            count,
        )

    def _view(self, told: Told) -> View:
        """What is known and believed now."""
        self._tried.update(_keys(self._known.update(told.candidates, told.outcomes)))
        count = len(told.outcomes)
        gains = cache(self._gains)  # the same evidence is asked for up to three times
        pending = self._foremost(self._known.rows(told.running), gains, count)
        some = self._known.infeasible
        feasible = self._feasible.posterior(self._labels, count, pending[:0]) if some else None
        evidence = gains(count)
        believed = evidence.bounded(self._value.believed).rows
        value = self._value.posterior(gains, count, pending)
        return View(gains, count, pending, evidence, believed, value, feasible)

    def _foremost(self, running: Rows, gains: Callable[[int], Evidence], count: int) -> Rows:
        """What of the running trials is to count as seen: all, where they are not too many."""
        if len(running) <= PENDING:
            return running
        running = running[-NEWEST:]
        expected = self._value.posterior(gains, count, running[:0]).expected(running)
        return Evidence(running, expected).bounded(PENDING).rows

    def _value_of_networks(self, view: View) -> Posterior | None:
        if self._network_value is None or self._networks is None:
            return None
        return self._network_value.posterior(view.gains, view.count, view.pending, self._networks.seen)

    def _with_looked(self, ranking: Rows) -> Rows:
        """The ranking behind the best that proxies ranked, as far as these were not tried."""
        looked = _new(self._looked, set(self._tried))[:LOOKED]
        return np.concatenate([looked, _new(ranking, set(_keys(looked)))])

    def _reviewed(self, networks: Networks, ranking: Rows, view: View, size: int) -> tuple[Rows, Rows]:
        """The first `size` of the ranking that are different networks, and the others, those that are known last."""
        met = set(networks.keys(np.concatenate([view.believed, view.pending])))
        head: list[int] = []
        twins: list[int] = []
        for place, key in enumerate(networks.keys(ranking[: TWINS * size])):
            if len(head) == size:
                break
            (twins if key in met else head).append(place)
            met.add(key)
        rest = np.delete(ranking, [*head, *twins], axis=0)
        return ranking[head], np.concatenate([rest, ranking[twins]])

    def _gains(self, count: int) -> Evidence:
        """Of the first so many told the gains; failures count as the worst, what is infeasible has none."""
        rows, gains = self._known.gains(count)
        known = np.isfinite(gains)
        gains[~known] = gains[known].min() if known.any() else 0.0
        return Evidence(rows, targets(gains, self._categorical))

    def _labels(self, count: int) -> Evidence:
        """Of the first so many told +1 for what is feasible, -1 for what is not."""
        return Evidence(*self._known.labels(count))

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


def _mean(value: Posterior) -> Score:
    """What is believed of rows, without how certain that is."""
    return lambda rows: value.predict(rows)[0]


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
