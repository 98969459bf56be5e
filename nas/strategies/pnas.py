"""Progressive search with a surrogate, PNAS (Liu et al., ECCV 2018): https://arxiv.org/abs/1712.00559."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, final

from nas.progressive import MANY, enumerable, smallest
from nas.strategy import Draw, Scores, Setting, Strategy
from nas.surrogates.correlation import spearman
from nas.surrogates.vocabulary import Vocabulary
from search_spaces.decisions import Candidate
from search_spaces.space import Space
from workers.errors import UserError
from workers.trial import Json, Result, Trial

if TYPE_CHECKING:
    from nas.surrogates.surrogate import Surrogate

SURROGATES = ("mlp", "lstm")
LOSSES = ("list_mle", "pairwise_hinge", "l1")
HYPERPARAMETERS = ("draw", "keep")


@final
@dataclass(frozen=True, slots=True)
class _Pick:
    """A candidate that may be trained next; `parent` is what it grew from, `predicted` its gain."""

    candidate: Candidate
    parent: Candidate | None = None
    predicted: float | None = None


@final
class _Level:
    """What a level offers, best first, no two isomorphic; canonical keys are computed as far as it is walked down."""

    def __init__(self, space: Space, source: Iterator[_Pick], fitted: float | None = None) -> None:
        self.fitted = fitted
        self._space = space
        self._source = source
        self._met: set[Hashable] = set()
        self._waiting: dict[Hashable, _Pick] = {}

    def __len__(self) -> int:
        """How many were met and not taken."""
        return len(self._waiting)

    def offer(self, place: int, taken: set[Hashable]) -> _Pick | None:
        """Number `place` of those not taken, None where there are fewer."""
        while len(self._waiting) <= place:
            pick = next(self._source, None)
            if pick is None:
                return None
            key = self._space.canonical(pick.candidate)
            if key not in taken and key not in self._met:
                self._met.add(key)
                self._waiting[key] = pick
        if place == 0:
            return next(iter(self._waiting.values()))
        return list(self._waiting.values())[place]

    def take(self, key: Hashable) -> None:
        """Someone trains the candidate with this key."""
        self._waiting.pop(key, None)


@final
class Pnas(Strategy):
    """The smallest candidates first, then, size by size, the expansions of the best that the surrogate ranks highest.

    A level begins when every trial of the one before has been told: its `beam` best are expanded, all expansions are
    scored by the surrogate, which is fitted to everything told so far, and the best `beam` that are new are trained.
    When nothing can grow any more the strategy is exhausted. What a wrapper refuses is replaced by the next in line.

    `first_level` trains only that many of the smallest candidates, drawn at random (default: all). `surrogate` is
    `mlp` or `lstm`, an ensemble of `members`; `loss` is `l1` as published, or a ranking loss (`list_mle`,
    `pairwise_hinge`). In 16 synthetic worlds (4 operations, beam 16, noise 0.01) the chosen were on average better than
    95.0 % of all expansions with `mlp` and `list_mle`, 94.3 % with `l1`; in 6 of them than 90.2 % with `lstm`.
    `hyperparameters` says what becomes of decisions that are not the space's: `draw` them for every trial, or `keep`
    the parent's.

    A trial's note holds its `level`, the `predicted` metric, and `fitted`, the rank correlation of the surrogate on the
    level that it was just fitted to; `nas.surrogates.correlation` reads them. A small candidate that does best wins, as
    it would for the random baseline, which draws from all sizes, too.
    """

    objectives_at_most = 1

    def __init__(
        self,
        setting: Setting,
        beam: int = 256,
        first_level: int | None = None,
        surrogate: str = "mlp",
        loss: str = "list_mle",
        members: int = 5,
        hyperparameters: str = "draw",
    ) -> None:
        super().__init__(setting)
        if setting.space is None or not setting.space.progressive:
            what = "there is no space" if setting.space is None else f"{type(setting.space).__name__} cannot grow"
            raise UserError(
                f"strategy pnas widens a space step by step, but {what}: "
                "take a progressive space (such as pnas), or the strategy random"
            )
        for name, value in (("beam", beam), ("members", members), ("first_level", first_level)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}, but strategy pnas needs at least 1")
        _one_of("surrogate", surrogate, SURROGATES)
        _one_of("loss", loss, LOSSES)
        _one_of("hyperparameters", hyperparameters, HYPERPARAMETERS)
        if first_level is None and not enumerable(setting.space):
            raise UserError(
                f"{type(setting.space).__name__} has more than {MANY:,} smallest candidates, too many to train "
                "them all: set first_level, say to 100"
            )
        self.space: Space = setting.space
        self.beam = beam
        self.first_level = first_level
        self.surrogate = surrogate
        self.loss = loss
        self.members = members
        self.keep = hyperparameters == "keep"
        self._scores = Scores(setting.objectives)
        self._trials: dict[int, Candidate] = {}
        self._levels: list[list[int]] = []  # the trials of each level, in the order they were asked
        self._open: set[int] = set()
        self._over = False
        # All below are caches: what they hold follows from the above.
        self._vocabulary = Vocabulary(self.space.decisions)
        self._offers: dict[tuple[int, ...], _Level] = {}
        self._taken: set[Hashable] = set()
        self._unkeyed: list[int] = []
        self._model: Surrogate | None = None
        self._fits: tuple[int, ...] = ()

    @property
    def exhausted(self) -> bool:
        return self._over

    def asked(self, trial: Trial) -> None:
        level = trial.note.get("level")
        if level is None:
            return
        while len(self._levels) < level:
            self._levels.append([])
        self._levels[level - 1].append(trial.id)
        self._trials[trial.id] = trial.candidate
        self._open.add(trial.id)
        self._unkeyed.append(trial.id)
        self._over = False

    def told(self, result: Result) -> None:
        if result.trial_id in self._trials:
            self._open.discard(result.trial_id)
            self._scores.told(result)

    def propose(self, draw: Draw) -> Trial | None:
        """Number `draw.proposal` of what the running level still offers, then, when all is told, of the next level."""
        self._take_asked()
        place, number = draw.proposal, max(1, len(self._levels))
        if self._asked_in(number) < self._size(number):
            level = self._level(number)
            if (pick := level.offer(place, self._taken)) is not None:
                return self._trial(draw, number, level, pick)
            place -= len(level)
        if self._open:
            return None
        if self._levels:
            level = self._level(number + 1)
            if (pick := level.offer(place, self._taken)) is not None:
                return self._trial(draw, number + 1, level, pick)
        self._over = True
        return None

    def _size(self, number: int) -> float:
        if number > 1:
            return self.beam
        return float("inf") if self.first_level is None else self.first_level

    def _asked_in(self, number: int) -> int:
        return len(self._levels[number - 1]) if number <= len(self._levels) else 0

    def _take_asked(self) -> None:
        for trial in self._unkeyed:
            key = self.space.canonical(self._trials[trial])
            self._taken.add(key)
            for level in self._offers.values():
                level.take(key)
        self._unkeyed.clear()

    def _trial(self, draw: Draw, number: int, level: _Level, pick: _Pick) -> Trial:
        note: dict[str, Json] = {"level": number}
        if pick.predicted is not None:
            note["predicted"] = round(self.setting.objectives[0].gain(pick.predicted), 6)
        if level.fitted is not None:
            note["fitted"] = round(level.fitted, 6)
        return self.trial(draw, self._complete(draw, pick), note)

    def _complete(self, draw: Draw, pick: _Pick) -> Candidate:
        """The candidate of a pick with its hyperparameters."""
        if not self.setting.further:
            return pick.candidate
        further: Mapping[str, Json] = {}
        if self.keep and pick.parent is not None:
            further = {name: pick.parent[name] for name in self.setting.further if name in pick.parent}
        return self.setting.decisions.complete({**pick.candidate, **further}, draw.generator())

    def _level(self, number: int) -> _Level:
        """What level `number` offers, given all that was told of the levels before it."""
        before = tuple(len(level) for level in self._levels[: number - 1])
        if before not in self._offers:
            self._offers = {
                key: level for key, level in self._offers.items() if key == before[:-1] or key[:-1] == before
            }
            self._offers[before] = self._expansions(before) if before else self._smallest()
        return self._offers[before]

    def _smallest(self) -> _Level:
        generator = Random(f"{self.setting.seed}/smallest")
        return _Level(self.space, map(_Pick, smallest(self.space, self._vocabulary.sizes, generator)))

    def _expansions(self, before: tuple[int, ...]) -> _Level:
        from nas.surrogates.frontier import Frontier

        trials = self._levels[len(before) - 1]
        gains = self._gains(before)
        known = self._scores.known()
        parents = sorted(trials, key=lambda trial: (-gains[trial], trial not in known, trial))[: self.beam]
        candidates = [self._architecture(self._trials[trial]) for trial in parents]
        generator = Random(f"{self.setting.seed}/frontier/{len(before)}")
        frontier = Frontier(self.space, self._vocabulary, candidates, generator)
        if not len(frontier):
            return _Level(self.space, iter(()))
        model = self._fitted(before)
        predicted = model.expand(frontier.prefixes, frontier.owners, frontier.suffixes)
        fit = model.predict([self._vocabulary.sequence(self._trials[trial]) for trial in trials])

        def walk() -> Iterator[_Pick]:
            for row in (-predicted).argsort(kind="stable"):
                parent = self._trials[parents[frontier.origin(row)]]
                yield _Pick(frontier.candidate(row), parent, float(predicted[row]))

        rho = spearman(fit.tolist(), [gains[trial] for trial in trials])
        return _Level(self.space, walk(), rho)

    def _architecture(self, candidate: Candidate) -> Candidate:
        """The part of a candidate that is the space's."""
        return Candidate({name: value for name, value in candidate.items() if name in self.space.decisions})

    def _gains(self, before: Sequence[int]) -> dict[int, float]:
        """The gain of every trial of these levels, the worst of them standing in; 0 where none has one."""
        known = self._scores.known()
        trials = [trial for level in self._levels[: len(before)] for trial in level]
        worst = min((known[trial][0] for trial in trials if trial in known), default=0.0)
        return {trial: known[trial][0] if trial in known else worst for trial in trials}

    def _fitted(self, before: tuple[int, ...]) -> Surrogate:
        """The surrogate after the fits to these levels, one after the other."""
        if self._model is None or self._fits != before[: len(self._fits)]:
            self._model, self._fits = self._fresh(), ()
        while len(self._fits) < len(before):
            self._fits = before[: len(self._fits) + 1]
            gains = self._gains(self._fits)
            sequences = [self._vocabulary.sequence(self._trials[trial]) for trial in gains]
            self._model.fit(sequences, list(gains.values()))
        return self._model

    def _fresh(self) -> Surrogate:
        from nas.surrogates.ensemble import Ensemble

        seed = Random(f"{self.setting.seed}/surrogate").getrandbits(62)
        return Ensemble(self._vocabulary, self.surrogate, self.loss, self.members, seed)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"{name} is {value!r}, but strategy pnas knows {', '.join(known)}")
