"""Trial, Attempt, Result: what a worker is given, and what it answers. Plain JSON in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, final

from search_spaces.decisions import Candidate
from workers.objectives import Outcome

Json: TypeAlias = Any  # null, bool, int, float, str, list or dict of these
Split: TypeAlias = Literal["validation", "test"]


@final
@dataclass(frozen=True, slots=True)
class Trial:
    """Train `candidate` for `epochs` of a schedule that is `horizon` long, from scratch or from `parent`'s checkpoint.

    `epochs=0` only evaluates; without a parent it is a proxy: what can be said of a network that was never trained.
    `split` is what the metrics are measured on; only the final stage asks for the test set. With `shared` the child is
    a part of the search's supernet: it trains the shared weights for `epochs`, and is scored with them. An `heir` is
    trained from scratch, too, but for the tensors of its network that `parent`'s has under the same name and of the
    same shape: they begin as that trial left them. Its candidate is another one, grown from the parent's.
    `note` is private JSON of the strategy; workers do not read it. Equal `seed` and candidate mean equal training.
    """

    id: int
    candidate: Candidate
    epochs: int = 1
    horizon: int = 1
    parent: int | None = None
    note: Mapping[str, Json] = field(default_factory=dict)
    seed: int = 0
    split: Split = "validation"
    shared: bool = False
    heir: bool = False

    @property
    def full(self) -> bool:
        """Whether this trains to the end of its schedule: neither a rung nor a proxy."""
        return self.epochs >= self.horizon

    @property
    def look(self) -> bool:
        """Whether neither this nor a parent trains anything."""
        return self.epochs == 0 and self.parent is None

    @property
    def proxy(self) -> bool:
        """Whether nothing is trained, and nothing was, not even weights that are shared."""
        return self.look and not self.shared

    def json(self) -> dict[str, Json]:
        """Everything that is not at its default, for the journal and for a worker."""
        record: dict[str, Json] = {"id": self.id, "candidate": self.candidate.json()}
        record |= {"epochs": self.epochs, "horizon": self.horizon, "seed": self.seed}
        if self.parent is not None:
            record["parent"] = self.parent
        if self.note:
            record["note"] = dict(self.note)
        if self.split != "validation":
            record["split"] = self.split
        if self.shared:
            record["shared"] = True
        if self.heir:
            record["heir"] = True
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> Trial:
        """The trial that `json` gave."""
        return cls(**{**record, "candidate": Candidate(record["candidate"])})


@final
@dataclass(frozen=True, slots=True)
class Attempt:
    """One issue of a trial to a worker, numbered from 1; checkpoints and pushes carry the number.

    `parent` is the attempt of the parent trial that finished: where its checkpoint is, and how to train it again
    should that have vanished.
    """

    trial: Trial
    number: int = 1
    parent: Attempt | None = None

    def json(self) -> dict[str, Json]:
        record = {"trial": self.trial.json(), "number": self.number}
        return record if self.parent is None else {**record, "parent": self.parent.json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> Attempt:
        """The attempt that `json` gave."""
        parent = record.get("parent")
        return cls(Trial.from_json(record["trial"]), record["number"], parent and cls.from_json(parent))


@final
@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt ended. `seconds` are wall time on the worker, `device_seconds` those a device was held.

    `checkpoint` is the artifact's name, None where nothing was saved; `error` is one line for people; `device` is what
    it ran on, as people call it, where that is known.
    """

    trial_id: int
    attempt: int
    outcome: Outcome
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    device_seconds: float = 0.0
    peak_bytes: int = 0
    error: str | None = None
    checkpoint: str | None = None
    device: str = ""

    def json(self) -> dict[str, Json]:
        record: dict[str, Json] = {
            "trial_id": self.trial_id,
            "attempt": self.attempt,
            "outcome": str(self.outcome),
            "metrics": dict(self.metrics),
            "epochs": self.epochs,
            "seconds": self.seconds,
            "device_seconds": self.device_seconds,
            "peak_bytes": self.peak_bytes,
        }
        if self.error is not None:
            record["error"] = self.error
        if self.checkpoint is not None:
            record["checkpoint"] = self.checkpoint
        if self.device:
            record["device"] = self.device
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> Result:
        """The result that `json` gave."""
        return cls(**{**record, "outcome": Outcome(record["outcome"])})
