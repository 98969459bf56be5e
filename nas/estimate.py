"""Estimate: what a search will cost, from its job alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import median
from typing import TYPE_CHECKING, final

from search_spaces.space import Description
from workers.errors import UserError
from workers.trial import Json

if TYPE_CHECKING:
    from nas.plan import Plan

COPIES = 4  # of the weights while training: themselves, gradients, and up to two moments of the optimizer
BACKWARD = 3  # a backward pass costs about twice a forward pass


@final
@dataclass(frozen=True)
class Spread:
    """The smallest, the middle and the largest of a sample."""

    smallest: float
    median: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of these values, of which there is at least one."""
        return cls(min(values), median(values), max(values))


@final
@dataclass(frozen=True)
class Estimate:
    """`size` candidates in the space (inf: uncountable); a random sample described; what the budget comes to.

    `memory` is the peak in bytes of training one child in 32 bits; `trainings` and `epochs` include the final
    retraining and are None where only time limits the search; `multiply_adds_in_all` is the arithmetic of all
    training at the sample's median, None where that or the number of examples is not known.
    """

    decisions: int
    size: float
    sample: int
    parameters: Spread | None
    multiply_adds: Spread | None
    memory: Spread | None
    trainings: int | None
    epochs: int | None
    examples: int | None
    multiply_adds_in_all: float | None
    feasible: float

    def json(self) -> dict[str, Json]:
        record = asdict(self)
        return {**record, "size": None if self.size == float("inf") else self.size}


def estimate(plan: Plan, sample: int = 16) -> Estimate:
    """Describe `sample` random candidates of the plan, and count what its budget allows."""
    generator = Random(f"estimate/{plan.job.seed}")
    candidates = [plan.decisions.sample(generator) for _ in range(sample)]
    described: list[Description] = []
    if plan.space is not None:
        described = [plan.space.describe(candidate, plan.task.signature) for candidate in candidates]
    ceilings = {metric: plan.setup.ceilings.get(metric, float("inf")) for metric in ("parameters", "multiply_adds")}
    feasible = [all(getattr(one, metric) <= most for metric, most in ceilings.items()) for one in described]
    if described and not any(feasible):
        rules = " and ".join(
            f"{metric} at most {most:,.0f}" for metric, most in ceilings.items() if most < float("inf")
        )
        smallest = min(described, key=lambda one: one.parameters)
        raise UserError(
            f"none of {sample} random candidates keeps the constraints ({rules}); the smallest has "
            f"{smallest.parameters:,} parameters and {smallest.multiply_adds:,} multiply-adds: allow more, or make the "
            "space smaller"
        )
    trainings, epochs = _trainings(plan)
    images = getattr(plan.task, "examples", None)
    examples = images * epochs if isinstance(images, int) and epochs is not None else None
    cost = Spread.of([one.multiply_adds for one in described]) if described else None
    return Estimate(
        decisions=len(plan.decisions),
        size=plan.decisions.size(),
        sample=len(described),
        parameters=Spread.of([one.parameters for one in described]) if described else None,
        multiply_adds=cost,
        memory=Spread.of([_memory(one, _batch(plan)) for one in described]) if described else None,
        trainings=trainings,
        epochs=epochs,
        examples=examples,
        multiply_adds_in_all=cost.median * BACKWARD * examples if cost and examples is not None else None,
        feasible=sum(feasible) / len(feasible) if feasible else 1.0,
    )


def _trainings(plan: Plan) -> tuple[int | None, int | None]:
    """How many trainings and epochs the budget allows, the final retraining included."""
    budget, finale, each = plan.job.budget, plan.finale, plan.task.epochs
    limits = []
    if budget.trials is not None:
        limits.append(budget.trials)
    if budget.epochs is not None:
        limits.append(-(-budget.epochs // max(1, each)))
    if not limits:
        return None, None
    searched, final = min(limits), finale.top * finale.seeds
    return searched + final, searched * each + final * finale.epochs


def _batch(plan: Plan) -> int:
    """The batch size of the recipe, its largest where that is searched."""
    size = getattr(plan.task, "batch_size", 128)
    if "batch_size" in plan.decisions:
        return int(max(float(point) for point in plan.decisions["batch_size"].points))
    return size if isinstance(size, int) else 128


def _memory(described: Description, batch: int) -> int:
    return 4 * COPIES * described.parameters + batch * described.activation_bytes
