"""Table: decisions as Optuna's parameters, walked define-by-run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.decision import Choice, Decision, Value
from search_spaces.decisions import Candidate, Decisions

if TYPE_CHECKING:
    from optuna import Trial


@final
class Table:
    """The parameters of a table of decisions: a range is a float or an int, a choice categorical.

    An ordered choice is the int that counts its options, so that samplers know which are neighbours.
    """

    def __init__(self, decisions: Decisions) -> None:
        self.decisions = decisions
        self.distributions = {name: _distribution(decision) for name, decision in decisions.items()}

    def walk(self, trial: Trial) -> Candidate:
        """What `trial` suggests for one active decision after the other."""
        values: dict[str, Value] = {}
        for name, decision in self.decisions.items():
            if decision.when is None or decision.when.holds(values):
                values[name] = _value(name, decision, _suggest(trial, name, decision))
        return Candidate(values)

    def params(self, candidate: Mapping[str, Value]) -> dict[str, Any]:
        """The parameters that a walk to `candidate` is suggested."""
        return {name: _parameter(self.decisions[name], value) for name, value in candidate.items()}

    def grid(self) -> dict[str, list[Any]]:
        """The parameters at the decisions' points."""
        return {
            name: [_parameter(decision, point) for point in decision.points]
            for name, decision in self.decisions.items()
        }

    def numbers(self) -> dict[str, FloatDistribution | IntDistribution]:
        """The parameters with neighbours that every trial has, by name: what CMA-ES can move."""
        return {
            name: distribution
            for name, distribution in sorted(self.distributions.items())
            if self.decisions[name].when is None
            and isinstance(distribution, FloatDistribution | IntDistribution)
            and not distribution.single()
        }


def _distribution(decision: Decision) -> BaseDistribution:
    if isinstance(decision, Choice):
        if decision.ordered:
            return IntDistribution(0, len(decision.options) - 1)
        return CategoricalDistribution(decision.options)
    if decision.integer:
        return IntDistribution(int(decision.low), int(decision.high), log=decision.log)
    return FloatDistribution(decision.low, decision.high, log=decision.log)


def _suggest(trial: Trial, name: str, decision: Decision) -> Any:
    if isinstance(decision, Choice):
        if decision.ordered:
            return trial.suggest_int(name, 0, len(decision.options) - 1)
        return trial.suggest_categorical(name, decision.options)
    if decision.integer:
        return trial.suggest_int(name, int(decision.low), int(decision.high), log=decision.log)
    return trial.suggest_float(name, decision.low, decision.high, log=decision.log)


def _value(name: str, decision: Decision, parameter: Any) -> Value:
    if isinstance(decision, Choice) and decision.ordered:
        return decision.options[int(parameter)]
    return decision.check(name, parameter)


def _parameter(decision: Decision, value: Value) -> Any:
    if isinstance(decision, Choice) and decision.ordered:
        return decision.options.index(value)
    return value
