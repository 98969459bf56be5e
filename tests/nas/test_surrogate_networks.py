"""The strategy surrogate where there are networks: what it learns from what they are, and from what proxies say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

import nas
from nas.strategies.halving import Halving
from nas.strategies.surrogate import SurrogateSearch
from nas.strategy import Draw, Setting, Strategy
from nas.surrogates.codes import Codes
from nas.surrogates.looks import Looks
from nas.surrogates.networks import Networks
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Description, Graph, Node, Signature, Space
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

LOSS = Objective("loss", Direction.MINIMIZE)
IMAGES = Signature("image_classification")
PROXIES = ("synflow", "naswot")


@final
@dataclass(frozen=True)
class Cells(Space):
    """Five operations in a chain; what is behind them is told by `describe` alone, in closed form."""

    @property
    def decisions(self) -> Decisions:
        return Decisions({f"op{i}": Choice(tuple("abcdef")) for i in range(5)})

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        names = [str(candidate[name]) for name in self.decisions]
        nodes = tuple(Node(f"{i}", name) for i, name in enumerate(names))
        edges = tuple((f"{i}", f"{i + 1}") for i in range(4))
        size = 1000 + 37 * sum((ord(name) * 7919 + i * 104729) % 61 for i, name in enumerate(names)) ** 2
        return Description(size, 10 * size, 0, {"chain": Graph(nodes, edges)})

    def canonical(self, candidate: Candidate) -> tuple[str, ...]:
        return tuple(sorted(str(candidate[name]) for name in self.decisions))


@final
@dataclass(frozen=True)
class Few(Space):
    """Three candidates."""

    @property
    def decisions(self) -> Decisions:
        return Decisions({"letter": Choice(("a", "b", "c"))})


def of_size(candidate: Candidate) -> float:
    """The loss of a network that is at best of a certain size, wherever that comes from."""
    return abs(math.log(Cells().describe(candidate, IMAGES).parameters) - 10.5)


def ended(trial: Trial, loss: float) -> Result:
    return Result(trial.id, 1, Outcome.COMPLETED, {"loss": loss})


def searched(strategy: Strategy, trials: int, loss: Callable[[Candidate], float]) -> list[Trial]:
    asked = []
    for _ in range(trials):
        trial = strategy.ask()
        assert trial is not None
        asked.append(trial)
        strategy.tell(ended(trial, loss(trial.candidate)))
    return asked


def test_learns_from_what_networks_are() -> None:
    cells = Cells()
    blind, sighted = (Setting(cells.decisions, (LOSS,), space=cells, signature=one) for one in (None, IMAGES))
    found = {
        name: [
            min(of_size(one.candidate) for one in searched(SurrogateSearch(replace(how, seed=seed)), 20, of_size))
            for seed in range(6)
        ]
        for name, how in (("blind", blind), ("sighted", sighted))
    }
    assert sum(found["sighted"]) < 0.5 * sum(found["blind"])


def test_twins_of_what_is_known_come_last() -> None:
    cells = Cells()
    strategy = SurrogateSearch(Setting(cells.decisions, (LOSS,), space=cells, signature=IMAGES))
    trials = searched(strategy, 20, lambda candidate: -float(list(candidate.values()).count("a")))
    known = {cells.canonical(trial.candidate) for trial in trials}
    draw, keys = Draw(0, 20), []
    for _ in range(30):
        keys.append(cells.canonical(strategy.propose(draw).candidate))
        draw = draw.again()
    assert not known & set(keys)
    assert len(set(keys)) == 30


def test_features_are_of_the_network_alone() -> None:
    cells = Cells()
    decisions = cells.decisions | Decisions({"rate": Range(0.0, 1.0)})
    codes = Codes(decisions)
    networks = Networks(codes, Setting(decisions, (LOSS,), space=cells, signature=IMAGES))
    one = dict.fromkeys(cells.decisions, "a")
    rows = codes.rows([{**one, "rate": 0.1}, {**one, "rate": 0.9}, {**one, "op2": "b", "rate": 0.1}])
    seen = networks.seen(rows)
    assert np.array_equal(seen[:, : len(codes)], rows)
    assert np.array_equal(seen[0, len(codes) :], seen[1, len(codes) :])
    labels = networks.groups()[1]
    raw = (seen[2] - seen[0])[labels]
    assert raw.sum() == pytest.approx(0.0, abs=1e-9)  # ten labels of five vertices: as many are gone as came
    assert np.count_nonzero(raw) >= 3  # a lone label, one fed by another, one that feeds


def looked(trial: Trial, said: Callable[[Candidate], float] | None = None) -> Result:
    """A stand-in for a worker: what it says of a look, or the loss of a training."""
    if trial.epochs:
        return ended(trial, of_size(trial.candidate))
    metrics = (
        {"synflow": -of_size(trial.candidate), "parameters": 1.0} if said is None else {"naswot": said(trial.candidate)}
    )
    return Result(trial.id, 1, Outcome.COMPLETED, metrics)


def sized(seed: int = 0) -> Setting:
    return Setting(Cells().decisions, (LOSS,), space=Cells(), signature=IMAGES, epochs=3, seed=seed)


def test_begins_with_what_proxies_rank_highest() -> None:
    strategy = SurrogateSearch(sized(), looks=12)
    trials = []
    for _ in range(16):
        trial = strategy.ask()
        assert trial is not None
        trials.append(trial)
        strategy.tell(looked(trial))
    looks, trained = trials[:12], trials[12:]
    assert [(one.epochs, one.horizon) for one in trials] == [(0, 3)] * 12 + [(3, 3)] * 4
    best = sorted(looks, key=lambda one: of_size(one.candidate))
    assert [one.candidate for one in trained] == [one.candidate for one in best[:4]]


def test_goes_on_with_what_proxies_said() -> None:
    found: dict[str, list[float]] = {"telling": [], "nothing": []}
    for name, said in (("telling", None), ("nothing", lambda _: 0.0)):
        for seed in range(4):
            strategy = SurrogateSearch(sized(seed), looks=60)
            losses = []
            for _ in range(68):
                trial = strategy.ask()
                assert trial is not None
                strategy.tell(looked(trial, said))
                losses.append(of_size(trial.candidate) if trial.epochs else math.inf)
            found[name].append(min(losses))
    assert sum(found["telling"]) < 0.7 * sum(found["nothing"])


def test_what_proxies_said_is_seen_of_a_network_whatever_its_hyperparameters() -> None:
    cells = Cells()
    decisions = cells.decisions | Decisions({"rate": Range(0.0, 1.0)})
    codes = Codes(decisions)
    one, other = dict.fromkeys(cells.decisions, "a"), dict.fromkeys(cells.decisions, "b")
    looks = [(Candidate({**one, "rate": 0.1}), (0.75, 1.0))]
    networks = Networks(codes, Setting(decisions, (LOSS,), space=cells, signature=IMAGES), looks)
    seen = networks.seen(codes.rows([{**one, "rate": 0.9}, {**other, "rate": 0.1}]))
    assert len(networks.groups()) == 3
    assert np.array_equal(seen[:, networks.groups()[-1]], [[0.75, 1.0], [0.5, 0.5]])
    assert seen.shape[1] == networks.groups()[-1][-1] + 1


@pytest.mark.parametrize("cut", [3, 9, 14, 22])
def test_is_restored_among_its_looks(cut: int) -> None:
    unbroken = SurrogateSearch(sized(), looks=8)
    events: list[Trial | Result] = []
    running: list[Trial] = []
    asked: list[Trial] = []
    while len(asked) < 26:
        trial = unbroken.ask()
        assert trial is not None
        asked.append(trial)
        events.append(trial)
        running.append(trial)
        if len(running) == 3:
            events.append(looked(running.pop(1 if len(asked) % 2 else 0)))
            assert isinstance(events[-1], Result)
            unbroken.tell(events[-1])
    restored = SurrogateSearch(sized(), looks=8)
    for event in events:
        if isinstance(event, Result):
            restored.tell(event)
        elif event.id == cut:
            assert restored.ask() == event
        else:
            restored.hear(event)


def test_a_look_that_ends_late_is_seen() -> None:
    unbroken, restored = SurrogateSearch(sized(), looks=8), SurrogateSearch(sized(), looks=8)
    events: list[Trial | Result] = []
    for _ in range(16):
        trial = unbroken.ask()
        assert trial is not None
        events.append(trial)
        if trial.id:
            events.append(looked(trial))
            unbroken.tell(looked(trial))
    first = events[0]
    assert isinstance(first, Trial)
    events.append(looked(first))
    unbroken.tell(looked(first))
    for event in events:
        if isinstance(event, Trial):
            restored.hear(event)
        else:
            restored.tell(event)
    draws = [Draw(0, 16, proposal) for proposal in range(100)]
    assert [unbroken.propose(draw) for draw in draws] == [restored.propose(draw) for draw in draws]


def test_gives_halving_what_proxies_rank_highest() -> None:
    how = replace(sized(), epochs=9)
    strategy = Halving(how, candidates={"name": "surrogate", "looks": 12})
    trials = []
    for _ in range(14):
        trial = strategy.ask()
        assert trial is not None
        trials.append(trial)
        strategy.tell(looked(trial))
    assert [(one.epochs, one.horizon) for one in trials] == [(0, 9)] * 12 + [(1, 9)] * 2
    best = min(trials[:12], key=lambda one: of_size(one.candidate))
    assert trials[12].candidate == best.candidate


def test_trains_where_nothing_is_left_to_look_at() -> None:
    strategy = Deduplicate(SurrogateSearch(replace(sized(), space=Few(), decisions=Few().decisions), looks=50))
    trials: list[Trial] = []
    while (trial := strategy.ask()) is not None:
        trials.append(trial)
        strategy.tell(ended(trial, 1.0))
    assert [one.epochs for one in trials] == [0, 0, 0, 3, 3, 3]


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3)), min_size=2, max_size=8))
def test_ranks_are_those_of_scipy(values: list[int | None]) -> None:
    looks = Looks(["naswot"])
    for number, value in enumerate(values):
        looks.asked(Trial(number, Candidate({"a": number}), epochs=0))
        looks.told(Result(number, 1, Outcome.COMPLETED, {} if value is None else {"naswot": float(value)}))
    known = [value for value in values if value is not None]
    found = {candidate["a"]: ranks[0] for candidate, ranks in looks.ranked()}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    if len(known) > 1:
        expected = (rankdata(known) - 1) / (len(known) - 1)
        assert [found[n] for n, value in enumerate(values) if value is not None] == pytest.approx(expected)


NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"looks": -1}, "looks is -1"),
    ({"looks": 3, "proxies": ["synflo"]}, "did you mean synflow"),
    ({"looks": 3, "proxies": []}, "at least one proxy"),
]


@pytest.mark.parametrize(("options", "message"), NONSENSE)
def test_refuses_looks_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SurrogateSearch(sized(), **options)


def test_refuses_looks_without_a_space() -> None:
    with pytest.raises(UserError, match="name a space"):
        SurrogateSearch(replace(sized(), space=None), looks=3)


@pytest.mark.slow
def test_looks_at_real_networks_and_trains_the_best() -> None:
    job = {
        "task": {"name": "image_classification", "dataset": "digits", "epochs": 1, "train_examples": 200},
        "space": {"name": "pnas", "blocks": 2, "cells": 1, "filters": 4},
        "strategy": {"name": "surrogate", "looks": 4, "initial": 2},
        "budget": {"trials": 2},
        "pool": {"name": "local", "slots": 1},  # with more, a child may be chosen before the last look has ended
        "baseline": 0,
        "final": {"top": 1, "seeds": 1},
        "seed": 3,
    }
    with nas.run(job) as search:
        records = [record for record in search.trials() if record.arm in ("strategy", "proxy")]
    looks = [record for record in records if record.trial.proxy]
    trained = [record.trial.candidate for record in records if record.trial.epochs]
    assert (len(looks), len(trained)) == (4, 2)
    said = [record.result.metrics for record in looks if record.result]
    ranks = np.sum([rankdata([one[name] for one in said]) for name in PROXIES], axis=0)
    order = np.argsort(-ranks, kind="stable")
    assert trained == [looks[place].trial.candidate for place in order[:2]]
