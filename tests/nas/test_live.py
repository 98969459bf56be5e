"""What is shown of a running search, and how seldom."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import pytest

from nas.history import Entry, History
from nas.live import AT_ONCE, COST, Goal, Lines, Moment, Terminal, View, view
from nas.tally import Tally
from search_spaces.decisions import Candidate
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
GOAL = Goal("digits", (ACCURACY,), trials=10)


@dataclass
class Machines:
    """As many slots as one likes."""

    free: int = 1
    busy: int = 1


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(history: History, number: int, arm: str | None = None, epochs: int = 1) -> None:
    note = {} if arm is None else {"arm": arm}
    history.asked(Trial(number, Candidate({"x": number}), epochs, epochs, note=note), 0.0)
    history.issued(number, 1, 0.0)


def tell(history: History, number: int, accuracy: float | None, error: str | None = None) -> None:
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    outcome = Outcome.FAILED if error else Outcome.COMPLETED
    history.told(Result(number, 1, outcome, metrics, 1, 2.0, error=error), 1.0)


def showing(goal: Goal = GOAL) -> tuple[View, Clock, io.StringIO]:
    stream, clock = io.StringIO(), Clock()
    return View(Lines(stream), goal, interval=1.0, clock=clock), clock, stream


def test_a_line_for_each_trial_that_ended_and_one_for_how_things_stand() -> None:
    watch, clock, stream = showing()
    history = History()
    history.state = "running"
    ask(history, 0)
    watch.turn(history, Machines())
    ask(history, 1, arm="baseline")
    ask(history, 2)
    tell(history, 0, 0.5)
    tell(history, 1, 0.25)
    tell(history, 2, None, error="the loss is not a number")
    clock.now = 14.0
    watch.turn(history, Machines())
    assert stream.getvalue().splitlines() == [
        "digits running",
        "trial 0 completed, accuracy=0.5, 2.0 s",
        "trial 1 completed (baseline), accuracy=0.25, 2.0 s",
        "trial 2 failed: the loss is not a number, 2.0 s",
        "3 of 10 trials: 2 completed, 1 failed; strategy accuracy 0.5 (trial 0), baseline accuracy 0.25 (trial 1); "
        "14 s, about 33 s left",
    ]


def test_many_at_once_are_told_as_a_number() -> None:
    watch, clock, stream = showing()
    history = History()
    watch.turn(history, Machines())
    for number in range(AT_ONCE + 1):
        ask(history, number)
        tell(history, number, 0.5)
    clock.now = 2.0
    watch.turn(history, Machines())
    assert f"{AT_ONCE + 1} more trials ended" in stream.getvalue()


def test_what_people_should_know_is_said_once_and_above_what_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    watch, clock, stream = showing()
    history, drawn = History(), Tty()
    history.state = "running"
    history.feed(Entry(1, 0.0, "note", None, {"text": "of an earlier driver"}))
    with View(Terminal(drawn), GOAL, 1.0, clock) as live:
        for number in range(4):
            watch.turn(history, Machines())
            live.turn(history, Machines())
            if number == 1:
                history.feed(Entry(2, 0.0, "note", None, {"text": "no trial can run\x1b]0;x\x07"}))
            clock.now += 5.0
        said = drawn.getvalue()
    assert stream.getvalue().splitlines() == ["digits running", r"no trial can run\x1b]0;x\x07"]
    assert said.count(r"no trial can run\x1b]0;x\x07") == 1
    assert "of an earlier driver" not in said


def test_nothing_is_said_between_two_intervals_and_all_at_the_end() -> None:
    watch, clock, stream = showing()
    history = History()
    watch.turn(history, Machines())
    ask(history, 0)
    tell(history, 0, 0.5)
    clock.now = 0.5
    said = stream.getvalue()
    watch.turn(history, Machines())
    assert stream.getvalue() == said
    watch.__exit__(None, None, None)
    assert "trial 0 completed" in stream.getvalue()


def test_what_earlier_drivers_did_is_counted_but_neither_told_nor_taken_for_pace() -> None:
    watch, clock, stream = showing()
    history = History()
    for number in range(4):
        ask(history, number)
        tell(history, number, 0.5)
    watch.turn(history, Machines())
    assert "trial 0" not in stream.getvalue()
    ask(history, 4)
    tell(history, 4, 0.75)
    clock.now = 10.0
    watch.turn(history, Machines())
    assert "5 of 10 trials" in stream.getvalue()
    assert "about 50 s left" in stream.getvalue()


def test_the_time_that_is_left_is_the_shorter_of_two_limits() -> None:
    watch, clock, stream = showing(Goal("digits", (ACCURACY,), trials=1000, seconds=60.0))
    history = History()
    watch.turn(history, Machines())
    ask(history, 0)
    tell(history, 0, 0.5)
    clock.now = 45.0
    watch.turn(history, Machines())
    assert "about 15 s left" in stream.getvalue()


def test_showing_takes_no_more_than_its_share_of_the_time() -> None:
    clock = Clock()

    class Slow:
        shown = 0

        def show(self, moment: Moment, ended: object) -> None:
            self.shown += 1
            clock.now += 1.0

        def close(self) -> None: ...

    screen = Slow()
    watch = View(screen, GOAL, interval=0.25, clock=clock)
    for _ in range(10_000):
        watch.turn(History(), Machines())
        clock.now += 0.01
    assert 2 <= screen.shown <= 100 * COST + screen.shown * COST + 2


def test_a_tally_looks_at_what_is_new_or_unfinished_only() -> None:
    history, tally = History(), Tally((ACCURACY,))
    ask(history, 0)
    ask(history, 1)
    assert tally.update(history) == []
    assert [record.trial.id for record in tally.running] == [0, 1]
    tell(history, 1, 0.5)
    assert [record.trial.id for record in tally.update(history)] == [1]
    assert tally.update(history) == []
    assert list(tally.open) == [0]


def test_the_best_is_none_that_was_trained_for_a_part_or_apart() -> None:
    history, tally = History(), Tally((ACCURACY,))
    for number, (arm, accuracy) in enumerate([(None, 0.5), ("final", 0.9), ("baseline", 0.75), (None, 0.25)]):
        ask(history, number, arm)
        tell(history, number, accuracy)
    history.asked(Trial(4, Candidate({}), epochs=1, horizon=8), 0.0)
    tell(history, 4, 0.99)
    tally.update(history)
    best = {arm: record.trial.id for arm, record in tally.best.items()}
    assert best == {"strategy": 0, "final": 1, "baseline": 2, "rung": 4}
    assert (tally.ended, tally.apart, tally.outcomes) == (4, 1, {"completed": 4})


def test_looks_at_untrained_networks_are_counted_apart() -> None:
    parameters = Objective("parameters", Direction.MINIMIZE)
    watch, clock, stream = showing(Goal("digits", (parameters,), trials=1))
    history = History()
    watch.turn(history, Machines())
    for number in range(2):
        history.asked(Trial(number, Candidate({"x": number}), epochs=0, horizon=1), 0.0)
        history.told(Result(number, 1, Outcome.COMPLETED, {"parameters": 5.0}), 1.0)
    assert {record.arm for record in history.trials.values()} == {"proxy"}
    assert history.searched() == []
    clock.now = 2.0
    watch.turn(history, Machines())
    assert stream.getvalue().splitlines()[-1].startswith("0 of 1 trials; 2 looked at untrained; none completed yet")


def test_before_anything_is_fully_trained_the_best_rung_is_shown() -> None:
    watch, clock, stream = showing()
    history = History()
    watch.turn(history, Machines())
    history.asked(Trial(0, Candidate({}), epochs=1, horizon=2), 0.0)
    tell(history, 0, 0.5)
    clock.now = 2.0
    watch.turn(history, Machines())
    assert "best accuracy 0.5 (trial 0), not fully trained" in stream.getvalue()
    ask(history, 1)
    tell(history, 1, 0.25)
    clock.now = 4.0
    watch.turn(history, Machines())
    assert stream.getvalue().splitlines()[-1].endswith("best accuracy 0.25 (trial 1); 4.0 s, about 16 s left")


def test_nothing_is_left_when_the_budget_is_spent_and_only_the_retraining_goes_on() -> None:
    watch, clock, stream = showing(Goal("digits", (ACCURACY,), trials=1))
    history = History()
    watch.turn(history, Machines())
    ask(history, 0)
    tell(history, 0, 0.5)
    ask(history, 1, arm="final")
    tell(history, 1, 0.75)
    clock.now = 3.0
    watch.turn(history, Machines())
    said = stream.getvalue().splitlines()[-1]
    assert said.startswith("1 of 1 trials: 1 completed; 1 trained again or tested; best accuracy 0.5 (trial 0), final")
    assert said.endswith("; 3.0 s")


def test_the_smallest_is_best_where_less_is_better() -> None:
    history, tally = History(), Tally((Objective("accuracy", Direction.MINIMIZE),))
    for number, value in enumerate([0.5, 0.25, 0.75]):
        ask(history, number)
        tell(history, number, value)
    tally.update(history)
    assert tally.best["strategy"].trial.id == 1


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Tty()
    history = History()
    history.state = "running"
    ask(history, 0, epochs=8)
    history.trials[0].curve.append((3, {"accuracy": 0.375}))
    ask(history, 1)
    tell(history, 1, 0.5)
    with View(Terminal(stream), GOAL) as watch:
        watch.turn(history, Machines(free=1, busy=2))
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "1 of 10 trials: 1 completed" in drawn
    assert "2 of 3 slots busy" in drawn
    assert re.search(r"0 +strategy +3/8 +accuracy=0.375", drawn)
    last = drawn[drawn.rindex("digits") :]
    assert "1 completed" in last
    assert not re.search("busy|running|Ctrl-C", last)


def test_whoever_asked_to_stop_sees_that_it_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    watch, clock, lines = showing()
    history, stream = History(), Tty()
    history.state = "running"
    ask(history, 0)
    with View(Terminal(stream), GOAL, 1.0, clock) as live:
        for history.stopping in (False, True):
            watch.turn(history, Machines())
            live.turn(history, Machines())
            clock.now += 5.0
        drawn = stream.getvalue()
    assert lines.getvalue().splitlines() == ["digits running", "digits stopping"]
    assert drawn.index("Ctrl-C finishes what runs") < drawn.index("finishing what runs, then it stops")


def test_a_view_suits_its_stream() -> None:
    assert type(view(GOAL, stream=io.StringIO()).screen).__name__ == "Lines"
    assert type(view(GOAL, quiet=True, stream=Tty()).screen).__name__ == "Nothing"
    with view(GOAL, stream=Tty()) as watch:
        assert type(watch.screen).__name__ == "Terminal"
