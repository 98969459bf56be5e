"""Looks: what proxies say of networks that are not trained, as ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Result, Trial

MIDDLE = 0.5  # the rank of what a proxy did not say anything of


@final
class Looks:
    """Trials of no epochs, and what the proxies named said of them: larger is better, the unit is unknown."""

    def __init__(self, proxies: Sequence[str]) -> None:
        self.proxies = tuple(proxies)
        self._asked: dict[int, Candidate] = {}
        self._said: dict[int, Mapping[str, float]] = {}

    def __len__(self) -> int:
        """How many were asked for."""
        return len(self._asked)

    def __contains__(self, trial: int) -> bool:
        return trial in self._asked

    def asked(self, trial: Trial) -> None:
        """`trial` is a look."""
        self._asked[trial.id] = trial.candidate

    def told(self, result: Result) -> None:
        """A look ended; of one that failed or is infeasible nothing is known."""
        self._said.pop(result.trial_id, None)
        said = {name: result.metrics[name] for name in self.proxies if name in result.metrics}
        said = {name: value for name, value in said.items() if math.isfinite(value)}
        if said and result.outcome is Outcome.COMPLETED:
            self._said[result.trial_id] = said

    def ranked(self) -> list[tuple[Candidate, tuple[float, ...]]]:
        """The candidates of which something is known, the best mean rank first, with the rank by each proxy.

        0 is the worst and 1 the best, equal ones share their mean.
        """
        trials = sorted(self._said)
        columns = [_ranks([self._said[trial].get(name) for trial in trials]) for name in self.proxies]
        found = list(zip((self._asked[trial] for trial in trials), zip(*columns, strict=True), strict=True))
        return sorted(found, key=lambda one: -sum(one[1]))


def _ranks(values: Sequence[float | None]) -> list[float]:
    """The rank of each value among those that are known, from 0 to 1."""
    known = sorted(value for value in values if value is not None)
    places: dict[float, list[int]] = {}
    for place, value in enumerate(known):
        places.setdefault(value, []).append(place)
    most = max(1, len(known) - 1)
    mean = {value: sum(where) / len(where) / most for value, where in places.items()} if len(known) > 1 else {}
    return [MIDDLE if value is None else mean.get(value, MIDDLE) for value in values]
