"""Asynchronous successive halving (ASHA, Li et al., MLSys 2020): https://arxiv.org/abs/1810.05934.

Its brackets are those of Hyperband (Li et al., JMLR 2018): https://arxiv.org/abs/1603.06560.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any, TypeAlias, final

from nas.rungs import Rung, ladder
from nas.strategy import Draw, Setting, Strategy, gained
from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import load
from workers.trial import Result, Trial

PATIENCE = 500  # new candidates refused in a row, after which there are none

Place: TypeAlias = tuple[int, int]  # bracket and rung


@final
class Halving(Strategy):
    """Many candidates are trained briefly, and a slot that is free trains the best `1/eta` of a rung up to the next.

    Nothing waits until a rung is full: whoever is among the best of those told goes on, the highest rung first, else a
    new candidate begins. Rungs go down from the setting's epochs by `eta` to `min_epochs`, over the fidelities that the
    setting names, if it does. With `brackets` > 1 candidates begin also at the second rung, the third ... (at most one
    bracket per rung), each bracket being given as many epochs as any other, as in Hyperband.

    New candidates come from the strategy `candidates` (a name, or a mapping of `name` and options), which learns from
    their first rung: with a model, that is model-based halving. When it has no more, and nothing runs, the best of
    each rung goes on, however few it has, so that a search of a small space, too, ends with a full training. Failed
    trials count as told and are never promoted; infeasible ones do not count. Several objectives are ranked by fronts.

    A trial that goes on has the earlier one as its `parent`; a note holds `rung` and `bracket`.
    """

    objectives_at_most = None

    def __init__(
        self,
        setting: Setting,
        eta: int = 3,
        min_epochs: int = 1,
        brackets: int = 1,
        candidates: str | Mapping[str, Any] = "random",
    ) -> None:
        super().__init__(setting)
        for name, value, least in (("eta", eta, 2), ("min_epochs", min_epochs, 1), ("brackets", brackets, 1)):
            if value < least:
                raise UserError(f"{name} is {value}, but strategy halving needs at least {least}")
        if min_epochs > setting.epochs:
            raise UserError(
                f"min_epochs is {min_epochs}, but a child is trained for {setting.epochs}: strategy halving needs fewer"
            )
        self.eta = eta
        self.ladder = ladder(setting.epochs, setting.fidelities, eta, min_epochs)
        self.candidates = _strategy(candidates, replace(setting, epochs=self.ladder[0], fidelities=()))
        starts = range(min(brackets, len(self.ladder)))
        self.rungs = {(start, rung): Rung() for start in starts for rung in range(start, len(self.ladder))}
        self._costs = [self._cost(start) for start in starts]  # epochs that a candidate of each bracket is worth
        self._begun = [0 for _ in starts]
        self._trials: dict[int, Trial] = {}
        self._open: set[int] = set()

    @property
    def exhausted(self) -> bool:
        return self.candidates.exhausted and not self._open and next(self._promotions(least=1), None) is None

    def asked(self, trial: Trial) -> None:
        self._open.add(trial.id)
        if "rung" not in trial.note:
            self.candidates.hear(trial)  # a proxy
            return
        bracket, rung = _place(trial)
        self._trials[trial.id] = trial
        if trial.parent is not None:
            self.rungs[bracket, rung - 1].promote(trial.parent)
        else:
            self._begun[bracket] += 1
            epochs = self.candidates.setting.epochs
            self.candidates.hear(replace(trial, epochs=epochs, horizon=epochs))

    def told(self, result: Result) -> None:
        self._open.discard(result.trial_id)
        trial = self._trials.get(result.trial_id)
        if trial is None or trial.parent is None:
            self.candidates.tell(result)
        if trial is None or result.outcome is Outcome.INFEASIBLE:
            return
        found = gained(result, self.setting.objectives) if result.outcome is Outcome.COMPLETED else None
        rung = self.rungs[_place(trial)]
        if found is None:
            rung.fail(trial.id)
        else:
            rung.complete(trial.id, found)

    def gauges(self) -> Mapping[str, float]:
        return self.candidates.gauges()

    def propose(self, draw: Draw) -> Trial | None:
        """Number `draw.proposal` of those that can be promoted, then of new candidates."""
        number = draw.proposal
        for promotion in self._promotions():
            if number == 0:
                return self._promoted(draw, *promotion)
            number -= 1
        begun = self._beginning(replace(draw, proposal=number))
        if (begun is None or number >= PATIENCE) and not self._open:
            last = next(self._promotions(least=1), None)
            return begun if last is None else self._promoted(draw, *last)
        return begun

    def _promotions(self, least: int = 0) -> Iterator[tuple[Place, int]]:
        """The trials that can go on, each with where it is; `least` of every rung can."""
        for place in sorted(self.rungs, key=lambda place: (-place[1], place[0])):
            if place[1] + 1 < len(self.ladder):
                yield from ((place, trial) for trial in self.rungs[place].promotable(self.eta, least))

    def _promoted(self, draw: Draw, place: Place, trial: int) -> Trial:
        bracket, rung = place
        note = {"rung": rung + 1, "bracket": bracket}
        epochs = self.ladder[rung + 1]
        return replace(self.trial(draw, self._trials[trial].candidate, note), epochs=epochs, parent=trial)

    def _beginning(self, draw: Draw) -> Trial | None:
        """A new candidate at the lowest rung of the bracket that has spent least."""
        trial = self.candidates.propose(draw)
        if trial is None or trial.epochs == 0:
            return trial and replace(trial, horizon=self.setting.epochs)
        bracket = min(range(len(self._costs)), key=lambda b: (self._begun[b] + 1) * self._costs[b])
        note = {**trial.note, "rung": bracket, "bracket": bracket}
        return replace(trial, epochs=self.ladder[bracket], horizon=self.setting.epochs, note=note)

    def _cost(self, start: int) -> float:
        """Epochs at all rungs of a bracket per candidate that begins there, as Hyperband counts them."""
        return sum(epochs * float(self.eta) ** -place for place, epochs in enumerate(self.ladder[start:]))


def _place(trial: Trial) -> Place:
    return trial.note["bracket"], trial.note["rung"]


def _strategy(named: str | Mapping[str, Any], setting: Setting) -> Strategy:
    """The strategy that gives new candidates."""
    options = {"name": named} if isinstance(named, str) else dict(named)
    name = options.pop("name", None)
    if not isinstance(name, str) or name == "halving":
        raise UserError(f"candidates is {named!r}, but must name another strategy than halving, such as random")
    found = load("nas.strategies", name, Strategy)
    known = list(signature(found).parameters)[1:]
    if wrong := sorted(set(options) - set(known)):
        raise UserError(
            f"candidates has {', '.join(map(repr, wrong))}, but the options of {name} are {', '.join(known) or 'none'}"
        )
    strategy: Strategy = found(setting, **options)
    return strategy
