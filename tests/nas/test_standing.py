"""Where a search stands: the same from a snapshot and what came behind it as from the whole history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoiling import spoiled

from nas.cli.text import standing_lines
from nas.history import Entry, History
from nas.keeper import EVERY, Keeper
from nas.log import Header, Log
from nas.logs.memory import MemoryLog
from nas.logs.sqlite import SqliteLog
from nas.standing import NAME, RISES, STEP, Standing, abandoned, current, release, snapshot
from nas.summary import objectives, standing
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

ONE: list[Json] = [{"metric": "accuracy", "direction": "maximize"}]
TWO: list[Json] = [*ONE, {"metric": "seconds", "direction": "minimize"}]
NOTES: list[dict[str, Json]] = [{}, {}, {"arm": "baseline"}, {"arm": "rescore", "of": 0, "round": 1}, {"arm": "test"}]
ROOT = Path(__file__).resolve().parents[2]


def header(goals: list[Json], state: str = "interrupted") -> Header:
    return Header("long", 1.0, {"objectives": goals, "budget": {"trials": 9}}, {}, 2, state)


def entries(seed: int, count: int) -> Iterator[Entry]:
    """A journal as drivers write it, in any order that they could: trials, losses, requests, drivers come and go."""
    random, asked, ended = Random(seed), 0, set[int]()
    attempts: dict[int, int] = {}
    for sequence in range(1, count + 1):
        kind = random.choices(
            (
                "ask",
                "attempt",
                "tell",
                "progress",
                "note",
                "request",
                "applied",
                "slots",
                "artifact",
                "driver",
                "state",
            ),
            (40, 40, 40, 10, 1, 2, 1, 1, 2, 1, 1),
        )[0]
        some = sorted(set(range(asked)) - ended) if kind == "attempt" else sorted(attempts.keys() - ended)
        trial: int | None = random.choice(some) if some and kind in ("attempt", "tell", "progress") else None
        body: dict[str, Json] = {"text": f"note {sequence}"}
        if kind == "ask" or (trial is None and kind in ("attempt", "tell", "progress")):
            kind, trial, asked = "ask", asked, asked + 1
            body = Trial(
                trial, Candidate({"a": trial}), random.choice((1, 1, 1, 3, 0)), 1, note=random.choice(NOTES)
            ).json()
        elif kind == "attempt":
            attempts[trial or 0] = number = attempts.get(trial or 0, 0) + 1
            body = {"number": number}
        elif kind == "tell":
            body = outcome(random, trial or 0, attempts[trial or 0]).json()
            ended |= {trial or 0} if body["outcome"] != "lost" else set()
        elif kind == "progress":
            body = {"attempt": 1, "epoch": 1, "metrics": {"accuracy": random.random()}}
        elif kind == "request":
            body = {"kind": random.choice(("extend", "stop")), "budget": {"trials": sequence}}
        elif kind == "artifact":
            trial, body = 0, {"attempt": 1, "name": "x", "bytes": 3}
        else:
            body |= {"request": 1, "total": 3, "state": "stopped", "reason": "so", "epoch": 1}
            body = {key: body[key] for key in FIELDS.get(kind, ("text",))}
        yield Entry(sequence, float(sequence + random.random()), kind, trial, body)


FIELDS = {"applied": ("request",), "slots": ("total",), "state": ("state", "reason"), "driver": ("epoch",)}


def outcome(random: Random, trial: int, attempt: int) -> Result:
    kind = random.choices([Outcome.COMPLETED, Outcome.FAILED, Outcome.LOST, Outcome.INFEASIBLE], [6, 1, 2, 1])[0]
    values = random.choice((0.1, 0.5, 0.5, random.random(), float("nan"))), random.randint(1, 4)
    metrics = {"accuracy": values[0], "seconds": values[1]} if kind is Outcome.COMPLETED else {}
    return Result(trial, attempt, kind, metrics, 1, random.random(), error=None if metrics else "why")


def written(log: Log, seed: int = 0, count: int = 300, goals: list[Json] = ONE) -> tuple[int, list[Entry]]:
    log.create("long", {"objectives": goals, "budget": {"trials": 9}}, {})
    epoch = log.acquire("long")
    found = list(entries(seed, count))
    log.append("long", epoch, found)
    return epoch, found


def whole(log: Log) -> str:
    """As it is from all entries; a text, since NaN is not itself."""
    return repr(json_of(log))


def json_of(log: Log) -> dict[str, Json]:
    return standing(log.header("long"), History.of(log.entries("long")))


def from_snapshot(log: Log) -> str:
    return repr(current(log, log.header("long")).record(log.header("long")))


@given(st.integers(0, 10**9), st.integers(0, 250), st.integers(0, 250), st.sampled_from([ONE, TWO, []]))
def test_a_snapshot_and_what_came_behind_it_are_the_whole_history(
    seed: int, before: int, behind: int, goals: list[Json]
) -> None:
    known, said = objectives({"objectives": goals}), header(goals)
    found, straight = Standing(known), Standing(known)
    for entry in entries(seed, before + behind):
        if entry.sequence == before + 1 and before:
            found = Standing.from_json(known, found.json())
            assert snapshot(found).sequence == before
        found.feed(entry)
        straight.feed(entry)
    everything = History.of(entries(seed, before + behind))
    assert repr(found.record(said)) == repr(standing(said, everything))  # NaN is as NaN is said
    assert repr(found.json()) == repr(straight.json())


@given(st.integers(0, 10**9), st.integers(0, 400), st.sampled_from([ONE, TWO, []]), st.floats(0, 500))
def test_when_the_best_became_better_and_what_ended_lately_is_as_counted_from_everything(
    seed: int, count: int, goals: list[Json], since: float
) -> None:
    found = Standing(objectives({"objectives": goals}))
    for entry in entries(seed, count):
        found.feed(entry)
    ended = sorted(
        (one for one in History.of(entries(seed, count)).searched() if one.result), key=lambda one: one.ended_at or 0.0
    )
    assert found.ended == len(ended)
    rises: list[tuple[int, float]] = []
    for number, one in enumerate(ended, 1):
        gains = one.gains(found.goals[:1]) if goals and one.full and one.arm != "baseline" else None
        if gains and (not rises or gains[0] > rises[-1][1]):
            rises.append((number, gains[0]))
    assert found.rises == rises
    near = [sum((one.ended_at or 0.0) >= since + slack for one in ended) for slack in (STEP / 2, -STEP / 2)]
    assert near[0] <= found.ended_since(since) <= near[1]


def test_what_is_counted_stays_small_however_long_it_goes_on() -> None:
    found = Standing(objectives({"objectives": ONE}))
    for number in range(5_000):
        trial, at = Trial(number, Candidate({"a": number})), 9.0 * number
        result = Result(number, 1, Outcome.COMPLETED, {"accuracy": number / 5_000})
        found.feed(Entry(3 * number + 1, at, "ask", number, trial.json()))
        found.feed(Entry(3 * number + 2, at, "attempt", number, {"number": 1}))
        found.feed(Entry(3 * number + 3, at, "tell", number, result.json()))
    assert found.rises[0] == (1, 0.0)
    assert found.rises[-1] == (5_000, 4_999 / 5_000)
    assert len(found.rises) <= RISES
    assert found.ended_since(9.0 * 4_999 - 300) == pytest.approx(300 / 9, abs=2)
    assert len(snapshot(found).content) < 10_000


def test_nothing_is_kept_of_trials_that_are_over_and_not_shown() -> None:
    found = Standing(objectives({"objectives": ONE}))
    for number in range(2_000):
        trial = Trial(number, Candidate({"a": number}))
        found.feed(Entry(3 * number + 1, 1.0, "ask", number, trial.json()))
        found.feed(Entry(3 * number + 2, 1.0, "attempt", number, {"number": 1}))
        if number % 100:
            result = Result(number, 1, Outcome.COMPLETED, {"accuracy": (number * 7 % 100) / 100})
            found.feed(Entry(3 * number + 3, 1.0, "tell", number, result.json()))
    assert len(found.history.trials) == 20 + 1
    assert len(snapshot(found).content) < 10_000


@pytest.mark.parametrize("make", [MemoryLog, None])
def test_what_is_kept_is_read(make: type[MemoryLog] | None, tmp_path: Path) -> None:
    log = make() if make else SqliteLog(tmp_path)
    epoch, _ = written(log)
    found = current(log, log.header("long"))
    log.keep("long", epoch, snapshot(found))
    log.append("long", epoch, [Entry(0, 9e9, "note", None, {"text": "behind"})])
    assert from_snapshot(log) == whole(log)
    said = current(log, log.header("long")).json()
    said["worked"] += 1e6  # so that it shows whether it was read
    log.keep("long", epoch, snapshot(Standing.from_json(found.goals, said)))
    assert from_snapshot(log) != whole(log)
    log.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: replace(kept, release="0.0.1/1"),
        lambda kept: replace(kept, release=release() + "1"),
        lambda kept: replace(kept, content=kept.content[:-9]),
        lambda kept: replace(kept, content=b"[]"),
        lambda kept: replace(kept, content=b"\xff{}"),
        lambda kept: replace(kept, content=kept.content.replace(b'"trials":', b'"trails":')),
        lambda kept: replace(kept, sequence=kept.sequence + 1),
        lambda kept: replace(kept, sequence=kept.sequence - 1),
        lambda kept: replace(kept, sequence=10**9),
    ],
)
def test_a_snapshot_that_cannot_be_trusted_is_not_read(spoil: object, tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    epoch, _ = written(log)
    assert callable(spoil)
    found = current(log, log.header("long"))
    found.history.worked += 1e6  # so that it shows whether it was read
    log.keep("long", epoch, spoil(snapshot(found)))
    assert from_snapshot(log) == whole(log)
    log.close()


@given(st.data(), st.integers(0, 99), st.sampled_from([ONE, TWO]))
@settings(max_examples=50)
def test_whatever_a_snapshot_says_the_search_can_be_shown_and_driven(
    data: st.DataObject, seed: int, goals: list[Json]
) -> None:
    """Well-formed, with the right release and of this journal; what it says may be made up."""
    log = MemoryLog()
    epoch, _ = written(log, seed, 60, goals)
    kept = snapshot(current(log, log.header("long")))
    said = data.draw(spoiled(json.loads(kept.content)))
    log.keep("long", epoch, replace(kept, content=json.dumps(said).encode()))
    log.append("long", epoch, list(entries(seed, 90))[60:])
    header = log.header("long")
    found = current(log, header)
    assert Standing.from_json(found.goals, json.loads(snapshot(found).content)).mark == found.mark
    shown = abandoned(found, header).record(header)
    assert shown.keys() == json_of(log).keys()
    assert "\n".join(standing_lines(shown).values())


def put(said: Any, way: Sequence[Any], value: Any) -> Any:
    inside = said
    for key in way[:-1]:
        inside = inside[key]
    inside[way[-1]] = value
    return said


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("asked",), 10**400),
        (("asked",), "7"),
        (("asked",), -1),
        (("asked",), 1_000_000),
        (("ended",), ["completed"]),
        (("ended", "completed"), 1.5),
        (("ended", "done"), 0),
        (("worked",), float("nan")),
        (("worked",), 1e300),
        (("last_at",), "now"),
        (("state",), "running"),
        (("state", 0), None),
        (("mark", 0), float("inf")),
        (("notes",), {}),
        (("notes",), [[1, 1.0, "note", None, "text"]]),
        (("notes",), [[1, 1.0, "tell", None, {"text": "a"}]]),
        (("requests",), [[1, 1.0, "request", None, {}]]),
        (("requests",), [[1, 1.0, "request", None, {"kind": "extend", "budget": {"trials": [3]}}]]),
        (("requests",), [[1, 1.0, "request", None, {"kind": "extend", "budget": 3}]]),
        (("trials",), {}),
        (("trials", 0, 0), []),
        (("trials", 0, 0, "id"), 1e9),
        (("trials", 0, 0, "candidate"), [["a", 1]]),
        (("trials", 0, 0, "candidate", "a"), [1]),
        (("trials", 0, 0, "note"), {"arm": "rescore", "round": None}),
        (("trials", 0, 0, "split"), "train"),
        (("trials", 0, 0, "shared"), 1),
        (("trials", 0, 0, "seed"), 0.0),
        (("trials", 0, 0, "further"), 1),
        (("trials", 0, 2), None),
        (("trials", 0, 4), [1.0]),
        (("trials", 0, 4, 1), "late"),
        (("trials", 0, 5), [[1, {"accuracy": "high"}]]),
        (("trials", 0, 6), {"trial_id": 10**6, "attempt": 1, "outcome": "completed"}),
        (("best",), []),
        (("best", ""), [10**6]),
        (("best", ""), ["0"]),
        (("best", "baseline"), None),
    ],
)
def test_what_no_driver_writes_is_ignored(way: Sequence[Any], value: Any) -> None:
    log = MemoryLog()
    epoch, _ = written(log)
    found = current(log, log.header("long"))
    found.history.worked += 1e6  # so that it shows whether it was read
    kept = snapshot(found)
    log.keep("long", epoch, replace(kept, content=json.dumps(put(json.loads(kept.content), way, value)).encode()))
    assert from_snapshot(log) == whole(log)


@pytest.mark.parametrize("content", [b"", b"null", b"7", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000])
def test_what_is_no_standing_is_ignored(content: bytes) -> None:
    log = MemoryLog()
    epoch, _ = written(log)
    kept = snapshot(current(log, log.header("long")))
    log.keep("long", epoch, replace(kept, content=content))
    assert from_snapshot(log) == whole(log)


@pytest.mark.parametrize("sequence", ["'many'", "1.5", "NULL", "x''", "-9223372036854775808"])
def test_a_row_that_is_none_of_ours_is_ignored(sequence: str, tmp_path: Path) -> None:
    """SQLite keeps anything in any column."""
    log = SqliteLog(tmp_path)
    epoch, _ = written(log)
    log.keep("long", epoch, snapshot(current(log, log.header("long"))))
    with log._known("long").transaction() as connection:
        connection.execute("CREATE TABLE loose (name, sequence, release, content, checksum)")
        connection.execute(f"INSERT INTO loose SELECT name, {sequence}, release, content, checksum FROM snapshot")
        connection.execute("DROP TABLE snapshot")
        connection.execute("ALTER TABLE loose RENAME TO snapshot")
    assert from_snapshot(log) == whole(log)
    log.close()


def test_a_snapshot_of_another_journal_is_not_read() -> None:
    log, other = MemoryLog(), MemoryLog()
    epoch, _ = written(log, seed=1)
    written(other, seed=2)
    foreign = snapshot(current(other, other.header("long")))
    log.keep("long", epoch, foreign)
    assert log.snapshot("long", NAME) == foreign
    assert from_snapshot(log) == whole(log)


@pytest.mark.parametrize("kind", ["BLOB", "TEXT"])
def test_damaged_bytes_are_no_snapshot(kind: str, tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    epoch, _ = written(log)
    log.keep("long", epoch, snapshot(current(log, log.header("long"))))
    with log._known("long").transaction() as connection:
        spoilt = "replace(content, '\"asked\":', '\"asked\":9')"
        connection.execute(f"UPDATE snapshot SET content = CAST({spoilt} AS {kind})")
    assert from_snapshot(log) == whole(log)
    log.close()


def test_an_abandoned_search_has_nothing_running() -> None:
    log = MemoryLog()
    written(log, seed=5)
    said = replace(log.header("long"), driver=None)
    found = abandoned(current(log, said), said).record(said)
    assert found["state"] == "abandoned"
    assert found["trials"]["running"] == 0


def test_a_keeper_keeps_seldom_and_at_the_end() -> None:
    log, now = MemoryLog(), [0.0]
    epoch, _ = written(log, seed=3, count=10)
    keeper = Keeper(log, "long", epoch, current(log, log.header("long")), clock=lambda: now[0])
    log.append("long", epoch, list(entries(3, EVERY + 15))[10:])
    keeper.turn()
    assert log.snapshot("long", NAME) is None
    now[0] = 2.0
    keeper.turn()
    kept = log.snapshot("long", NAME)
    assert kept is not None
    log.request("long", "stop", {})  # another process's, which no driver has written
    keeper.end()
    last = log.snapshot("long", NAME)
    assert last is not None
    assert last.sequence == kept.sequence + 1
    assert from_snapshot(log) == whole(log)


def test_a_search_lives_on_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise UserError("the disk is full")

    log = MemoryLog()
    epoch, _ = written(log, count=EVERY)
    monkeypatch.setattr(log, "keep", full)
    keeper = Keeper(log, "long", epoch, Standing(objectives({"objectives": ONE})))
    keeper.end()
    keeper.end()
    assert from_snapshot(log) == whole(log)


KEEPS = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_standing import *
from nas.standing import update
log = SqliteLog(Path({folder!r}))
epoch, _ = written(log, count=10)
found = current(log, log.header("long"))
journal = list(entries(0, 2_000))
for turn in range(100):
    log.append("long", epoch, journal[10 + 19 * turn : 29 + 19 * turn])
    update(found, log, "long")
    log.keep("long", epoch, snapshot(found))
    print(turn, flush=True)
"""


@pytest.mark.slow
def test_a_kill_leaves_a_snapshot_that_is_whole(tmp_path: Path) -> None:
    paths = [str(ROOT), str(Path(__file__).parent)]
    for kill in range(4):
        folder = str(tmp_path / str(kill))
        script = KEEPS.format(paths=paths, folder=folder)
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while process.stdout.readline() != f"{20 + kill}\n":
            assert process.poll() is None
        time.sleep(0.003 * kill)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        log = SqliteLog(Path(folder))
        assert log.snapshot("long", NAME) is not None
        assert from_snapshot(log) == whole(log)
        log.close()


@pytest.mark.slow
def test_status_of_a_hundred_thousand_trials_takes_less_than_a_second(tmp_path: Path) -> None:
    """In seconds of the processor, the start of the command included."""
    log = SqliteLog(tmp_path)
    log.create("long", {"objectives": ONE}, {})
    epoch = log.acquire("long")
    for begin in range(0, 100_000, 5_000):
        batch = []
        for number in range(begin, begin + 5_000):
            trial, result = (
                Trial(number, Candidate({"a": number})),
                Result(number, 1, Outcome.COMPLETED, {"accuracy": 0.5}),
            )
            batch.append(Entry(0, 1.0 * number, "ask", number, trial.json()))
            batch.append(Entry(0, 1.0 * number, "attempt", number, {"number": 1}))
            batch.append(Entry(0, 1.0 * number, "tell", number, result.json()))
        log.append("long", epoch, batch)
    log.keep("long", epoch, snapshot(current(log, log.header("long"))))
    log.release("long", epoch, "interrupted")
    log.close()
    for command in (["status", "long"], ["list"]):
        before = os.times()
        said = subprocess.run(
            [sys.executable, "-m", "nas", *command, "--journal", str(tmp_path)],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        after = os.times()
        assert "long" in said.stdout
        took = after.children_user - before.children_user + after.children_system - before.children_system
        assert took < 1.0
