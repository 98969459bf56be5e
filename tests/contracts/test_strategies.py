"""What every strategy in the folder promises, through a search without machines."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module
from random import Random

import pytest
from searches import (
    ACCURACY,
    CASES,
    LOSS,
    SETTINGS,
    TRIALS,
    Event,
    answer,
    asks,
    batches,
    ended,
    hear,
    make,
    simulate,
)

from nas.strategy import Draw, Setting, Strategy
from nas.wrappers.deduplicate import Deduplicate
from nas.wrappers.enqueue import Enqueue
from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import load
from workers.trial import Result, Trial

pytestmark = pytest.mark.parametrize("case", CASES)
PLACES = [(setting, slots) for setting in SETTINGS for slots in ((1, 8, 100) if setting == "cells" else (8,))]

BATCHES = [("cells", 1), ("rungs", 7), pytest.param("numbers", 40, marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.surrogates.ensemble._STEPS", 2)


@cache
def once(case: str, setting: str, slots: int, seed: int = 1) -> tuple[Event, ...]:
    """The events of a search, which a test may read and not change."""
    return tuple(simulate(make(case, setting, seed=seed), slots, trials=length(slots)))


def length(slots: int) -> int:
    """How many trials there are: more than run at once, so that later ones are asked when earlier ones were told."""
    return max(TRIALS, slots + TRIALS // 2)


@pytest.mark.parametrize(("setting", "slots"), PLACES)
def test_trials_are_valid_numbered_and_plain_json(case: str, setting: str, slots: int) -> None:
    trials = asks(list(once(case, setting, slots)))
    how = SETTINGS[setting]
    assert trials
    assert [trial.id for trial in trials] == list(range(len(trials)))
    for trial in trials:
        assert how.decisions.candidate(trial.candidate) == trial.candidate
        assert list(trial.candidate) == how.decisions.active(trial.candidate)
        assert Trial.from_json(json.loads(json.dumps(trial.json()))) == trial
        assert trial.split == "validation"
        assert trial.horizon == how.epochs
        assert trial.seed == 1


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_trial_is_as_long_as_the_setting_allows(case: str, setting: str) -> None:
    how = SETTINGS[setting]
    lengths = {*(how.fidelities or range(1, how.epochs)), how.epochs}
    told: dict[int, Trial] = {}
    for event in once(case, setting, 8):
        if isinstance(event, Result) and event.outcome is Outcome.COMPLETED:
            told[event.trial_id] = asks(list(once(case, setting, 8)))[event.trial_id]
        elif isinstance(event, Trial):
            assert event.epochs in lengths or (event.epochs == 0 and how.space is not None)
            if event.parent is not None:
                parent = told[event.parent]  # it has completed
                assert (parent.candidate, parent.seed) == (event.candidate, event.seed)
                assert parent.epochs < event.epochs


@pytest.mark.parametrize(("setting", "slots"), PLACES)
def test_a_seed_is_a_seed(case: str, setting: str, slots: int) -> None:
    assert tuple(simulate(make(case, setting), slots, trials=length(slots))) == once(case, setting, slots)
    if setting != "three":
        assert asks(list(once(case, setting, slots, seed=2))) != asks(list(once(case, setting, slots)))


@pytest.mark.parametrize("setting", SETTINGS)
def test_propose_is_pure(case: str, setting: str) -> None:
    strategy = make(case, setting)
    for event in once(case, setting, 4):
        draw = Draw(1, strategy.next_id)
        assert strategy.propose(draw) == strategy.propose(draw)
        strategy.propose(draw.again())
        if isinstance(event, Trial):
            assert strategy.propose(draw) == event
            strategy.hear(event)
        elif event is not None:
            strategy.tell(event)


@pytest.mark.parametrize(("setting", "slots"), [("cells", 1), ("cells", 5), ("numbers", 3), ("rungs", 3), ("three", 2)])
def test_is_restored_by_hearing_its_history(case: str, setting: str, slots: int) -> None:
    events = list(once(case, setting, slots))
    for cut in range(0, len(events), 3):
        strategy = make(case, setting)
        hear(strategy, as_a_journal_has_them(events[:cut]))
        for event in events[cut : cut + 8]:
            if isinstance(event, Result):
                strategy.tell(event)
            else:
                assert strategy.ask() == event


def as_a_journal_has_them(events: list[Event]) -> list[Event]:
    """Written as JSON and read again; that there was nothing to ask is not written."""
    read: list[Event] = []
    for event in events:
        if event is not None:
            record = json.loads(json.dumps(event.json()))
            read.append(Trial.from_json(record) if isinstance(event, Trial) else Result.from_json(record))
    return read


@cache
def rounds(case: str, setting: str, size: int) -> tuple[tuple[Event, ...], ...]:
    """The events of each round of a search in batches, which a test may read and not change."""
    return tuple(map(tuple, batches(make(case, setting), size, trials=size + TRIALS // 2)))


@pytest.mark.parametrize(("setting", "size"), BATCHES)
def test_a_batch_is_a_batch(case: str, setting: str, size: int) -> None:
    """Valid, numbered, and the same again; who expects one ask is asked as if nothing had been said."""
    found = rounds(case, setting, size)
    trials = [trial for events in found for trial in asks(list(events))]
    assert [trial.id for trial in trials] == list(range(len(trials)))
    for trial in trials:
        assert SETTINGS[setting].decisions.candidate(trial.candidate) == trial.candidate
    if size == 1:
        assert trials[:8] == asks(simulate(make(case, setting), 1, trials=8))
    else:
        again = batches(make(case, setting), size, trials=size + TRIALS // 2)
        assert tuple(map(tuple, again)) == found


@pytest.mark.parametrize(("setting", "size"), BATCHES[1:])
def test_is_restored_within_a_batch(case: str, setting: str, size: int) -> None:
    """Whoever hears the same asks, tells and announcements goes on alike; before a batch that is as it went on."""
    found = rounds(case, setting, size)
    heard = [event for events in found[:-1] for event in events]
    last = asks(list(found[-1]))
    for cut in (0, len(last) // 2):
        restored = []
        for _ in range(2):
            strategy = make(case, setting)
            hear(strategy, as_a_journal_has_them([*heard, *last[:cut]]))
            strategy.expect(size - cut)
            restored.append([trial for _ in range(size - cut) if (trial := strategy.ask()) is not None])
        assert restored[0] == restored[1]
        assert cut or restored[0] == last
        assert [trial.id for trial in restored[0]] == list(range(last[0].id + cut, last[0].id + cut + len(restored[0])))


@pytest.mark.parametrize(("setting", "size"), BATCHES[1:])
def test_nothing_is_tried_twice_in_a_batch(case: str, setting: str, size: int) -> None:
    strategy = Deduplicate(make(case, setting))
    trials = [trial for events in batches(strategy, size, trials=size + 1) for trial in asks(events)]
    assert len({(trial.candidate, trial.epochs) for trial in trials}) == len(trials) >= size


def test_what_is_announced_and_does_not_come_does_no_harm(case: str) -> None:
    """A budget ends, another arm takes its turn, a user's trial comes between: the rest is asked as ever."""
    strategy = Enqueue(make(case, "numbers"))
    trials = asks(simulate(strategy, 3))
    strategy.expect(50)
    found = [strategy.ask() for _ in range(3)]
    strategy.enqueue(SETTINGS["numbers"].decisions.sample(Random(99)))
    found += [strategy.ask() for _ in range(3)]
    strategy.tell(answer(trials[0]))
    found += [strategy.ask(), strategy.ask()]
    known = [trial for trial in found if trial is not None]
    assert [trial.id for trial in known] == list(range(len(trials), len(trials) + len(known)))
    assert len({trial.candidate for trial in known if trial.epochs == known[0].epochs}) > len(known) // 2


def test_what_is_not_charged_is_no_news(case: str) -> None:
    def lost_first(strategy: Strategy) -> Callable[[Trial], Result]:
        def respond(trial: Trial) -> Result:
            strategy.tell(Result(trial.id, 1, Outcome.LOST))
            strategy.tell(Result(trial.id, 2, Outcome.STOPPED))
            return answer(trial)

        return respond

    strategy = make(case)
    assert asks(simulate(strategy, 3, lost_first(strategy))) == asks(list(once(case, "cells", 3)))


@pytest.mark.parametrize("setting", ["cells", "numbers", "rungs"])
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INFEASIBLE])
def test_lives_with_nothing_but_failures(case: str, setting: str, outcome: Outcome) -> None:
    events = simulate(make(case, setting), 3, lambda trial: ended(trial, outcome))
    assert len(asks(events)) > 10


@pytest.mark.parametrize("setting", ["cells", "numbers", "rungs"])
def test_minimises_as_it_maximises(case: str, setting: str) -> None:
    up, down = (asks(simulate(make(case, setting, objectives=(goal,)), 2)) for goal in (ACCURACY, LOSS))
    assert [(trial.candidate, trial.epochs) for trial in up] == [(trial.candidate, trial.epochs) for trial in down]


SCALES: dict[str, Callable[[float], float]] = {
    "alike": lambda value: 0.5,
    "tiny": lambda value: 1e-12 * value,
    "huge": lambda value: 1e12 * (value - 0.3),
    "wild": lambda value: [value, float("inf"), float("-inf"), float("nan"), 1e300, -1e300][int(value * 60) % 6],
}


@pytest.mark.parametrize("scale", SCALES)
def test_takes_numbers_of_any_size(case: str, scale: str) -> None:
    def respond(trial: Trial) -> Result:
        return ended(trial, accuracy=SCALES[scale](Random(trial.id).random()))

    assert len(asks(simulate(make(case, "numbers"), 2, respond))) > 10


def test_several_objectives_are_taken_or_refused(case: str) -> None:
    strategy: type[Strategy] = load("nas.strategies", CASES[case][0], Strategy)
    if strategy.objectives_at_most == 1:
        with pytest.raises(UserError, match=r"2 objectives .*: leave out the others"):
            make(case, objectives=(ACCURACY, LOSS))
    else:
        for setting in ("cells", "numbers", "rungs"):
            both = make(case, setting, objectives=(ACCURACY, LOSS))
            assert len(asks(simulate(both, 3))) > 10


def test_results_of_trials_it_never_asked_for_do_no_harm(case: str) -> None:
    strategy = make(case)
    strategy.tell(Result(999, 1, Outcome.COMPLETED, {"accuracy": 1.0, "loss": 0.0}))
    assert strategy.ask() == make(case).ask()


@pytest.mark.parametrize("setting", ["cells", "numbers"])
def test_lives_with_the_trials_of_others(case: str, setting: str) -> None:
    """Those of a user, and those of earlier searches, whose numbers are below 0; numbers of its own go on behind."""
    generator = Random(0)
    strategy = Enqueue(make(case, setting))  # which lets those hear who want to
    for number in (-3, -2, -1, 0):
        arm, epochs = "earlier" if number < 0 else "enqueued", strategy.setting.epochs
        trial = Trial(number, SETTINGS[setting].decisions.sample(generator), epochs, epochs, note={"arm": arm})
        strategy.hear(trial)
        strategy.tell(ended(trial, accuracy=generator.random()))
    trials = asks(simulate(strategy, 3))
    assert [trial.id for trial in trials] == list(range(1, len(trials) + 1))
    assert len(trials) > 10


@pytest.mark.parametrize("slots", [1, 3, 100])
def test_three_candidates_are_tried_once_each(case: str, slots: int) -> None:
    strategy = Deduplicate(make(case, "three"))
    trials = asks(simulate(strategy, slots))
    assert Counter(trial.candidate["letter"] for trial in trials if trial.full) == {"a": 1, "b": 1, "c": 1}
    assert strategy.ask() is None
    assert strategy.exhausted


def test_a_refused_proposal_is_followed_by_others(case: str) -> None:
    strategy = make(case, "numbers")
    simulate(strategy, 1, trials=12)
    draw, found = Draw(1, strategy.next_id), set()
    for _ in range(60):
        trial = strategy.propose(draw)
        found.add(trial and (trial.candidate, trial.epochs))
        draw = draw.again()
    assert len(found) > 5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setting", ["cells", "numbers"])
def test_hears_a_hundred_thousand_trials_in_half_a_minute(case: str, setting: str) -> None:
    """A promise to who resumes a long search: `benchmarks/replay.py` prints the figures, and those of the next ask.

    Here a fifth is heard, and what each trial takes longer than those before it goes on for all the others.
    """
    replay = import_module("benchmarks.replay")
    half = 10_000
    events = list(replay.history(make(case, setting), 2 * half, 40))

    def foretold() -> float:
        """The seconds of the processor for all, if they are a sum of a straight line and a parabola."""
        strategy = replay.with_rules(make(case, setting))
        started = time.process_time()
        hear(strategy, events[: 2 * half])
        middle = time.process_time()
        hear(strategy, events[2 * half :])
        ended = time.process_time()
        assert strategy.next_id == 2 * half
        bend = max(0.0, (ended - middle) - (middle - started)) / 2
        return (middle - started - bend) * 10 + bend * 10**2

    assert any(foretold() < 30 for _ in range(3))  # a machine with other work may slow the second half down


def test_refuses_a_name_that_is_no_option(case: str) -> None:
    with pytest.raises(TypeError):
        load("nas.strategies", CASES[case][0], Strategy)(Setting(SETTINGS["three"].decisions, (ACCURACY,)), nonsense=1)
