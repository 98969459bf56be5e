"""Target: good enough is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from nas.ranking import gains
from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial


@final
class Target(Wrapper):
    """Stops asking when a full trial is as good as `target` by the first objective; what runs then finishes.

    None is no target.
    """

    def __init__(self, inner: Strategy, target: float | None) -> None:
        super().__init__(inner)
        self.target = target
        self._full: set[int] = set()
        self._best: tuple[float, int] | None = None  # a gain, and the trial that first had it

    @property
    def reached(self) -> str:
        """Which trial is good enough, in words; empty while none is."""
        objective = self.setting.objectives[0]
        if self.target is None or self._best is None or self._best[0] < objective.gain(self.target):
            return ""
        gain, trial = self._best
        return f"trial {trial} reached the target: {objective.metric} {objective.gain(gain):.6g}, asked {self.target:g}"

    @property
    def exhausted(self) -> bool:
        return bool(self.reached) or self.inner.exhausted

    @property
    def reason(self) -> str:
        return self.reached or super().reason

    def propose(self, draw: Draw) -> Trial | None:
        return None if self.reached else self.inner.propose(draw)

    def asked(self, trial: Trial) -> None:
        if trial.full:
            self._full.add(trial.id)
        super().asked(trial)

    def told(self, result: Result) -> None:
        if result.trial_id in self._full and result.outcome is Outcome.COMPLETED:
            found = gains(result.metrics, self.setting.objectives[:1])
            if found is not None and (self._best is None or found[0] > self._best[0]):
                self._best = found[0], result.trial_id
        self._full.discard(result.trial_id)
        super().told(result)

    def enqueue(self, candidate: Mapping[str, Json]) -> None:
        if reached := self.reached:
            raise UserError(f"{reached}, so nothing more is tried: resume the search with a higher target first")
        super().enqueue(candidate)

    def extend(self, body: Mapping[str, Json]) -> None:
        super().extend(body)
        self.target = body.get("budget", {}).get("target", self.target)
