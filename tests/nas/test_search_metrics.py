"""What Prometheus is shown of a search: counted once, named by its conventions, there from the beginning."""

from __future__ import annotations

import math
import re
import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scrapes import Samples, parsed
from stand_ins import FOLDER

from nas.driver import resume, start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from nas.journal import LOSSES
from nas.metrics.catalogue import ARMS, CATALOGUE, OUTCOMES, TOLD, names
from nas.metrics.counts import BOUNDS, Counts
from nas.metrics.readings import Readings
from nas.plan import Plan
from nas.timing import BOUNDS as OF_A_DRIVER
from nas.timing import Timing
from nas.watcher import Watched
from nas.watchers.metrics import LAST, MetricsWatcher
from search_spaces.decisions import Candidate
from workers.objectives import Direction, Objective, Outcome
from workers.pool import Pool
from workers.trial import Json, Result, Trial

UP, DOWN = Objective("value", Direction.MAXIMIZE), Objective("cost", Direction.MINIMIZE)
JOB: dict[str, Json] = {
    "name": "try",
    "task": "stand_ins:SumTask",
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "budget": {"trials": 10},
    "final": {"top": 1},
    "retries": 1,
    "folder": FOLDER,
}


class Still(Pool):
    """Three places, of which one is taken."""

    free, busy = 2, 1
    submit = wait = close = None  # type: ignore[assignment]


def watched(tmp_path: Path, **changes: Json) -> Watched:
    plan = Plan.of({**JOB, **changes})
    folder = tmp_path / "home" / "try"
    return Watched("try", plan.job.json(), plan.objectives, folder, folder.parent, plan.strategy(), Timing())


def scraped(readings: Readings) -> tuple[Samples, dict[str, str]]:
    """What somebody who scrapes now reads."""
    from nas.metrics.exposition import of_driver

    return parsed(of_driver(readings).decode())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a driver's next turn."""
    monkeypatch.setattr("nas.metrics.readings.PATIENCE", 0.0)


EVENT = st.tuples(
    st.sampled_from(["ask", "issue", "completed", "failed", "infeasible", "lost", "stopped", "driver", "look"]),
    st.integers(0, 5),
    st.floats(0.0, 10.0),
)


class Story:
    """A history, and beside it what should be counted of it, written down as it happens."""

    def __init__(self) -> None:
        self.history, self.clock = History(), 1e9
        self.waits: list[float] = []
        self.retries = Counter(lost=0, returned=0, failed=0)
        self._since: dict[int, float] = {}
        self._cause: dict[int, str] = {}

    @property
    def idle(self) -> list[int]:
        return [one for one in self.history.waiting() if one not in self.history.running]

    def goes_on(self, kind: str, number: int, value: float) -> None:
        self.clock += 1.0
        if kind == "ask":
            trial = Trial(len(self.history.trials), Candidate({"x": 1}), note={"arm": ARMS[number]} if number else {})
            self.history.asked(trial, self.clock)
            self._since[trial.id] = self.clock
        elif kind == "issue" and self.idle:
            self.issue(self.idle[number % len(self.idle)])
        elif kind == "driver":
            for one in self.history.running:
                self._since[one], self._cause[one] = self.clock, "returned"
            self.history.last_at = self.clock
            self.history._idle()
        elif kind in tuple(Outcome) and self.history.running:
            self._end(list(self.history.running)[number % len(self.history.running)], Outcome(kind), value)

    def issue(self, one: int) -> None:
        self.waits.append(self.clock - self._since[one])
        self.retries.update([self._cause[one]] if one in self._cause else [])
        self.history.issued(one, self.history.trials[one].attempts + 1, self.clock)

    def _end(self, one: int, outcome: Outcome, value: float) -> None:
        record = self.history.trials[one]
        metrics = {"value": value, "cost": value} if outcome is Outcome.COMPLETED else {}
        self.history.told(Result(one, record.attempts, outcome, metrics, epochs=1, seconds=value), self.clock)
        self._since[one], self._cause[one] = self.clock, "lost" if outcome is Outcome.LOST else "returned"
        if record.losses >= LOSSES and record.result is None:
            self.history.told(Result(one, record.attempts, Outcome.FAILED), self.clock)


@example([(kind, 0, 1.0) for kind in ("ask", "issue", "look", "driver", "look", "issue", "completed", "look")])
@example([(kind, 0, 1.0) for kind in ("ask", "issue", "lost", "look", *["issue", "lost"] * LOSSES, "look")])
@given(st.lists(EVENT, min_size=10, max_size=60))
def test_whoever_looks_however_often_counts_everything_once(events: list[tuple[str, int, float]]) -> None:
    story, often = Story(), Counts((UP, DOWN))
    for event in events:
        story.goes_on(*event)
        if event[0] == "look":
            often.update(story.history)
    for one in story.idle:  # a retry is counted when it is made
        story.issue(one)
    history = story.history
    often.update(history)
    once = Counts((UP, DOWN))
    once.update(history)
    ended = [record for record in history.trials.values() if record.result is not None]
    for counts in (often, once):
        assert counts.waits.counts == spread(story.waits)
        assert counts.waits.total == pytest.approx(sum(story.waits))
        assert sum(counts.ended.values()) == len(ended) == sum(counts.durations.counts)
        assert +Counter(counts.ended) == Counter((str(one.result.outcome), one.arm) for one in ended if one.result)
        assert counts.retries == story.retries
        assert counts.running == len(history.running)
        assert counts.waiting == 0
        for goal in (UP, DOWN):
            best = [record.result.metrics[goal.metric] for record in history.best(goal) if record.result]
            assert ([counts.best[goal.metric]] if goal.metric in counts.best else []) == best
    assert often.finished_at == max((record.ended_at or 0.0 for record in ended), default=0.0)


def spread(values: list[float]) -> list[int]:
    edges = [-math.inf, *BOUNDS, math.inf]
    return [sum(low < value <= high for value in values) for low, high in pairwise(edges)]


def test_every_series_is_there_before_anything_was_tried(tmp_path: Path, at_once: None) -> None:
    samples, kinds = scraped(Readings(watched(tmp_path)))
    for outcome in OUTCOMES:
        for arm in ARMS:
            assert samples["nas_trials_total", (("arm", arm), ("outcome", outcome), ("search", "try"))] == 0
    for cause in ("lost", "returned", "failed"):
        assert samples["nas_retries_total", (("cause", cause), ("search", "try"))] == 0
    assert math.isnan(samples["nas_best_objective", (("metric", "value"), ("search", "try"))])
    found = {f"{name}_total" if kind == "counter" else name: kind for name, kind in kinds.items()}
    assert {metric.full: metric.kind for metric in CATALOGUE}.items() <= found.items()
    assert all(any(sample.startswith(metric.full) for sample, _ in samples) for metric in CATALOGUE)


def test_names_and_labels_keep_the_conventions() -> None:
    for metric in (*CATALOGUE, *TOLD):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert not re.search(r"(milli|micro|minutes|hours|_kb|_mb|percent)", metric.name), metric.name
        assert metric.text.endswith((".", "0 before.")), metric.name
        if metric.kind == "histogram":
            assert metric.name.endswith("_seconds"), metric.name
    labels = {label for metric in CATALOGUE for label in metric.labels}
    assert labels.isdisjoint({"trial", "trial_id", "candidate", "attempt", "pid", "worker", "slot", "job", "instance"})


def test_buckets_tell_a_millisecond_from_a_day() -> None:
    for bounds, least, most in ((BOUNDS, 1e-3, 86_400.0), (OF_A_DRIVER, 1e-4, 30.0)):
        assert bounds[0] <= least < most <= bounds[-1]
        assert all(above / below <= 2.0 for below, above in pairwise(bounds))


def test_a_thousand_trials_have_as_many_series_as_none(tmp_path: Path, at_once: None) -> None:
    seen = watched(tmp_path, objectives=["value", "cost"])
    empty, _ = scraped(Readings(seen))
    history = History()
    for number in range(1000):
        history.asked(Trial(number, Candidate({"a": 1}), note={"arm": f"own-{number}"}), 1e9 + number)
        history.issued(number, 1, 1e9 + number)
        if number < 900:
            history.told(Result(number, 1, Outcome.COMPLETED, {"value": float(number)}), 2e9 + number)
    readings = Readings(seen)
    readings.look(history, Still(), "running")
    full, _ = scraped(readings)
    assert set(full) == set(empty) | {key for key in full if "budget" in key[0] or "refused" in key[0]}
    assert len(full) < 500, len(full)
    assert full["nas_trials_total", (("arm", "other"), ("outcome", "completed"), ("search", "try"))] == 900
    assert full["nas_trials_running", (("search", "try"),)] == 100
    assert full["nas_slots", (("search", "try"), ("state", "busy"))] == 1
    assert full["nas_slots", (("search", "try"), ("state", "idle"))] == 2


class Sleeping(dict[int, Any]):
    """Trials that nobody may look at."""

    def values(self) -> Any:
        raise AssertionError("looked at")


def test_a_turn_that_nobody_asks_in_looks_at_nothing(tmp_path: Path) -> None:
    readings = Readings(watched(tmp_path))
    readings.look(History(), Still(), "running")
    history = History()
    history.trials = Sleeping()
    for _ in range(100):
        readings.turn(history, Still())


def test_a_disk_that_hangs_keeps_a_scrape_and_not_the_driver(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, back = Event(), Event()

    def usage(path: Path) -> None:
        asked.set()
        back.wait(60)
        raise OSError("the server is back, and knows no such folder")

    monkeypatch.setattr("shutil.disk_usage", usage)
    readings = Readings(watched(tmp_path))
    scrape = Thread(target=scraped, args=(readings,))
    scrape.start()
    try:
        assert asked.wait(20)
        turns = Thread(target=readings.turn, args=(History(), Still()))
        turns.start()
        turns.join(20)
        assert not turns.is_alive()
    finally:
        back.set()
        scrape.join(20)


def test_a_search_with_the_watcher_says_what_its_journal_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two drivers; the second begins with the first one's trials."""
    pages: list[tuple[Samples, str]] = []
    ended = MetricsWatcher.end

    def end(self: MetricsWatcher, history: History, state: str, reason: str) -> None:
        ended(self, history, state, reason)
        monkeypatch.setattr("nas.metrics.readings.PATIENCE", 0.0)
        pages.append((parsed(self._page("/metrics").decode())[0], state))  # type: ignore[union-attr]

    monkeypatch.setattr(MetricsWatcher, "end", end)
    log = open_log()
    search = start(Job.parse({**JOB, "task": {"name": "stand_ins:SumTask", "fail": [1]}}), log)

    class Stop:
        def turn(self, history: History, pool: Pool) -> None:
            history.stopping = history.outcomes.total() >= 4

    for observer, trials in ((Stop(), range(4, 6)), (None, range(12, 13))):
        resume(search, log, observer=observer)
        history = History.of(log.entries(search))
        samples, state = pages[-1]
        assert history.state == state
        assert history.outcomes.total() in trials
        assert samples["nas_retries_total", (("cause", "failed"), ("search", search))] == 1
        total = sum(value for (name, _), value in samples.items() if name == "nas_trials_total")
        assert total == history.outcomes.total() == samples["nas_trial_duration_seconds_count", (("search", search),)]
        assert samples["nas_best_objective", (("metric", "value"), ("search", search))] == max(
            record.result.metrics["value"] for record in history.best(UP) if record.result
        )
        assert samples["nas_driver_epoch", (("search", search),)] == len(history.drivers)
        assert samples["nas_search_state", (("search", search), ("state", state))] == 1
    log.close()


@pytest.mark.parametrize("port_named", [True, False])
def test_a_driver_with_a_port_of_its_own_stays_to_show_its_end(
    tmp_path: Path, port_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    watcher = MetricsWatcher(watched(tmp_path), port=port if port_named else 0)
    monkeypatch.setattr("nas.metrics.readings.PATIENCE", 60.0)  # there is no further turn to wait for
    shown: list[float] = []

    def stay(seconds: float) -> None:
        with urlopen(f"{watcher.address}/metrics", timeout=20) as answer:
            samples, _ = parsed(answer.read().decode())
        shown.append(samples["nas_search_state", (("search", "try"), ("state", "finished"))])
        assert seconds == LAST

    monkeypatch.setattr("nas.metrics.server.time.sleep", stay)
    try:
        watcher.end(History(), "finished", "")
    finally:
        watcher.close()
    assert shown == ([1.0] if port_named else [])


def test_what_strategies_tell_is_known_to_the_catalogue() -> None:
    told = {metric.name for metric in TOLD}
    for strategy in ("surrogate", "pnas", "reinforce", "random", {"name": "halving", "candidates": "surrogate"}):
        gauges: Mapping[str, float] = Plan.of({**JOB, "strategy": strategy}).strategy().gauges()
        assert set(gauges) <= told, strategy
        assert {"budget_spent_ratio", "duplicates_refused_total"} <= set(gauges), strategy
    assert all(name.startswith("nas_") for name in names())
