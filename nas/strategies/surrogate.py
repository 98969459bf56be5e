"""Search with a model of what was told: a Gaussian process over the decisions, and expected improvement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

from nas.jobfile.mistakes import nearest
from nas.strategy import Draw, Setting, Strategy, gained
from nas.surrogates.foresight import Foresight
from nas.surrogates.looks import Looks
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Direction, Outcome
from workers.plugins import available
from workers.proxy import FOLDER, Proxy
from workers.trial import Result, Trial

if TYPE_CHECKING:
    from nas.surrogates.advisor import Advice, Advisor

REFUSED = 100  # looks in a row, after which a trial is proposed: nothing new is left to look at
AT_ONCE = 256  # candidates that are chosen together
FEW, MANY = 4, 8  # trials at random to begin with, for small and for large tables


@final
class SurrogateSearch(Strategy):
    """Fits a Gaussian process to everything told and tries what promises the largest improvement.

    `initial` trials are drawn at random (half as many as decisions, 4 to 8); then each is the best of some `pool`
    candidates, mutations of the best told and random ones, by the logarithm of expected improvement (Ament et al.
    2023), and now and then by a sample of the posterior. A space of at most 2,000 candidates is looked at as a whole.
    The kernel is a product over decisions and tallies of options, with a sum beside it (Gunn & Kandola 2002).

    Where there is a space, the best 64 are ordered afresh by a process that sees networks as well: their parameters and
    multiply-adds, and what their vertices do and are fed from, as `Space.describe` says, if the space writes one (the
    inherited one builds). Candidates that `Setting.canonical` finds tried come last.

    With `looks` > 0 so many random networks are built and looked at first, by trials of no epochs (100 count as one
    training), and the initial trials are those that rank highest in the mean over `proxies` (`synflow`: Tanaka et al.
    2020, `naswot`: Mellor et al. 2021); the ranks are seen with the rest of a network afterwards. Where weights are
    shared a look has the task's metrics instead: name an objective that is maximised.

    A failed trial counts as the worst value told. An infeasible one has no value: a second process learns from it
    where to stay away. Of a trial that runs it is expected that it gives what is predicted, so that several workers
    are given different ones; where thousands run, of the newest and most promising. Asks that are announced together
    share one ranking, each choosing as if those before it ran. Trials of others, a user's and earlier searches', are
    believed like its own; those of fewer epochs are not.

    Hearing takes 3 microseconds an event. An ask takes 13 ms of a core after 10 told, 36 ms after 100; after 1,000
    the median is 83 ms and the 99th percentile 131 ms on a machine with other work (`benchmarks/ask_cost.py`), since
    at most 120 told are fitted to and 300 believed. After 100,000 the first takes 0.5 s (of
    cells with 21 decisions 1.4 s). Describing networks adds some 40 ms, and 100 to 200 ms to the first ask of all.
    """

    objectives_at_most = 1
    foreign = True

    def __init__(
        self,
        setting: Setting,
        initial: int | None = None,
        pool: int = 1_500,
        looks: int = 0,
        proxies: Sequence[str] = ("synflow", "naswot"),
    ) -> None:
        super().__init__(setting)
        for name, value in (("initial", initial), ("pool", pool)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}, but strategy surrogate needs at least 1")
        self.initial = min(MANY, max(FEW, len(setting.decisions) // 2 + 1)) if initial is None else initial
        self.pool = pool
        if looks < 0 or (looks and (setting.space is None or not proxies)):
            raise UserError(
                f"looks is {looks}, but proxies look at networks, at least 0 of them: "
                "leave out looks, or name a space and at least one proxy"
            )
        maximised = (one.metric for one in setting.objectives if one.direction is Direction.MAXIMIZE)
        known = [*available(FOLDER, Proxy), *maximised]
        if looks and (wrong := sorted(set(proxies) - set(known))):
            raise UserError(f"proxies has {wrong[0]!r}, but that is no proxy: {nearest(wrong[0], known)}")
        self.looks = looks
        self._looks = Looks(proxies)
        self._asked: dict[int, Candidate] = {}
        self._open: dict[int, None] = {}
        self._told: dict[int, float | Outcome] = {}  # the gain, or why there is none, in the order of telling
        self._events = 0
        self._foresight = Foresight()  # of this driver
        # All below are caches: what they hold follows from the above.
        self._proposed: tuple[Candidate, Advice | list[Candidate], int] | None = None
        self._advisor: Advisor | None = None
        self._ranking: tuple[tuple[int, Draw], Advice] | None = None
        self._expected = 0  # asks that are still to come at once
        self._batch: Advice | None = None  # what is left of the ranking for these
        self._picked = 0  # candidates at its beginning that were chosen together

    def expect(self, count: int) -> None:
        """One belief and one ranking are for up to 256 of the asks, each chosen as if those before it had been told."""
        self._expected, self._batch = (count if count > 1 else 0), None

    def asked(self, trial: Trial) -> None:
        if trial.proxy:
            self._events += 1
            self._looks.asked(trial)
        elif trial.full and trial.parent is None:
            self._events += 1
            self._asked[trial.id] = trial.candidate
            self._open[trial.id] = None
            self._foresee(trial)
            self._expected = max(0, self._expected - 1)
            self._pass_by(trial.candidate)

    def _foresee(self, trial: Trial) -> None:
        """Keep what is expected of a trial that was just proposed, to be compared with its result."""
        proposed, self._proposed = self._proposed, None
        if proposed is not None and proposed[0] is trial.candidate and not isinstance(proposed[1], list):
            from nas.threads import on_one_thread

            with on_one_thread():
                self._foresight.predicted(trial.id, proposed[1].expected(proposed[2]))

    def gauges(self) -> Mapping[str, float]:
        return {"surrogate_rank_correlation": self._foresight.correlation()}

    def _pass_by(self, candidate: Candidate) -> None:
        """Go on in the batch behind what was asked; what stood before it has been refused."""
        batch, self._picked = self._batch, self._picked - 1
        if batch is None or not self._expected or self._picked <= 0:
            self._batch = None
        elif (place := next((p for p in range(len(batch)) if batch[p] == candidate), None)) is not None:
            self._batch = batch.behind(place + 1)

    def told(self, result: Result) -> None:
        self._expected, self._batch = 0, None
        if result.trial_id in self._looks:
            self._events += 1
            self._looks.told(result)
            self._advisor = None  # what it fitted does not know of this look
        if result.trial_id not in self._asked:
            return
        self._events += 1
        self._open.pop(result.trial_id, None)
        if self._told.pop(result.trial_id, None) is not None:
            self._advisor = None  # told again: the order changed, in which parameters were fitted to a beginning
        found = gained(result, self.setting.objectives)
        self._foresight.told(result.trial_id, None if found is None else found[0])
        if result.outcome is Outcome.INFEASIBLE:
            self._told[result.trial_id] = Outcome.INFEASIBLE
        else:
            self._told[result.trial_id] = Outcome.FAILED if found is None else found[0]

    def propose(self, draw: Draw) -> Trial:
        """Number `draw.proposal` of the ranking that this history and the first draw for the trial give."""
        if len(self._looks) < self.looks:
            if draw.proposal < REFUSED:
                look = self.trial(draw, self.setting.decisions.sample(draw.generator()))
                return replace(look, epochs=0)
            draw = replace(draw, proposal=draw.proposal - REFUSED)
        ranking = self._ranked(replace(draw, proposal=0))
        if draw.proposal < len(ranking):
            trial = self.trial(draw, ranking[draw.proposal])
            self._proposed = trial.candidate, ranking, draw.proposal
            return trial
        return self.trial(draw, self.setting.decisions.sample(draw.generator()))

    def _ranked(self, draw: Draw) -> Advice | list[Candidate]:
        """Candidates worth a trial, the best first, as long as nothing is asked or told."""
        if len(self._told) < min(self.initial, FEW) or len(self._asked) < self.initial:
            return self._looked_at()
        if self._expected:
            if self._batch is None:
                self._picked = min(self._expected, AT_ONCE)
                self._batch = self._advised(draw, self._picked)
            return self._batch
        if self._ranking is None or self._ranking[0] != (self._events, draw):
            self._ranking = ((self._events, draw), self._advised(draw))
        return self._ranking[1]

    def _looked_at(self) -> list[Candidate]:
        """What proxies rank highest, before there is anything to learn from."""
        ranked = self._looks.ranked()
        tried = set(self._asked.values()) if ranked else set()
        return [candidate for candidate, _ in ranked if candidate not in tried]

    def _advised(self, draw: Draw, batch: int = 0) -> Advice:
        import numpy as np
        import scipy.linalg  # noqa: F401 - its BLAS is not numpy's: loaded before the threads are set

        from nas.surrogates.advisor import Advisor, Told
        from nas.threads import on_one_thread

        if self._advisor is None:
            self._advisor = Advisor(self.setting, self.pool, self._looks.ranked())
        generator = np.random.default_rng(draw.generator().getrandbits(64))
        told = Told(self._asked, self._told, list(self._open))
        with on_one_thread():
            return self._advisor.batch(told, generator, batch) if batch else self._advisor.ranked(told, generator)
