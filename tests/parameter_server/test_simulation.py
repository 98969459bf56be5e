"""Thousands of schedules of loss, delay, repetition, reordering, freezing and death; the shard is the real one."""

from __future__ import annotations

import pytest
from simulation import simulate

from parameter_server.policy import Async, Bounded, Mode, Sync

MODES: dict[str, Mode] = {
    "async": Async(),
    "sync": Sync(4),
    "backup": Sync(3, backup=1),
    "block": Bounded(2),
    "reject": Bounded(2, "reject"),
}


@pytest.mark.parametrize("name", MODES)
def test_every_short_schedule_keeps_the_promises(name: str) -> None:
    for seed in range(40):
        simulate(seed, MODES[name])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MODES)
def test_two_thousand_schedules_keep_the_promises(name: str) -> None:
    for seed in range(100, 2100):
        simulate(seed, MODES[name])
