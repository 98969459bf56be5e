"""Forecast: what a job comes to before anything trains: its space, a sample network, the cost of the search."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from nas import machine
from nas.estimate import BACKWARD
from search_spaces.decision import DecisionError
from search_spaces.space import UnfitError
from workers.errors import UserError, in_words
from workers.trial import Json

if TYPE_CHECKING:
    from nas.estimate import Estimate
    from nas.plan import Plan
    from search_spaces.decisions import Candidate
    from search_spaces.space import Description

SAMPLES = 16
ARITHMETIC = 2e10  # multiply-adds that timing one step may take: seconds on one core
BATCH = 32


def forecast(plan: Plan) -> dict[str, Json]:
    """The estimate of the plan; for a space also a sample network, built without memory, and the time of the search.

    UserError where a space of the user's own raises anything while it builds.
    """
    try:
        return _forecast(plan)
    except (UserError, DecisionError, UnfitError):
        raise
    except Exception as error:
        if plan.job.space is None or ":" not in plan.job.space.name:
            raise
        names = f"space {plan.job.space.name} builds no network for the task {plan.job.task.name}"
        raise UserError(f"{names}: {in_words(error)}") from error


def _forecast(plan: Plan) -> dict[str, Json]:
    expected = plan.estimate(SAMPLES)
    record: dict[str, Json] = {
        "name": plan.job.name,
        "task": plan.job.task.name,
        "space": plan.job.space.name if plan.job.space else None,
        "strategy": plan.job.strategy.name,
        "objectives": [{"metric": one.metric, "direction": str(one.direction)} for one in plan.objectives],
        **expected.json(),
        "slots": slots(plan),
    }
    if plan.space is None:
        return record
    candidate, described = typical(plan)
    record["example"] = example(plan, candidate, described)
    return record | cost(plan, candidate, described, expected)


def slots(plan: Plan) -> int:
    """How many trials run at once: what the job says, else one per core of this machine."""
    said = plan.job.pool.options.get("slots")
    return said if isinstance(said, int) and said > 0 else machine.cores()


def typical(plan: Plan) -> tuple[Candidate, Description]:
    """Of a few random candidates the one with the middle number of multiply-adds."""
    assert plan.space is not None
    generator = Random(f"forecast/{plan.job.seed}")
    candidates = [plan.decisions.sample(generator) for _ in range(SAMPLES)]
    described = [(candidate, plan.space.describe(candidate, plan.task.signature)) for candidate in candidates]
    described.sort(key=lambda pair: pair[1].multiply_adds)
    return described[len(described) // 2]


def example(plan: Plan, candidate: Candidate, described: Description) -> dict[str, Json]:
    """A candidate built on torch's `meta` device: the shape behind each of its parts, and all counts.

    UserError where what is built has another number of parameters than its description, or another output shape
    than the task needs.
    """
    import torch

    from search_spaces.inputs import blank

    signature = plan.task.signature
    with torch.device("meta"):
        network = plan.build(candidate).eval()
        inputs = blank(signature, 2)
    parts: list[Json] = []
    for name, part in _parts(network):
        part.register_forward_hook(_noting(parts, name, type(part).__name__, _trainable(part)))
    with torch.no_grad():
        output = network(*inputs)
    parameters = _trainable(network)
    if parameters != described.parameters and not getattr(network, "auxiliary", None):
        raise UserError(
            f"the space {plan.job.space and plan.job.space.name} describes {described.parameters:,} parameters, but "
            f"builds {parameters:,}: `describe` and `build` must agree; mend the space"
        )
    found = output if isinstance(output, tuple) else (output,)
    for (name, shape), one in zip(signature.outputs.items(), found, strict=False):  # a state may follow
        if isinstance(one, torch.Tensor) and tuple(one.shape[1:]) != tuple(shape):
            raise UserError(f"the network gives {tuple(one.shape[1:])}, but the task needs {name} of {tuple(shape)}")
    return {
        "candidate": candidate.json(),
        "parameters": parameters,
        "multiply_adds": described.multiply_adds,
        "activation_bytes": described.activation_bytes,
        "inputs": {name: list(shape) for name, shape in signature.inputs.items()},
        "outputs": {name: list(shape) for name, shape in signature.outputs.items()},
        "parts": parts,
    }


def cost(plan: Plan, candidate: Candidate, described: Description, expected: Estimate) -> dict[str, Json]:
    """Multiply-adds per second in one slot, timed on noise, and the seconds that the search takes at that pace."""
    speed = pace(plan, candidate, described)
    total = expected.multiply_adds_in_all
    seconds = total / speed / slots(plan) if total is not None and speed is not None else None
    limit = plan.job.budget.seconds
    if limit is not None:
        seconds = limit if seconds is None else min(limit, seconds)
    return {"multiply_adds_per_second": speed, "seconds": seconds}


def pace(plan: Plan, candidate: Candidate, described: Description) -> float | None:
    """How fast this machine steps the network forwards and backwards in one slot; None where a step is too large."""
    import torch

    from search_spaces.inputs import blank

    each = BACKWARD * described.multiply_adds
    batch = min(BATCH, int(ARITHMETIC // max(1, each)))
    if batch < 2:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, plan.setup.threads))
    try:
        network = plan.build(candidate).train()
        inputs = blank(plan.task.signature, batch)
        took = min(_step(network, inputs) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    return each * batch / took


def _step(network: Any, inputs: tuple[Any, ...]) -> float:
    started = time.perf_counter()
    output = network(*inputs)
    (output[0] if isinstance(output, tuple) else output).sum().backward()
    return time.perf_counter() - started


def _parts(network: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The network's children by name, those in a list of modules (which is never called itself) one by one."""
    from torch import nn

    for name, part in network.named_children():
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            yield from _parts(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _trainable(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _noting(parts: list[Json], name: str, kind: str, parameters: int) -> Any:
    def note(module: Any, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) else output
        shape = list(first.shape[1:]) if hasattr(first, "shape") else None
        parts.append({"part": name, "kind": kind, "shape": shape, "parameters": parameters})

    return note
