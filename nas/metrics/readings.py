"""Readings: the values of every metric of a driver, looked up when somebody scrapes it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Condition
from typing import Final, TypeAlias, final

from nas.history import History
from nas.home import SERVERS, home
from nas.metrics.catalogue import STATES, STORES, TOLD
from nas.metrics.counts import Counts
from nas.timing import Spans
from nas.versions import versions
from nas.watcher import Watched
from workers.pool import Pool
from workers.trial import Json

PATIENCE: Final = 2.0  # seconds that a scrape waits for the driver, which turns twice a second unless it thinks
Value: TypeAlias = float | Spans
Series: TypeAlias = list[tuple[tuple[str, ...], Value]]  # label values, and the value
Values: TypeAlias = Mapping[str, Series]  # by metric


@final
class Readings:
    """What a search comes to in numbers, read by its driver's own thread, between two turns, when somebody asks.

    So nothing is read while it changes, and a turn that nobody asks in costs one look at a flag. Who asks a driver that
    thinks for longer than `PATIENCE` is shown what was known last.
    """

    def __init__(self, watched: Watched) -> None:
        self.search = watched.search
        self._watched = watched
        self._counts = Counts(watched.objectives)
        self._changed = Condition()
        self._wanted = True
        self._read = 0
        self._over = False
        self._state = "running"
        self._driver = (0.0, 0.0)
        self._slots = (0, 0)
        self._told: dict[str, float] = {}
        self._places = places(watched)
        self.stores: Mapping[str, int] = {}

    def turn(self, history: History, pool: Pool) -> None:
        """Look, if somebody asked."""
        if self._wanted:
            self.look(history, pool, "stopping" if history.stopping else "running")

    def look(self, history: History, pool: Pool | None, state: str) -> None:
        """Read what the driver's thread alone may read; without a pool for the last time, with slots as they were."""
        told = self._watched.strategy.gauges()
        with self._changed:
            self._wanted, self._over = False, pool is None
            self._counts.update(history)
            self._state, self._told = state, dict(told)
            if history.drivers:
                here = history.drivers[-1]
                self._driver = float(here.body.get("epoch", len(history.drivers))), here.time
            if pool is not None:
                self._slots = pool.busy, max(0, pool.free)
            self._read += 1
            self._changed.notify_all()

    def values(self) -> Values:
        """Every metric with all its series, as the driver sees them now."""
        with self._changed:
            before, self._wanted = self._read, True
            self._changed.wait_for(lambda: self._over or self._read > before, PATIENCE)
            read = {**self._of_trials(), **self._of_the_driver(), **self._of_the_strategy()}
        return {**read, **self._of_the_disks()}  # which may hang: the driver does not wait for them

    def _of_trials(self) -> Values:
        counts, goals = self._counts, [objective.metric for objective in self._watched.objectives]
        return {
            "trials_total": [(labels, float(count)) for labels, count in counts.ended.items()],
            "trials_running": one(counts.running),
            "trials_waiting": one(counts.waiting),
            "trial_duration_seconds": one(counts.durations),
            "trial_queue_seconds": one(counts.waits),
            "retries_total": [((cause,), float(count)) for cause, count in counts.retries.items()],
            "trained_epochs_total": one(counts.epochs),
            "device_seconds_total": one(counts.device_seconds),
            "best_objective": [((goal,), counts.best.get(goal, math.nan)) for goal in goals],
            "baseline_objective": [((goal,), counts.baseline.get(goal, math.nan)) for goal in goals],
            "last_improvement_timestamp_seconds": one(counts.improved_at),
            "last_finished_timestamp_seconds": one(counts.finished_at),
        }

    def _of_the_driver(self) -> Values:
        timing, job, known = self._watched.timing, self._watched.job, versions()
        busy, idle = self._slots
        named = tuple(name_of(job.get(key)) for key in ("task", "space", "strategy", "pool"))
        build = (known.get("cellwright", ""), known["python"], known.get("torch", ""), known.get("ray", ""))
        return {
            "ask_seconds": one(timing.ask),
            "tell_seconds": one(timing.tell),
            "journal_commit_seconds": one(timing.commit),
            "slots": [(("busy",), float(busy)), (("idle",), float(idle))],
            "store_shards": [((store,), float(self.stores.get(store, 0))) for store in STORES],
            "search_state": [((state,), float(state == self._state)) for state in STATES],
            "search_info": [(named, 1.0)],
            "driver_epoch": one(self._driver[0]),
            "driver_start_timestamp_seconds": one(self._driver[1]),
            "build_info": [(build, 1.0)],
        }

    def _of_the_disks(self) -> Values:
        free: Series = []
        size: Series = []
        for place, path in self._places.items():
            with suppress(OSError):
                room = shutil.disk_usage(next(one for one in (path, *path.parents) if one.exists()))
                free.append(((place,), float(room.free)))
                size.append(((place,), float(room.total)))
        return {"filesystem_free_bytes": free, "filesystem_size_bytes": size}

    def _of_the_strategy(self) -> Values:
        return {metric.name: one(self._told[metric.name]) for metric in TOLD if metric.name in self._told}


def one(value: Value) -> Series:
    """A metric with one series."""
    return [((), value)]


def name_of(plugin: Json) -> str:
    """How a job names a plugin, none of its options."""
    return str(plugin.get("name", "")) if isinstance(plugin, Mapping) else str(plugin or "")


def places(watched: Watched) -> Mapping[str, Path]:
    """The folders of this machine that hold a search's journal and its artifacts."""
    return dict(_places(watched))


def _places(watched: Watched) -> Iterator[tuple[str, Path]]:
    journal = home((watched.job.get("journal") or {}).get("place"))
    if not journal.startswith(SERVERS):
        yield "journal", Path(journal).expanduser()
    if "://" not in str((watched.job.get("artifacts") or {}).get("place") or ""):
        yield "artifacts", watched.home
