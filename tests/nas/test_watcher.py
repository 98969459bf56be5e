"""Watchers are told of every turn and of the end, and none of them can harm the search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from nas.history import History
from nas.timing import BOUNDS, Spans
from nas.watcher import Watched, Watcher, Watchers
from workers.pool import Pool


@dataclass
class Recorder(Watcher):
    """Keeps what it is told; fails at the call that `fails` names."""

    watched: Watched | None = None
    fails: str = ""
    told: list[str] = field(default_factory=list)

    def turn(self, history: History, pool: Pool) -> None:
        self._take("turn")

    def end(self, history: History, state: str, reason: str) -> None:
        self._take(state)

    def close(self) -> None:
        self._take("close")

    def _take(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails:
            raise OSError("the port is gone")


@pytest.mark.parametrize("fails", ["turn", "finished", "close"])
def test_a_watcher_that_fails_is_left_out_and_named(fails: str) -> None:
    sound, broken, notes = Recorder(), Recorder(fails=fails), list[str]()
    pool: Any = None
    with Watchers([broken, sound], notes.append) as watchers:
        for _ in range(3):
            watchers.turn(History(), pool)
        watchers.end(History(), "finished", "")
    assert sound.told == ["turn", "turn", "turn", "finished", "close"]
    assert broken.told.count("turn") == (1 if fails == "turn" else 3)
    assert set(broken.told[broken.told.index(fails) + 1 :]) <= {"close"}
    (note,) = notes
    assert note.startswith("Recorder watches no longer: ")
    assert "the port is gone" in note


def test_spans_are_counted_by_the_bound_that_was_enough() -> None:
    spans = Spans()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] * 2):
        spans.add(seconds)
    assert [place for place, count in enumerate(spans.counts) if count] == [0, 1, len(BOUNDS) - 1, len(BOUNDS)]
    assert spans.counts[0] == 2
    assert spans.total == pytest.approx(BOUNDS[0] * 2.01 + BOUNDS[-1] * 3)
    with spans.measured():
        pass
    assert sum(spans.counts) == 6
