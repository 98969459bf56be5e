"""Ledger: the trials of one study, as Optuna's samplers read them, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from copy import deepcopy as copied
from datetime import datetime
from typing import TYPE_CHECKING, Any, final

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study._frozen import FrozenStudy

EPOCH = datetime(1970, 1, 1)  # no sampler reads the time, and equal histories are to be equal
STUDY = 0


@final
class Ledger(BaseStorage):
    """A storage of one study in which the trial that Optuna asks for is a draft, until `withdraw` takes it out again.

    Optuna's own storage in memory copies every trial that is added, and cannot forget one. A trial's id is its
    number, and all values are minimised. `most` bounds how many finished trials are shown: half of them the newest,
    half the best of the others.
    """

    def __init__(self, objectives: int, most: int | None = None) -> None:
        self.directions = [StudyDirection.MINIMIZE] * objectives
        self.most = most
        self.trials: list[FrozenTrial] = []
        self.given: Mapping[str, Any] = {}  # attributes that the next draft begins with
        self._attributes: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}
        self._constraints: dict[str, float] = {}  # that every finished trial has, as it has them if nothing is known
        self._chosen: tuple[int, list[FrozenTrial]] | None = None  # a cache, until a trial ends
        self._ended = 0
        self._completed = 0
        self._counts: Counter[str] = Counter()  # of completed trials with a parameter

    def add(
        self,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        attributes: dict[str, Any],
    ) -> int:
        """A trial that runs; its number."""
        number = len(self.trials)
        self.trials.append(
            FrozenTrial(
                number, TrialState.RUNNING, None, EPOCH, None, params, distributions, {}, attributes, {}, number
            )
        )
        return number

    def end(self, number: int, values: Sequence[float] | None, constraints: Mapping[str, float]) -> None:
        """The trial completed with `values`, or failed where they are None.

        All completed trials have the same constraints, because the Gaussian process needs that: one that comes up
        late holds in all that came before.
        """
        trial = self.trials[number]
        self._count(trial, -1)
        trial.values = None if values is None else list(values)
        trial.state = TrialState.FAIL if values is None else TrialState.COMPLETE
        trial.datetime_complete = EPOCH
        self._count(trial, 1)
        self._ended += 1
        for key in constraints:
            if key not in self._constraints:
                self._constraints[key] = -1.0
                for other in self.trials:
                    if other.state == TrialState.COMPLETE and other is not trial:
                        other.set_constraint(key, -1.0)
        attributes = {key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints:")}
        trial.system_attrs = attributes
        if values is not None:
            for key, usual in self._constraints.items():
                trial.set_constraint(key, constraints.get(key, usual))

    def shared(self) -> list[str]:
        """The parameters that every completed trial has, by name."""
        return sorted(name for name, count in self._counts.items() if count == self._completed)

    def _count(self, trial: FrozenTrial, by: int) -> None:
        if trial.state == TrialState.COMPLETE:
            self._completed += by
            for name in trial.params:
                self._counts[name] += by

    def attribute(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the study for good."""
        self._attributes.update(attributes)

    def withdraw(self) -> tuple[FrozenTrial, dict[str, Any]]:
        """Take the draft out again, with what it changed of the study's attributes."""
        changed, self._changed = self._changed, {}
        return self.trials.pop(), changed

    def suppose(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the study until the next draft is withdrawn."""
        self._changed.update(attributes)

    def _shown(self) -> list[FrozenTrial]:
        """The trials that samplers see, in their order."""
        if self.most is None or self._ended <= self.most:
            return self.trials
        if self._chosen is None or self._chosen[0] != self._ended:
            finished = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
            recent = finished[len(finished) - self.most // 2 :]
            others = finished[: len(finished) - len(recent)]
            best = sorted(zip(self._ranks(others), others, strict=True), key=lambda pair: pair[0])
            chosen = [trial for _, trial in best[: self.most - len(recent)]] + recent
            self._chosen = (self._ended, chosen)
        running = [trial for trial in self.trials if trial.state == TrialState.RUNNING]
        return sorted([*self._chosen[1], *running], key=lambda trial: trial.number)

    def _ranks(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """The places of trials by each objective, added up: no scale counts for more than another."""
        ranks = [0] * len(trials)
        for values in zip(*(trial.values for trial in trials), strict=True):
            for rank, i in enumerate(sorted(range(len(trials)), key=values.__getitem__)):
                ranks[i] += rank
        return ranks

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return STUDY

    def delete_study(self, study_id: int) -> None:
        raise NotImplementedError

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        raise NotImplementedError

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._changed[key] = value

    def get_study_id_from_name(self, study_name: str) -> int:
        return STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        return "study"

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._attributes | self._changed

    def get_all_studies(self) -> list[FrozenStudy]:
        raise NotImplementedError

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self.add({}, {}, dict(self.given))

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        trial = self.trials[trial_id]
        trial.params = {**trial.params, param_name: distribution.to_external_repr(param_value_internal)}
        trial.distributions = {**trial.distributions, param_name: distribution}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        raise NotImplementedError

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        raise NotImplementedError

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        raise NotImplementedError

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self.trials[trial_id]
        trial.system_attrs = {**trial.system_attrs, key: value}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial = self.trials[trial_id]
        return FrozenTrial(
            trial.number, trial.state, None, EPOCH, None, dict(trial.params), dict(trial.distributions), {},
            trial.system_attrs, {}, trial_id, values=trial.values,
        )  # fmt: skip

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        return self.trials[trial_id].system_attrs

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            return []  # nothing waits here, and Optuna looks before each ask
        shown = self._shown()
        found = list(shown) if states is None else [trial for trial in shown if trial.state in states]
        return copied(found) if deepcopy else found
