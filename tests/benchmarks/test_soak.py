"""The soak: what it calls a slope, and half a minute of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from soak_slopes import slope

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def wandering(seed: int, hours: float = 1.0, rise: float = 0.0) -> tuple[list[float], list[float]]:
    """A sample every 10 s around 100, each a little like the one before, and `rise` an hour."""
    random = np.random.default_rng(seed)
    count, noise, series = int(360 * hours), 0.0, []
    times = [place / 360 for place in range(count)]
    for at in times:
        noise = 0.7 * noise + random.normal()
        series.append(100 + noise + rise * at)
    return times, series


def test_what_grows_is_called_growing_and_what_wanders_is_not() -> None:
    confidence = 1 - 0.05 / 30
    called = [slope(*wandering(seed), confidence).verdict for seed in range(200)]
    assert called.count("none") >= 198
    assert {slope(*wandering(seed, rise=20.0), confidence).verdict for seed in range(50)} == {"grows"}
    assert slope(*wandering(0, rise=-20.0), confidence).verdict == "shrinks"
    assert slope(range(100), [5.0] * 100, confidence).verdict == "none"
    assert slope([at / 360 for at in range(360)], [7.0 + at // 60 for at in range(360)], confidence).verdict == "grows"


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="let the soak run for longer"):
        slope([0.0, 1.0], [1.0, 1.0], 0.95)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_half_a_minute_of_it_sees_everything_and_leaves_nothing() -> None:
    command = [sys.executable, str(SOAK), "--minutes", "0.5", "--every", "0.2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["trials"] > 0
    roles = {one["role"] for one in found["series"]}
    assert {"driver", "worker", "shard", "supervisor"} <= roles
    assert "orphan" not in roles
    counts = {one["role"]: one["mean"] for one in found["series"] if one["measure"] == "processes"}
    assert counts["driver"] == 1
    assert counts["worker"] == pytest.approx(2, abs=0.5)
