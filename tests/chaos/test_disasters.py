"""What `benchmarks/chaos.py` does for hours, for half a minute: nothing is lost, and nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chaos import run
from postgres_server import BINARIES, MISSING

Require = Callable[[str, bool, str], None]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_under_which_workers_drivers_and_its_server_break(require: Require) -> None:
    require("postgres", bool(BINARIES), MISSING)
    figures = run("server", seconds=300, most=8, seed=7, calm=0.5)
    assert len(figures["recovered"]) == 8  # type: ignore[arg-type]
    assert (figures["lost"], figures["twice"]) == (0, 0)
    assert int(str(figures["results"])) > 8
