"""What every strategy in the folder promises, through a search without machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

import pytest

from nas.strategy import Draw, Setting, Strategy
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Decisions
from search_spaces.pnas import PnasSpace
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.plugins import available, load
from workers.trial import Result, Trial

Event: TypeAlias = Trial | Result | None

SPACE = PnasSpace(blocks=3, operations=("identity", "max_pool_3x3"))
RECIPE = Decisions(
    {
        "optimizer": Choice(("sgd", "adam")),
        "rate": Range(1e-4, 0.5, log=True),
        "momentum": Range(0.0, 0.99, when=When.equals("optimizer", "sgd")),
    }
)
ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
LOSS = Objective("loss", Direction.MINIMIZE)
OPTIONS: dict[str, dict[str, Any]] = {"pnas": {"beam": 4, "members": 2, "surrogate": "mlp"}}
TRIALS = 24

STRATEGIES = sorted(available("nas.strategies", Strategy))
pytestmark = pytest.mark.parametrize("name", STRATEGIES)


def make(name: str, objective: Objective = ACCURACY, seed: int = 1) -> Strategy:
    decisions = SPACE.decisions | RECIPE
    setting = Setting(decisions, (objective,), space=SPACE, epochs=3, seed=seed)
    strategy: Strategy = load("nas.strategies", name, Strategy)(setting, **OPTIONS.get(name, {}))
    return strategy


def answer(trial: Trial) -> Result:
    """Deterministic, and now and then no success."""
    generator = Random(trial.id)
    outcome = generator.choices([Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE], [8, 1, 1])[0]
    value = generator.random()
    metrics = {"accuracy": value, "loss": 1 - value} if outcome is Outcome.COMPLETED else {}
    return Result(trial.id, 1, outcome, metrics)


def simulate(strategy: Strategy, slots: int, respond: Callable[[Trial], Result] = answer) -> list[Event]:
    """A search on `slots` machines: what was asked (None too) and told."""
    events: list[Event] = []
    running: list[Trial] = []
    generator, asked = Random(slots), 0
    while True:
        while len(running) < slots and asked < TRIALS:
            events.append(trial := strategy.ask())
            if trial is None:
                assert running or strategy.exhausted, "nothing to do, nothing awaited, and not exhausted"
                break
            running.append(trial)
            asked += 1
        if not running:
            return events
        events.append(result := respond(running.pop(generator.randrange(len(running)))))
        strategy.tell(result)


def asks(events: list[Event]) -> list[Trial]:
    return [event for event in events if isinstance(event, Trial)]


@pytest.mark.parametrize("slots", [1, 8, 100])
def test_trials_are_valid_numbered_and_plain_json(name: str, slots: int) -> None:
    strategy = make(name)
    trials = asks(simulate(strategy, slots))
    assert trials
    assert [trial.id for trial in trials] == list(range(len(trials)))
    for trial in trials:
        assert strategy.setting.decisions.candidate(trial.candidate) == trial.candidate
        assert list(trial.candidate) == strategy.setting.decisions.active(trial.candidate)
        assert Trial.from_json(json.loads(json.dumps(trial.json()))) == trial
        assert trial.split == "validation"
        assert trial.horizon >= trial.epochs


@pytest.mark.parametrize("slots", [1, 8])
def test_a_seed_is_a_seed(name: str, slots: int) -> None:
    assert simulate(make(name), slots) == simulate(make(name), slots)
    assert asks(simulate(make(name, seed=2), slots)) != asks(simulate(make(name), slots))


def test_propose_is_pure(name: str) -> None:
    strategy = make(name)
    for event in simulate(make(name), slots=4):
        draw = Draw(1, strategy.next_id)
        assert strategy.propose(draw) == strategy.propose(draw)
        strategy.propose(draw.again())
        if isinstance(event, Trial):
            assert strategy.propose(draw) == event
            strategy.hear(event)
        elif event is not None:
            strategy.tell(event)


@pytest.mark.parametrize("slots", [1, 5])
def test_is_restored_by_hearing_its_history(name: str, slots: int) -> None:
    events = simulate(make(name), slots)
    for cut in range(0, len(events), 3):
        strategy = make(name)
        for event in events[:cut]:
            if isinstance(event, Trial):
                strategy.hear(event)
            elif event is not None:
                strategy.tell(event)
        for event in events[cut : cut + 8]:
            if isinstance(event, Result):
                strategy.tell(event)
            else:
                assert strategy.ask() == event


def test_what_is_not_charged_is_no_news(name: str) -> None:
    def lost_first(strategy: Strategy) -> Callable[[Trial], Result]:
        def respond(trial: Trial) -> Result:
            strategy.tell(Result(trial.id, 1, Outcome.LOST))
            strategy.tell(Result(trial.id, 2, Outcome.STOPPED))
            return answer(trial)

        return respond

    strategy = make(name)
    assert asks(simulate(strategy, 3, lost_first(strategy))) == asks(simulate(make(name), 3))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INFEASIBLE])
def test_lives_with_nothing_but_failures(name: str, outcome: Outcome) -> None:
    events = simulate(make(name), 3, lambda trial: Result(trial.id, 1, outcome))
    assert len(asks(events)) > 10


def test_minimises_as_it_maximises(name: str) -> None:
    up, down = (asks(simulate(make(name, objective), 2)) for objective in (ACCURACY, LOSS))
    assert len(up) == len(down)
    assert [trial.candidate for trial in up][:3] == [trial.candidate for trial in down][:3]


def test_several_objectives_are_taken_or_refused(name: str) -> None:
    strategy: type[Strategy] = load("nas.strategies", name, Strategy)
    setting = Setting(SPACE.decisions, (ACCURACY, LOSS), space=SPACE)
    if strategy.objectives_at_most == 1:
        with pytest.raises(UserError, match="2 objectives"):
            strategy(setting)
    else:
        assert strategy(setting).ask() is not None


def test_results_of_trials_it_never_asked_for_do_no_harm(name: str) -> None:
    strategy = make(name)
    strategy.tell(Result(999, 1, Outcome.COMPLETED, {"accuracy": 1.0, "loss": 0.0}))
    assert strategy.ask() == make(name).ask()
