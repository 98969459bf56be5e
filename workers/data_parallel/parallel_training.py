"""ParallelTraining: one training that several workers share, as plain data; and what the store does for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

from parameter_server import policy
from parameter_server.optimizers import Optimizer
from parameter_server.policy import Async, Bounded, Group, Policy, Sync
from workers.errors import UserError
from workers.recipe import Recipe
from workers.setup import Setup
from workers.sharing_policy import SCALED, optimizer_of
from workers.trial import Json, Trial

Mode: TypeAlias = Literal["async", "sync", "bounded"]
LEASE = 20.0  # seconds; a worker that died is replaced in less, so that its place in a round is kept


@final
@dataclass(frozen=True)
class ParallelTraining:
    """Train the network of `trial`'s candidate for its epochs; every batch counts once.

    `sync`: a step's batch is divided between `workers`, and the mean of their gradients is one step; with `backup` more
    workers the slowest may come too late. `async`: every worker takes whole batches, and every gradient is a step.
    `bounded`: so, too, but no worker is more than `staleness` batches ahead of the slowest.
    """

    setup: Setup
    trial: Trial
    workers: int
    mode: Mode = "async"
    staleness: int = 3
    backup: int = 0
    shards: int = 2

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("staleness", 0), ("backup", 0), ("shards", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}, but must be {least} or more")
        if self.mode not in ("async", "sync", "bounded"):
            raise UserError(f"mode is {self.mode!r}, but must be async, sync or bounded")
        if self.backup and self.mode != "sync":
            raise UserError(f"backup workers are for mode sync, where a step waits for all; {self.mode} waits for none")

    @property
    def slots(self) -> int:
        """How many worker processes there are."""
        return self.workers + self.backup

    @property
    def parts(self) -> int:
        """Into how many batches a step of the recipe is divided."""
        return self.workers if self.mode == "sync" else 1

    @property
    def in_lockstep(self) -> bool:
        """Whether which worker learns which batch is settled, so that the result is, bit for bit."""
        return self.mode == "sync" and not self.backup

    def policy(self, recipe: Recipe) -> Policy:
        """How the store treats gradients; raises `UserError` for a recipe that it cannot follow."""
        modes: Mapping[str, policy.Mode] = {
            "async": Async(),
            "sync": Sync(self.workers, self.backup),
            "bounded": Bounded(self.staleness),
        }
        return Policy((Group(server_optimizer(recipe)),), modes[self.mode], lease=LEASE)

    def json(self) -> dict[str, Json]:
        return {**vars(self), "setup": self.setup.json(), "trial": self.trial.json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> ParallelTraining:
        """The training that `json` gave."""
        setup, trial = Setup.from_json(record["setup"]), Trial.from_json(record["trial"])
        return cls(**{**record, "setup": setup, "trial": trial})


def server_optimizer(recipe: Recipe) -> Optimizer:
    """The store's optimizer for `recipe`, at its first learning rate.

    Workers multiply gradients by the course of the rate, which for SGD is the same thing (with momentum: Sutskever's
    form, whose velocity keeps the rate of its time; torch's has the rate of now), and add weight decay to them.
    Optimizers that divide by the size of gradients undo such a factor, so that they need a constant rate.
    """
    if recipe.optimizer == "adamw":
        raise UserError(
            "a store has no optimizer adamw, which decays weights apart from gradients: take --set optimizer=adam, or "
            "momentum with a learning_rate for it"
        )
    if recipe.optimizer not in SCALED and recipe.schedule != "constant":
        raise UserError(
            f"{recipe.optimizer} undoes the schedule {recipe.schedule}, which workers apply to gradients: take "
            "--set schedule=constant, or --set optimizer=momentum with a learning_rate for it"
        )
    return optimizer_of(recipe)
