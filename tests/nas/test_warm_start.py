"""A search that begins from earlier ones: what it takes, what it leaves, and that it needs them only once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, final

import pytest
from stand_ins import FOLDER, Uniform

from nas.driver import drive, resume, start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from nas.recorded import current_plan
from nas.strategy import Setting
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

FIRST: dict[str, Json] = {
    "name": "first",
    "task": {"name": "stand_ins:SumTask", "fail": [3]},
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "budget": {"trials": 8},
    "final": {"top": 1, "epochs": 3},
    "seed": 5,
    "folder": FOLDER,
}
SECOND: dict[str, Json] = {
    **FIRST,
    "name": "second",
    "task": "stand_ins:SumTask",
    "strategy": "test_warm_start:Pupil",
    "budget": {"trials": 4},
    "warm_start": ["first"],
    "baseline": 0,
}


@final
class Pupil(Uniform):
    """Learns from all trials; remembers what it heard."""

    foreign = True
    latest: ClassVar[Pupil]

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        Pupil.latest = self
        self.trials: dict[int, Trial] = {}
        self.results: dict[int, Result] = {}

    def asked(self, trial: Trial) -> None:
        self.trials[trial.id] = trial

    def told(self, result: Result) -> None:
        self.results[result.trial_id] = result


@pytest.fixture
def log() -> Iterator[Log]:
    opened = open_log()
    yield opened
    opened.close()


def run(job: dict[str, Json], log: Log) -> History:
    search = start(job, log)
    drive(search, log)
    return History.of(log.entries(search))


def notes(history: History) -> list[str]:
    return [note.body["text"] for note in history.notes]


def test_a_strategy_hears_the_trials_of_the_earlier_search_before_its_own(log: Log) -> None:
    earlier = run(FIRST, log)
    later = run(SECOND, log)
    heard = list(Pupil.latest.trials.values())
    searched = earlier.searched()
    assert [trial.id for trial in heard] == [*range(-1, -9, -1), 0, 1, 2, 3]
    assert [trial.candidate for trial in heard[:8]] == [record.trial.candidate for record in searched]
    assert {trial.note.get("arm") for trial in heard[:8]} == {"earlier"}
    assert all(trial.full for trial in heard)
    for record, trial in zip(searched, heard, strict=False):
        assert record.result is not None
        told = Pupil.latest.results[trial.id]
        assert told.outcome is record.result.outcome
        assert told.metrics.get("value") == record.result.metrics.get("value")
    assert Pupil.latest.results[-4].outcome is Outcome.FAILED
    assert notes(later)[0] == "begins from 8 trials of first"


def test_the_best_of_the_earlier_search_is_trained_again_first_and_the_budget_is_its_own(log: Log) -> None:
    earlier = run(FIRST, log)
    best = earlier.best(current_plan(log, "first").objectives[0])[0].trial.candidate
    later = run(SECOND, log)
    searched = later.searched()
    assert len(searched) == 4
    assert [record.arm for record in searched] == ["enqueued", "strategy", "strategy", "strategy"]
    assert searched[0].trial.candidate == best
    assert min(later.trials) == 0, "no trial of the earlier search is one of this"
    none = run({**SECOND, "name": "third", "warm_start": [{"search": "first", "again": 0}]}, log)
    assert {record.arm for record in none.searched()} == {"strategy"}


def test_a_search_is_resumed_when_the_earlier_journal_is_gone(log: Log, tmp_path: Path) -> None:
    run({**FIRST, "journal": str(tmp_path / "elsewhere")}, away := open_log(str(tmp_path / "elsewhere")))
    away.close()
    run({**SECOND, "warm_start": str(tmp_path / "elsewhere" / "first")}, log)
    unbroken = dict(Pupil.latest.trials), dict(Pupil.latest.results)
    shutil.rmtree(tmp_path / "elsewhere")
    resume("second", log, {"budget": {"trials": 6}})
    assert len(Pupil.latest.trials) == 14
    assert dict(list(Pupil.latest.trials.items())[:12]) == unbroken[0]
    assert dict(list(Pupil.latest.results.items())[:12]) == unbroken[1]
    assert notes(History.of(log.entries("second"))).count("begins from 8 trials of first") == 1


def test_what_no_longer_fits_is_left_out_and_counted(log: Log) -> None:
    earlier = run({**FIRST, "budget": {"trials": 16}}, log)
    later = run({**SECOND, "space": {"name": "stand_ins:GridSpace", "width": 4}}, log)
    ended = [record.trial.candidate for record in earlier.searched()]
    fitting = [candidate for candidate in ended if max(map(int, candidate.values())) < 4]
    heard = [trial.candidate for number, trial in Pupil.latest.trials.items() if number < 0]
    assert heard == fitting
    text = notes(later)[0]
    assert text.startswith(f"begins from {len(fitting)} trials of first; ")
    assert "no longer fits (a is 4, but must be one of 0, 1, 2, 3)" in text


def test_only_the_metrics_of_the_objectives_are_copied(log: Log) -> None:
    run(FIRST, log)
    start(SECOND, log)
    bodies = [entry.body for entry in log.entries("second", kinds=("request",)) if entry.body["kind"] == "learn"]
    assert {name for body in bodies for trial in body["trials"] for name in trial.get("metrics", {})} == {"value"}
    assert "test" not in json.dumps(bodies)


def test_what_is_over_a_ceiling_now_is_infeasible(log: Log) -> None:
    run({**FIRST, "budget": {"trials": 16}}, log)
    run({**SECOND, "constraints": {"parameters": {"max": 200}}}, log)
    for number, trial in Pupil.latest.trials.items():
        if number < 0 and Pupil.latest.results[number].outcome is not Outcome.FAILED:
            assert (Pupil.latest.results[number].outcome is Outcome.INFEASIBLE) == (int(trial.candidate["a"]) > 2)


def test_other_metrics_and_other_lengths_are_nothing_to_begin_from(log: Log) -> None:
    run(FIRST, log)
    longer = {**SECOND, "task": {"name": "stand_ins:SumTask", "epochs": 7}}
    with pytest.raises(UserError, match=r"nothing to begin from: .* 8 left out: trained for 2 epochs, not 7; leave it"):
        start(longer, log)
    other = {**SECOND, "objectives": [{"metric": "mass", "direction": "minimize"}]}
    with pytest.raises(UserError, match="left out: has no mass"):
        start(other, log)
    with pytest.raises(UserError, match="frist"):
        start({**SECOND, "warm_start": ["frist"]}, log)
    assert [header.search for header in log.searches()] == ["first"], "nothing was created"


def test_who_learns_from_no_others_is_told_nothing_and_says_so(log: Log) -> None:
    run(FIRST, log)
    later = run({**SECOND, "strategy": "stand_ins:Uniform"}, log)
    assert notes(later)[0] == "begins from 8 trials of first; but Uniform learns from no trials but its own"
    assert later.searched()[0].arm == "enqueued"


def test_several_searches_are_heard_one_after_the_other(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.lessons.AT_ONCE", 3)
    run(FIRST, log)
    run({**FIRST, "name": "another", "seed": 9}, log)
    later = run({**SECOND, "warm_start": ["first", {"search": "another", "again": 2}]}, log)
    assert [number for number in Pupil.latest.trials if number < 0] == list(range(-1, -17, -1))
    assert [record.arm for record in later.searched()[:2]] == ["enqueued"] * 2
    assert notes(later)[:2] == ["begins from 8 trials of first", "begins from 8 trials of another"]


def test_an_earlier_search_is_named_by_its_id_or_where_it_is() -> None:
    def named(value: Json) -> list[tuple[str, str | None, int]]:
        return [(one.search, one.journal, one.again) for one in Job.parse({**FIRST, "warm_start": value}).warm_start]

    assert named("cells-1") == [("cells-1", None, 1)]
    assert named(["~/old/cells-1/", "/data/cells-2/journal.sqlite"]) == [
        ("cells-1", "~/old", 1),
        ("cells-2", "/data", 1),
    ]
    assert named("postgresql://host/base/cells-3") == [("cells-3", "postgresql://host/base", 1)]
    assert named({"search": "a", "again": 0}) == [("a", None, 0)]
    job = Job.parse({**FIRST, "warm_start": ["x/a"]})
    assert Job.parse(job.json()) == job
    with pytest.raises(UserError, match=r"'serach' is no key of an earlier search: did you mean search\?"):
        Job.parse({**FIRST, "warm_start": [{"serach": "a"}]})


def test_lessons_of_the_real_spaces_reach_a_real_strategy(log: Log) -> None:
    tuning: dict[str, Json] = {
        "task": {"name": "test_warm_start:parabola", "decisions": {"x": {"range": [-1.0, 1.0]}}},
        "pool": "stand_ins:Instant",
        "budget": {"trials": 30},
        "folder": FOLDER,
    }
    run({**tuning, "name": "first", "strategy": "random"}, log)
    job = {**tuning, "name": "second", "budget": {"trials": 6}, "baseline": 0, "warm_start": ["first"]}
    later = run({**job, "strategy": {"name": "pnas", "members": 1, "first_level": 1, "beam": 4}}, log)
    found = [abs(float(record.trial.candidate["x"])) for record in later.searched()]
    assert all("predicted" in record.trial.note for record in later.searched()[2:])
    assert min(found[2:]) < 0.3


def parabola(decisions: dict[str, float]) -> float:
    return -(decisions["x"] ** 2)
