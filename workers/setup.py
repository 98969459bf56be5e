"""Setup: what all attempts of a search share; a worker is told it once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import final

from workers.errors import UserError
from workers.plugins import Spec
from workers.sharing import Sharing
from workers.size import parsed
from workers.trial import Json, Trial


@final
@dataclass(frozen=True)
class Setup:
    """What all attempts of a search share; plain JSON, sent to each worker once.

    `artifacts` is a folder or an fsspec URL, `threads` how many a worker may use, `time_limit` the seconds an attempt
    of `epochs` epochs may take (`limit` says what a longer one gets), `measure` the further metrics that objectives
    and constraints ask for (`latency`), `ceilings` the largest feasible value of a metric (of `seconds`: in so many
    epochs), `folder` where the user's own modules are found, `objectives` the metrics without which no training counts,
    `sharing` how children that share weights do it, `release` the code that workers elsewhere must run as well,
    `memory` the bytes that a worker may hold.
    """

    search: str
    task: Spec
    space: Spec | None = None
    artifacts: str = ""
    threads: int = 1
    time_limit: float | None = None
    measure: tuple[str, ...] = ()
    ceilings: Mapping[str, float] = field(default_factory=dict)
    folder: str = ""
    epochs: int = 0
    objectives: tuple[str, ...] = ()
    sharing: Sharing | None = None
    release: str = ""
    memory: int | None = None

    def given(self, threads: float | None, memory: int | str | None) -> Setup:
        """With the share of a machine that a pool gives each worker: threads, and bytes, or text such as `2 GB`."""
        found = replace(self, threads=self.threads if threads is None else max(1, int(threads)))
        try:
            size = parsed(memory) if isinstance(memory, str) else memory
        except ValueError as error:
            raise UserError(f"memory {error}") from None
        if size is not None and size <= 0:
            raise UserError(f"memory is {size}, but must be a number of bytes, such as 2 GB")
        return found if size is None else replace(found, memory=size)

    def limit(self, trial: Trial) -> float | None:
        """The seconds that an attempt at `trial` may take: in proportion where it is longer than the search's own."""
        return None if self.time_limit is None else self.time_limit * self._stretch(trial)

    def ceiling(self, metric: str, trial: Trial) -> float:
        """The largest feasible value of `metric`; in proportion, too, where that is `seconds`."""
        return self.ceilings[metric] * (self._stretch(trial) if metric == "seconds" else 1.0)

    def _stretch(self, trial: Trial) -> float:
        return max(1.0, trial.epochs / self.epochs) if self.epochs else 1.0

    def json(self) -> dict[str, Json]:
        return {
            **vars(self),
            "task": self.task.json(),
            "space": self.space and self.space.json(),
            "measure": list(self.measure),
            "objectives": list(self.objectives),
            "ceilings": dict(self.ceilings),
            "sharing": self.sharing and vars(self.sharing),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> Setup:
        """The setup that `json` gave."""
        space, sharing = record["space"], record["sharing"]
        return cls(
            **{
                **record,
                "task": Spec.from_json(record["task"]),
                "space": Spec.from_json(space) if space else None,
                "measure": tuple(record["measure"]),
                "objectives": tuple(record["objectives"]),
                "sharing": Sharing(**sharing) if sharing else None,
            }
        )
