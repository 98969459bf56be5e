"""Rounds: a space that does not grow, searched by what a surrogate says of random candidates and of mutated ones."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from random import Random
from typing import TypeAlias, final

from nas.offer import Offer, Pick
from nas.strategy import Draw, Scores, Setting, Strategy
from nas.surrogates.correlation import spearman
from nas.surrogates.predictor import Predictor
from nas.surrogates.vocabulary import Vocabulary
from search_spaces.decisions import Candidate
from workers.trial import Result, Trial

SAMPLED = 500  # random candidates that a round ranks
MUTATED = 500  # mutations of the best that it ranks beside them
BEST = 10  # how many of the best are mutated
TWICE = 0.5  # the share of mutations that are mutated once more
FEWEST = 4  # results with a gain before which nothing is predicted

Moment: TypeAlias = tuple[int, int]  # a round, and how many results it knows of


@final
class Rounds(Strategy):
    """`first_round` random candidates, then rounds of `beam`: what the surrogate ranks highest and nobody tried.

    A round knows what was told before its first trial was asked; no slot ever waits for a result. Trials of others
    teach the surrogate, and are not tried again. Where a space runs out, what is drawn may have been tried.
    """

    foreign = True

    def __init__(self, setting: Setting, predictor: Predictor, beam: int, first_round: int) -> None:
        super().__init__(setting)
        self.predictor = predictor
        self.beam = beam
        self.first_round = first_round
        self._scores = Scores(setting.objectives)
        self._trials: dict[int, Candidate] = {}
        self._told: dict[int, None] = {}  # the trials, in the order they were told
        self._asked = [0]  # in each round
        self._known_at = [0]  # how many results were told before each round began
        # All below are caches: what they hold follows from the above.
        self._vocabulary = Vocabulary(setting.decisions, by_family=False)
        self._taken: set[Hashable] = set()
        self._unkeyed: list[Candidate] = []
        self._moment: Moment | None = None
        self._offer: Offer | None = None

    def asked(self, trial: Trial) -> None:
        if not trial.full:
            return
        self._trials[trial.id] = trial.candidate
        self._unkeyed.append(trial.candidate)
        level = trial.note.get("level")
        if level is None:
            return
        while len(self._asked) < level:
            self._asked.append(0)
            self._known_at.append(len(self._told))
        self._asked[level - 1] += 1

    def told(self, result: Result) -> None:
        if result.trial_id in self._trials:
            self._told[result.trial_id] = None
            self._scores.told(result)

    def propose(self, draw: Draw) -> Trial:
        """Number `draw.proposal` of what this round offers; at random in the first, and when there is nothing left."""
        number, known = self._now()
        if number > 1:
            offer = self._offered(number, known)
            if offer is not None and (pick := offer.pick(draw.proposal, self._taken)) is not None:
                return self.trial(draw, pick.candidate, offer.note(number, pick, self.setting.objectives[0]))
        return self.trial(draw, self.setting.decisions.sample(draw.generator()), {"level": number})

    def _now(self) -> Moment:
        """The round of the next trial, and how many results it may know."""
        number = len(self._asked)
        if self._asked[-1] < (self.first_round if number == 1 else self.beam):
            return number, self._known_at[-1]
        return number + 1, len(self._told)

    def _offered(self, number: int, known: int) -> Offer | None:
        """What a round offers; None while too little is told to predict anything."""
        if self._moment != (number, known):
            self._moment, self._offer = (number, known), self._ranked(number, list(self._told)[:known])
        for candidate in self._unkeyed:
            key = self.setting.canonical(candidate)
            self._taken.add(key)
            if self._offer is not None:
                self._offer.take(key)
        self._unkeyed.clear()
        return self._offer

    def _ranked(self, number: int, told: list[int]) -> Offer | None:
        gains = self._gains(told)
        if len(gains) < FEWEST:
            return None
        model = self.predictor.fresh(self._vocabulary, self.setting.seed)
        learned = [self._vocabulary.sequence(self._trials[trial]) for trial in gains]
        model.fit(learned, list(gains.values()))
        best = sorted(gains, key=lambda trial: (-gains[trial], trial))[:BEST]
        pool = list(self._pool(Random(f"{self.setting.seed}/round/{number}"), [self._trials[one] for one in best]))
        predicted = model.predict([self._vocabulary.sequence(candidate) for candidate in pool])
        ranked = (Pick(pool[row], None, float(predicted[row])) for row in (-predicted).argsort(kind="stable"))
        rho = spearman(model.predict(learned).tolist(), list(gains.values()))
        return Offer(self.setting.canonical, ranked, rho)

    def _pool(self, generator: Random, best: list[Candidate]) -> Iterator[Candidate]:
        """Random candidates, and mutations of the best, no two equal."""
        decisions = self.setting.decisions
        found: dict[Candidate, None] = {}
        for _ in range(SAMPLED):
            found[decisions.sample(generator)] = None
        for place in range(MUTATED):
            child = decisions.mutate(best[place % len(best)], generator)
            found[decisions.mutate(child, generator) if generator.random() < TWICE else child] = None
        yield from found

    def _gains(self, told: list[int]) -> dict[int, float]:
        """The gain of these trials, the worst of them standing in; empty where none has one."""
        known = self._scores.known()
        worst = min((known[trial][0] for trial in told if trial in known), default=None)
        return {} if worst is None else {trial: known[trial][0] if trial in known else worst for trial in told}
