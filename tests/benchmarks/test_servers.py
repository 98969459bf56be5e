"""What is compared with the parameter server does what it says, and the figures are one flat object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from servers.contestant import gradient
from servers.figures import PARTS, spread
from servers.raw_socket import RATE, stepped

ROOT = Path(__file__).resolve().parents[2]


def test_the_bare_socket_takes_the_step_of_torch() -> None:
    given = gradient(1)
    weight = torch.nn.Parameter(torch.from_numpy(gradient(1) * 3))
    front, back = weight.detach().numpy().copy(), np.empty_like(given)
    stepped(front, back, given)
    weight.grad = torch.from_numpy(given)
    torch.optim.SGD([weight], lr=RATE).step()
    np.testing.assert_allclose(back, weight.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_bare_socket_refuses_what_is_not_finite(value: float) -> None:
    given = gradient(1)
    given[len(given) - 1] = value
    with pytest.raises(ValueError, match="not finite"):
        stepped(gradient(1), gradient(1), given)
    large = np.full_like(given, 1e30)  # whose squares overflow
    stepped(gradient(1), gradient(1), large)


def test_a_spread_is_a_median_and_what_most_rounds_lie_between() -> None:
    assert spread("x", list(map(float, range(11)))) == {"x": 5.0, "x_low": 1.0, "x_high": 9.0}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", PARTS)
def test_every_part_runs_alone_and_prints_one_flat_object(part: str) -> None:
    """Who is fastest is not said here: a busy machine would break that."""
    small = ["--rounds", "1", "--count", "2", "--crowds", "1", "--seconds", "1", "--kills", "2"]
    command = [sys.executable, "benchmarks/parameter_server.py", "--json", "--only", part, *small]
    found = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    figures = {name: value for name, value in found.items() if name.startswith(part)}
    assert figures
    assert all(isinstance(value, int | float) for value in figures.values())
    assert found["durability"] == "process"
    for name in ("crowd_same_machine_errors", "crowd_network_errors", "kills_lost", "kills_twice"):
        assert found.get(name, 0) == 0
