"""What TensorBoard reads of a search that is watched, stopped, killed and gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from histories import Invented
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from watched import POOL, fed, watched

from nas.history import Entry, History
from nas.watchers import tensorboard
from nas.watchers.tensorboard import Tensorboard
from workers.errors import UserError

ENTRIES = list(Invented(trials=60).entries())
Points = list[tuple[int, float]]


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the search at every turn."""
    monkeypatch.setattr(tensorboard, "INTERVAL", 0.0)
    monkeypatch.setattr(tensorboard, "COST", float("inf"))


def read(folder: Path) -> dict[str, Points]:
    """The scalars of a run, as TensorBoard's own reader sees them."""
    run = EventAccumulator(str(folder))
    run.Reload()
    return {tag: [(one.step, one.value) for one in run.Scalars(tag)] for tag in run.Tags()["scalars"]}


def course(entries: list[Entry], arm: str) -> Points:
    """The best accuracy so far of an arm, over the trials told: by the entries alone."""
    arms: dict[int | None, str] = {}
    found: Points = []
    told = 0
    for entry in entries:
        if entry.kind == "ask":
            arms[entry.trial] = entry.body.get("note", {}).get("arm", "strategy")
        if entry.kind == "tell" and arms[entry.trial] in ("strategy", "baseline"):
            told += 1
            value = entry.body["metrics"].get("accuracy")
            if arms[entry.trial] == arm and value is not None and value > (found[-1][1] if found else 0.0):
                found.append((told, value))
    return [(step, float(np.float32(value))) for step, value in found]  # as precise as event files are


def batches(size: int, entries: list[Entry] = ENTRIES) -> Iterator[list[Entry]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 500])
def test_an_arm_is_a_run_with_its_best_over_the_trials_told(tmp_path: Path, size: int) -> None:
    watcher, history = Tensorboard(watched(tmp_path), folder="runs"), History()
    for some in batches(size):
        watcher.turn(fed(history, some), POOL)
    watcher.close()
    for arm in ("strategy", "baseline"):
        assert read(tmp_path / "runs" / "cells-7" / arm) == {"best/accuracy": course(ENTRIES, arm)}
    search = read(tmp_path / "runs" / "cells-7" / "search")
    assert search["trials/completed"][-1] == (60, 56)
    assert search["trials/failed"][-1] == (60, 4)
    assert search["slots/free"][-1] == (60, 2)
    assert not (tmp_path / "runs" / "cells-7" / "test").exists()


def test_what_is_shown_is_on_disk_after_each_turn(tmp_path: Path) -> None:
    watcher, history = Tensorboard(watched(tmp_path)), History()
    some = ENTRIES[:31]
    watcher.turn(fed(history, some), POOL)
    shown = read(tmp_path / "cells-7" / "tensorboard" / "strategy")
    watcher.close()
    assert [step for step, _ in shown["best/accuracy"]] == [step for step, _ in course(some, "strategy")]


def test_a_second_driver_goes_on_where_the_journal_is_not_where_the_files_are(tmp_path: Path) -> None:
    killed, history = Tensorboard(watched(tmp_path)), History()
    killed.turn(fed(history, ENTRIES[:40]), POOL)
    fed(history, ENTRIES[40:91])  # committed, and never written to a file: the driver was killed
    following = Tensorboard(watched(tmp_path))
    following.turn(history, POOL)
    for some in batches(5, ENTRIES[91:]):
        following.turn(fed(history, some), POOL)
    following.end(history, "finished", "")
    following.close()
    killed.close()
    shown = read(tmp_path / "cells-7" / "tensorboard" / "strategy")["best/accuracy"]
    assert shown == course(ENTRIES, "strategy")
    counts = read(tmp_path / "cells-7" / "tensorboard" / "search")["trials/completed"]
    assert [step for step, _ in counts] == sorted({step for step, _ in counts})
    assert counts[-1] == (60, 56)


def test_a_long_search_that_is_gone_on_with_has_no_more_points_than_are_shown(tmp_path: Path) -> None:
    watcher = Tensorboard(watched(tmp_path))
    watcher.turn(Invented(trials=3000, tested=False).history(), POOL)
    watcher.close()
    folder = tmp_path / "cells-7" / "tensorboard" / "search"
    assert tensorboard.EARLIER <= len(read(folder)["trials/completed"]) <= 1000
    assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UserError, match=r"tensorboard cannot write to .*runs"):
        Tensorboard(watched(tmp_path), folder="runs")
