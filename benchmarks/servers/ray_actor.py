"""The parameter server of Ray's documentation, and a lean one.

`documented` is the class of https://docs.ray.io/en/latest/ray-core/examples/plot_parameter_server.html with one
parameter for its network, but `apply_gradients` does not give the weights back, since ours does not either. `lean` is
the least an actor can do: one step in place. Neither checks anything, and both lose all when the actor's process dies.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import ray
import torch

from servers.contestant import Array, answering, gradient, serve

RATE = 1e-3


class Network(torch.nn.Module):
    """One parameter, and the two methods of the documentation's network that its server calls."""

    def __init__(self, values: Array) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(values.copy()))

    def set_gradients(self, gradients: list[Any]) -> None:
        for given, parameter in zip(gradients, self.parameters(), strict=True):
            if given is not None:
                parameter.grad = torch.from_numpy(given)


class Documented:
    """An actor that adds gradients up, and lets torch take the step."""

    def __init__(self, rate: float, megabytes: int) -> None:
        self.model = Network(gradient(megabytes))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)

    def apply_gradients(self, *gradients: Any) -> None:
        summed_gradients = [np.stack(gradient_zip).sum(axis=0) for gradient_zip in zip(*gradients, strict=True)]
        self.optimizer.zero_grad()
        self.model.set_gradients(summed_gradients)
        self.optimizer.step()


class Lean:
    """An actor with an array."""

    def __init__(self, rate: float, megabytes: int) -> None:
        self.rate = rate
        self.values = torch.from_numpy(gradient(megabytes))

    def apply_gradients(self, given: Any) -> None:
        self.values.add_(torch.from_numpy(given), alpha=-self.rate)


def main() -> None:
    """Serve `parameter_server.py`."""
    megabytes = int(sys.argv[1])
    values = gradient(megabytes)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with answering() as answers:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        documented = ray.remote(Documented).remote(RATE, megabytes)
        lean = ray.remote(Lean).remote(RATE, megabytes)
        operations = {
            "documented": lambda: ray.get(documented.apply_gradients.remote([values])),
            "lean": lambda: ray.get(lean.apply_gradients.remote(values)),
        }
        serve(operations, megabytes, answers)
        ray.shutdown()


if __name__ == "__main__":
    main()
