"""Lineage: the network of an attempt as it begins, and the state that the attempts before it ended with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Space
from workers.artifacts import Artifacts
from workers.errors import DamagedError, NotFoundError
from workers.seeds import derived
from workers.setup import Setup
from workers.task import State, Task
from workers.trial import Attempt

if TYPE_CHECKING:
    from torch import nn

CHECKPOINT = "checkpoint.safetensors"


@final
@dataclass(frozen=True)
class Lineage:
    """Where the networks of a search come from; whatever of an attempt is gone or damaged is trained again."""

    setup: Setup
    task: Task
    space: Space | None
    artifacts: Artifacts | None

    def network(self, attempt: Attempt, inherits: bool = True) -> nn.Module | None:
        """The network with fresh weights, drawn from the trial's seed, an heir's from its parent's as well.

        None where the task makes its own. Who has the state of a training that began already `inherits` nothing.
        """
        if self.space is None:
            return None
        import torch  # noqa: F401 - so that `settle` seeds it

        trial = attempt.trial
        settle(self.setup.threads, trial.seed)
        network = network_of(self.space, self.task, trial.candidate)
        if trial.heir and inherits and (state := self.state(attempt.parent)) is not None:
            inherit(network, state)
        return network

    def state(self, attempt: Attempt | None) -> State | None:
        """What `attempt` ended with."""
        if attempt is None:
            return None
        try:
            if self.artifacts is not None:
                from workers.checkpoint import load

                content = self.artifacts.get(self.setup.search, attempt.trial.id, attempt.number, CHECKPOINT)
                return load(content)
        except (NotFoundError, DamagedError):
            pass
        return self._trained_again(attempt)

    def _trained_again(self, attempt: Attempt) -> State | None:
        model = self.network(attempt)
        state = None if attempt.trial.heir else self.state(attempt.parent)
        for epoch in self.task.train(model, attempt.trial, state):
            state = epoch.state or state
        return state


def network_of(space: Space, task: Task, candidate: Candidate) -> nn.Module:
    """The network that `task` trains for `candidate`, with fresh weights; a space may build in its own way."""
    if type(space).build is Space.build:
        return task.adapt(space.blueprint(candidate, task.signature), candidate).build()
    network = space.build(candidate, task.signature)
    if (activation := task.adapt(Blueprint("", {}), candidate).activation) != "relu":
        from search_spaces.activations import replace_relu

        replace_relu(network, activation)
    return network


def inherit(network: nn.Module, state: State) -> list[str]:
    """Give `network` the tensors of the model in `state` whose name and shape it has; their names."""
    from workers.checkpoint import weights

    own = network.state_dict()
    found = {name: value for name, value in weights(state).items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(found, strict=False)
    return list(found)


def settle(threads: int, seed: int) -> None:
    """Put back what a child before this one may have changed of torch, if it is there at all."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(derived(seed, "trial"))
