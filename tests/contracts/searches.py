"""What strategies are set to search in their contract tests, and a search without machines or a journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any, TypeAlias

from nas.strategy import Setting, Strategy
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Decisions
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
NUMBERS = Decisions(
    {
        "depth": Range(1, 6, integer=True),
        "width": Choice((16, 32, 64, 128), ordered=True),
        "pooling": Choice(("max", "mean", "none")),
        "window": Choice((2, 3), when=When.among("pooling", "max", "mean"), ordered=True),
        "dropout": Range(0.0, 0.7, when=When.at_least("depth", 3)),
        "rate": Range(1e-5, 1.0, log=True),
        "only": Choice(("one",)),
    }
)
ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
LOSS = Objective("loss", Direction.MINIMIZE)  # the accuracy with its sign changed: the same search, minimised
SETTINGS: dict[str, Setting] = {
    "cells": Setting(SPACE.decisions | RECIPE, (ACCURACY,), space=SPACE, epochs=3),
    "numbers": Setting(NUMBERS, (ACCURACY,)),
    "rungs": Setting(NUMBERS, (ACCURACY,), epochs=9, fidelities=(1, 3)),
    "three": Setting(Decisions({"letter": Choice(("a", "b", "c"))}), (ACCURACY,)),
}
TRIALS = 24
STRATEGIES = sorted(available("nas.strategies", Strategy))
OPTIONS: dict[str, dict[str, Any]] = {
    "pnas": {"beam": 4, "members": 2, "surrogate": "mlp"},
    "reinforce": {"batch": 4, "hidden": 16, "learning_rate": 0.03},
}
FURTHER: dict[str, list[dict[str, Any]]] = {  # options of a strategy with which it goes through everything again
    "halving": [{"brackets": 2}, {"candidates": "evolution"}],
    "local_search": [{"step": "best"}],
    "optuna": [{"sampler": "nsgaii"}],
    "reinforce": [{"algorithm": "reinforce", "replicas": 3}],
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    name + "".join(f"-{value}" for value in further.values()): (name, {**OPTIONS.get(name, {}), **further})
    for name in STRATEGIES
    for further in ({}, *FURTHER.get(name, []))
}


def make(case: str, setting: Setting | str = "cells", **changes: Any) -> Strategy:
    """The strategy of a case; `changes` are other fields of the setting."""
    name, options = CASES[case]
    known = SETTINGS[setting] if isinstance(setting, str) else setting
    strategy: Strategy = load("nas.strategies", name, Strategy)(replace(known, **{"seed": 1, **changes}), **options)
    return strategy


def answer(trial: Trial) -> Result:
    """Deterministic, and now and then no success."""
    generator = Random(trial.id)
    outcome = generator.choices([Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE], [8, 1, 1])[0]
    return ended(trial, outcome, generator.random())


def ended(trial: Trial, outcome: Outcome = Outcome.COMPLETED, accuracy: float = 0.5) -> Result:
    """A result of the first attempt, with metrics if it completed; a proxy has none that is an objective."""
    trained = outcome is Outcome.COMPLETED and trial.epochs > 0
    metrics: Mapping[str, float] = {"accuracy": accuracy, "loss": -accuracy} if trained else {}
    return Result(trial.id, 1, outcome, metrics, trial.epochs)


def simulate(
    strategy: Strategy, slots: int, respond: Callable[[Trial], Result] = answer, trials: int = TRIALS
) -> list[Event]:
    """A search of so many trials on `slots` machines, which finish in any order: what was asked (None too) and told."""
    events: list[Event] = []
    running: list[Trial] = []
    generator, asked = Random(slots), 0
    while True:
        while len(running) < slots and asked < trials:
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


def batches(
    strategy: Strategy, size: int, respond: Callable[[Trial], Result] = answer, trials: int = TRIALS
) -> list[list[Event]]:
    """A search whose machines all wait for each other: each round is asked, as announced, and then told."""
    rounds: list[list[Event]] = []
    while sum(len(asks(events)) for events in rounds) < trials:
        strategy.expect(size)
        events: list[Event] = []
        while len(events) < size and (trial := strategy.ask()) is not None:
            events.append(trial)
        if not events:
            break
        for trial in asks(events):
            events.append(result := respond(trial))
            strategy.tell(result)
        rounds.append(events)
    return rounds


def asks(events: list[Event]) -> list[Trial]:
    """The trials among the events."""
    return [event for event in events if isinstance(event, Trial)]


def hear(strategy: Strategy, events: list[Event]) -> None:
    """Let a strategy live through `events`."""
    for event in events:
        if isinstance(event, Trial):
            strategy.hear(event)
        elif event is not None:
            strategy.tell(event)
