"""Levels: a space widened step by step, the surrogate choosing among what the best can grow into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, TypeAlias, final

from nas.offer import Offer, Pick
from nas.progressive import MANY, enumerable, smallest
from nas.strategy import Draw, Scores, Setting, Strategy
from nas.surrogates.correlation import spearman
from nas.surrogates.predictor import Predictor
from nas.surrogates.vocabulary import Vocabulary
from search_spaces.decisions import Candidate
from search_spaces.space import Space
from workers.errors import UserError
from workers.trial import Json, Result, Trial

if TYPE_CHECKING:
    from collections.abc import Hashable

    from nas.surrogates.surrogate import Surrogate

Past: TypeAlias = tuple[tuple[int, int], ...]  # of each level: its trials, and what was heard of others before the next


@final
@dataclass(frozen=True)
class Growth:
    """How a space is widened: so many of each level, and of the first; what a candidate has of its parent's."""

    beam: int
    first_level: int | None = None
    keep: bool = False  # hyperparameters
    inherit: bool = False  # weights


@final
class Levels(Strategy):
    """The smallest candidates first, then, size by size, the expansions of the best that are predicted to be best.

    A level begins when every trial of the one before has been told. Trials of others, told before a level begins, teach
    the surrogate, too.
    """

    foreign = True

    def __init__(self, setting: Setting, predictor: Predictor, growth: Growth) -> None:
        super().__init__(setting)
        assert setting.space is not None
        if growth.first_level is None and not enumerable(setting.space):
            raise UserError(
                f"{type(setting.space).__name__} has more than {MANY:,} smallest candidates, too many to train "
                "them all: set first_level, say to 100"
            )
        self.space: Space = setting.space
        self.predictor = predictor
        self.growth = growth
        self._scores = Scores(setting.objectives)
        self._trials: dict[int, Candidate] = {}
        self._levels: list[list[int]] = []  # the trials of each level, in the order they were asked
        self._open: set[int] = set()
        self._others: dict[int, Candidate] = {}
        self._heard: list[int] = []  # the trials of others that were told, in that order
        self._heard_at: list[int] = []  # how many of them before each level began
        self._over = False
        # All below are caches: what they hold follows from the above.
        self._vocabulary = Vocabulary(self.space.decisions)
        self._offers: dict[Past, Offer] = {}
        self._taken: set[Hashable] = set()
        self._unkeyed: list[int] = []
        self._model: Surrogate | None = None
        self._fits: Past = ()

    @property
    def exhausted(self) -> bool:
        return self._over

    def asked(self, trial: Trial) -> None:
        level = trial.note.get("level")
        if level is None:
            if trial.full:
                self._others[trial.id] = trial.candidate
            return
        while len(self._levels) < level:
            self._levels.append([])
            self._heard_at.append(len(self._heard))
        self._levels[level - 1].append(trial.id)
        self._trials[trial.id] = trial.candidate
        self._open.add(trial.id)
        self._unkeyed.append(trial.id)
        self._over = False

    def told(self, result: Result) -> None:
        if result.trial_id in self._trials:
            self._open.discard(result.trial_id)
            self._scores.told(result)
        elif result.trial_id in self._others:
            self._heard.append(result.trial_id)
            self._scores.told(result)

    def propose(self, draw: Draw) -> Trial | None:
        """Number `draw.proposal` of what the running level still offers, then, when all is told, of the next level."""
        self._take_asked()
        place, number = draw.proposal, max(1, len(self._levels))
        if self._asked_in(number) < self._size(number):
            offer = self._offer(number)
            if (pick := offer.pick(place, self._taken)) is not None:
                return self._trial(draw, number, offer, pick)
            place -= len(offer)
        if self._open:
            return None
        if self._levels:
            offer = self._offer(number + 1)
            if (pick := offer.pick(place, self._taken)) is not None:
                return self._trial(draw, number + 1, offer, pick)
        self._over = True
        return None

    def _size(self, number: int) -> float:
        if number > 1:
            return self.growth.beam
        return float("inf") if self.growth.first_level is None else self.growth.first_level

    def _asked_in(self, number: int) -> int:
        return len(self._levels[number - 1]) if number <= len(self._levels) else 0

    def _take_asked(self) -> None:
        for trial in self._unkeyed:
            key = self.space.canonical(self._architecture(self._trials[trial]))
            self._taken.add(key)
            for offer in self._offers.values():
                offer.take(key)
        self._unkeyed.clear()

    def _trial(self, draw: Draw, number: int, offer: Offer, pick: Pick) -> Trial:
        note = offer.note(number, pick, self.setting.objectives[0])
        if not self.growth.inherit:
            return self.trial(draw, self._complete(draw, pick), note)
        trial = self.trial(draw, self._complete(draw, pick), {**note, "bequeaths": True})
        parent = self._parent(pick)
        return trial if parent is None else replace(trial, parent=parent, heir=True)

    def _parent(self, pick: Pick) -> int | None:
        """The trial that a pick grew from, where it left weights."""
        known = self._scores.known()
        return next((one for one in known if one in self._trials and self._trials[one] is pick.parent), None)

    def _complete(self, draw: Draw, pick: Pick) -> Candidate:
        """The candidate of a pick with its hyperparameters."""
        if not self.setting.further:
            return pick.candidate
        further: Mapping[str, Json] = {}
        if pick.parent is not None and (self.growth.keep or self.growth.inherit):
            hanging = self.space.decisions.hanging  # parts of the network: another kind of them could inherit nothing
            further = {name: pick.parent[name] for name in pick.parent if self.growth.keep or name in hanging}
        return self.setting.decisions.complete({**further, **pick.candidate}, draw.generator())

    def _offer(self, number: int) -> Offer:
        """What level `number` offers, given all that was told of the levels before it."""
        before = self._past(number)
        if before not in self._offers:
            self._offers = {
                key: offer for key, offer in self._offers.items() if key == before[:-1] or key[:-1] == before
            }
            self._offers[before] = self._expansions(before) if before else self._smallest()
        return self._offers[before]

    def _past(self, number: int) -> Past:
        """The levels before `number`, and what was heard of others until level `number` began, or until now."""
        heard = [*self._heard_at[1:number], len(self._heard)][: number - 1]
        return tuple(zip(map(len, self._levels[: number - 1]), heard, strict=True))

    def _smallest(self) -> Offer:
        generator = Random(f"{self.setting.seed}/smallest")
        source = map(Pick, smallest(self.space, self._vocabulary.sizes, generator))
        return Offer(self.space.canonical, source)

    def _expansions(self, before: Past) -> Offer:
        from nas.surrogates.frontier import Frontier

        trials = self._levels[len(before) - 1]
        gains = self._gains(before)
        known = self._scores.known()
        parents = sorted(trials, key=lambda trial: (-gains[trial], trial not in known, trial))[: self.growth.beam]
        candidates = [self._architecture(self._trials[trial]) for trial in parents]
        generator = Random(f"{self.setting.seed}/frontier/{len(before)}")
        frontier = Frontier(self.space, self._vocabulary, candidates, generator)
        if not len(frontier):
            return Offer(self.space.canonical, iter(()))
        model = self._fitted(before)
        predicted = model.expand(frontier.prefixes, frontier.owners, frontier.suffixes)
        fit = model.predict([self._vocabulary.sequence(self._trials[trial]) for trial in trials])

        def walk() -> Iterator[Pick]:
            for row in (-predicted).argsort(kind="stable"):
                parent = self._trials[parents[frontier.origin(row)]]
                yield Pick(frontier.candidate(row), parent, float(predicted[row]))

        rho = spearman(fit.tolist(), [gains[trial] for trial in trials])
        return Offer(self.space.canonical, walk(), rho)

    def _architecture(self, candidate: Candidate) -> Candidate:
        """The part of a candidate that the space decides alone: what hangs on a decision of the task is drawn anew."""
        alone = set(self.space.decisions) - self.space.decisions.hanging
        return Candidate({name: value for name, value in candidate.items() if name in alone})

    def _gains(self, before: Past) -> dict[int, float]:
        """The gain of every trial of these levels and of others, the worst standing in; 0 where none has one."""
        known = self._scores.known()
        trials: Sequence[int] = [trial for level in self._levels[: len(before)] for trial in level]
        trials = [*trials, *self._heard[: before[-1][1]]]
        worst = min((known[trial][0] for trial in trials if trial in known), default=0.0)
        return {trial: known[trial][0] if trial in known else worst for trial in trials}

    def _fitted(self, before: Past) -> Surrogate:
        """The surrogate after the fits to these levels, one after the other."""
        if self._model is None or self._fits != before[: len(self._fits)]:
            self._model, self._fits = self.predictor.fresh(self._vocabulary, self.setting.seed), ()
        candidates = {**self._trials, **self._others}
        while len(self._fits) < len(before):
            self._fits = before[: len(self._fits) + 1]
            gains = self._gains(self._fits)
            sequences = [self._vocabulary.sequence(candidates[trial]) for trial in gains]
            self._model.fit(sequences, list(gains.values()))
        return self._model
