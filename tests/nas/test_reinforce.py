"""The strategy: batches, replicas, what is paid, what is remembered, and that it learns."""

from __future__ import annotations

import csv
import gzip
import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from controlling import DOWN, TABLE, UP, everything, make, told, worth
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.controllers.learning import PRESETS
from nas.controllers.lstm import Array
from nas.controllers.replica import Batch, Replica
from nas.strategies.reinforce import Reinforce
from nas.strategy import Draw, Setting
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Objective, Outcome
from workers.trial import Result, Trial


def play(strategy: Reinforce, trials: int, respond: Callable[[Trial], Result] = told) -> list[Trial]:
    """One worker."""
    asked = []
    for _ in range(trials):
        asked.append(trial := strategy.ask())
        assert trial is not None
        strategy.tell(respond(trial))
    return asked  # type: ignore[return-value]


def parameters(strategy: Reinforce) -> Mapping[str, Array]:
    """Those of the next batch."""
    strategy.propose(Draw(0, 10**6))
    return strategy._members[0].store.pull().tensors


def notes(trials: list[Trial], name: str) -> list[Any]:
    return [trial.note[name] for trial in trials]


def test_one_worker_serves_the_replicas_batch_by_batch() -> None:
    trials = play(make(replicas=2), 14)
    assert notes(trials, "replica") == [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0]
    assert notes(trials, "batch") == [0] * 6 + [1] * 6 + [2] * 2
    assert notes(trials, "version") == [0] * 3 + [2] * 3 + [4] * 3 + [6] * 3 + [8] * 2  # two epochs each


def test_who_waits_for_the_fewest_batches_samples_next() -> None:
    strategy = make(replicas=2, algorithm="reinforce")
    first = [strategy.ask() for _ in range(7)]
    assert [t.note["replica"] for t in first if t] == [0, 0, 0, 1, 1, 1, 0]
    for trial in first[3:6]:
        assert trial is not None
        strategy.tell(told(trial))
    rest = [strategy.ask() for _ in range(5)]  # replica 0 waits for two batches, 1 for none
    assert [(t.note["replica"], t.note["batch"], t.note["version"]) for t in rest if t] == [
        *[(0, 1, 0)] * 2,
        *[(1, 1, 1)] * 3,
    ]


def test_a_replica_that_waits_is_passed_over() -> None:
    strategy = make(replicas=2)
    asked = []
    for _ in range(12):
        asked.append(trial := strategy.ask())
        assert trial is not None
        if trial.note["replica"] == 0:
            strategy.tell(told(trial))
    assert [(t.note["replica"], t.note["batch"]) for t in asked[::3] if t] == [(0, 0), (1, 0), (0, 1), (0, 2)]


@given(st.randoms(use_true_random=False), st.integers(1, 3), st.integers(1, 9), st.sampled_from(["ppo", "reinforce"]))
@settings(max_examples=15)
def test_any_interleaving_is_restored_by_hearing(generator: Random, replicas: int, slots: int, algorithm: str) -> None:
    options: dict[str, Any] = {"replicas": replicas, "algorithm": algorithm}
    strategy, running = make(**options), list[Trial]()
    events: list[Trial | Result] = []
    for _ in range(40):
        if len(running) < slots and generator.random() < 0.6:
            events.append(trial := strategy.ask())  # type: ignore[arg-type]
            assert trial is not None
            running.append(trial)
        elif running:
            trial = running.pop(generator.randrange(len(running)))
            outcome = generator.choices([Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE], [8, 1, 1])[0]
            events.append(result := told(trial, outcome=outcome))
            strategy.tell(result)
    cut = generator.randrange(len(events) + 1)
    restored = make(**options)
    for number, event in enumerate(events):
        if isinstance(event, Result):
            restored.tell(event)
        elif number < cut:
            restored.hear(event)
        else:
            assert restored.ask() == event
    ours, theirs = parameters(strategy), parameters(restored)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
    batches = Counter((t.note["replica"], t.note["batch"]) for t in events if isinstance(t, Trial))
    assert sorted(batches.values())[1:] == [3] * (len(batches) - 1)  # only one is being filled
    versions = {(t.note["replica"], t.note["batch"], t.note["version"]) for t in events if isinstance(t, Trial)}
    assert len(versions) == len(batches)


def test_hearing_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = play(make(), 12)
    lessons: list[Batch] = []
    monkeypatch.setattr(Replica, "learn", lambda self, batch: lessons.append(batch))
    monkeypatch.setattr(Reinforce, "_created", lambda self: pytest.fail("heard, not asked"))
    strategy = make()
    for trial in trials:
        strategy.hear(trial)
        strategy.tell(told(trial))
    monkeypatch.undo()
    monkeypatch.setattr(Replica, "learn", lambda self, batch: lessons.append(batch))
    strategy.propose(Draw(0, 12))
    strategy.propose(Draw(0, 12))
    assert [batch.number for batch in lessons] == [0, 1, 2, 3]
    assert [len(batch.candidates) for batch in lessons] == [3] * 4
    assert [p for batch in lessons for p in batch.log_probabilities] == notes(trials, "log_probability")


def test_a_note_says_how_likely_the_sample_was() -> None:
    strategy = make()
    at = parameters(strategy)
    for _ in range(8):
        at = at if strategy._batches.filling else parameters(strategy)
        trial = strategy.ask()
        assert trial is not None
        controller = strategy._members[0].controller
        log_p = controller.unroll(at, controller.tokens([trial.candidate])).log_probabilities[0]
        assert trial.note["log_probability"] == pytest.approx(log_p, abs=1e-5)
        strategy.tell(told(trial))


def test_the_gradient_belongs_to_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons: list[Batch] = []
    monkeypatch.setattr(Replica, "learn", lambda self, batch: lessons.append(batch))
    strategy = make()
    wrapped = Deduplicate(strategy)
    trials = []
    for _ in range(10):
        trials.append(trial := wrapped.ask())
        assert trial is not None
        wrapped.tell(told(trial))
    assert len({trial.candidate for trial in trials if trial}) == 10
    strategy.propose(Draw(0, 10))
    assert [c for batch in lessons for c in batch.candidates] == [t.candidate for t in trials[:9] if t]


def test_each_child_gets_its_own_reward_in_whatever_order_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lessons: list[Batch] = []
    monkeypatch.setattr(Replica, "learn", lambda self, batch: lessons.append(batch))
    strategy = make(reward="plain")
    asked = [trial for _ in range(6) if (trial := strategy.ask()) is not None]
    for place in (4, 2, 1, 5, 0, 3):
        strategy.tell(told(asked[place], float(place)))
    strategy.propose(Draw(0, 6))
    assert [batch.rewards for batch in lessons] == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert [batch.candidates for batch in lessons] == [[t.candidate for t in asked[k : k + 3]] for k in (0, 3)]


def test_a_controller_that_has_settled_still_finds_what_is_new() -> None:
    wrapped = Deduplicate(make(learning_rate=0.5, hidden=20, epochs=20))
    everywhere = everything()
    found = set()
    while (trial := wrapped.ask()) is not None:
        found.add(trial.candidate)
        wrapped.tell(told(trial))
    assert found == set(everywhere)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INFEASIBLE])
def test_what_fails_is_paid_as_the_worst(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    lessons: list[Batch] = []
    monkeypatch.setattr(Replica, "learn", lambda self, batch: lessons.append(batch))
    strategy = make(batch=2, reward="plain", objective=DOWN)
    answers = [(1.0, Outcome.COMPLETED), (7.0, Outcome.COMPLETED), (3.0, Outcome.COMPLETED), (0.0, outcome)]
    answers += [(math.nan, Outcome.COMPLETED), (9.0, Outcome.COMPLETED)]
    for value, how in answers:
        trial = strategy.ask()
        assert trial is not None
        strategy.tell(told(trial, value, how))
    strategy.propose(Draw(0, 6))
    assert [list(batch.rewards) for batch in lessons] == [[-1, -7], [-3, -7], [-9, -9]]


def test_while_everything_fails_nothing_is_learned() -> None:
    strategy = make(entropy=1.0)
    before = parameters(strategy)
    play(strategy, 9, lambda trial: told(trial, outcome=Outcome.FAILED))
    assert strategy._members[0].baseline.value is None
    for name, value in parameters(strategy).items():
        np.testing.assert_array_equal(value, before[name])


def test_it_learns_to_avoid_what_fails() -> None:
    def respond(trial: Trial) -> Result:
        return told(trial, outcome=Outcome.INFEASIBLE if trial.candidate["kind"] == "b" else Outcome.COMPLETED)

    trials = play(make(hidden=20, batch=6, epochs=4), 300, respond)
    assert Counter(t.candidate["kind"] for t in trials[-60:])["b"] < 6  # 20 by chance


@pytest.mark.parametrize("reward", ["rank", "plain"])
@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_it_learns_what_is_worth_more(algorithm: str, reward: str) -> None:
    options: dict[str, Any] = {"hidden": 20, "batch": 6, "epochs": 4 if algorithm == "ppo" else 1, "replicas": 2}
    for seed in range(3):
        trials = play(make(seed=seed, algorithm=algorithm, reward=reward, **options), 360)
        assert fmean(worth(t.candidate) for t in trials[-60:]) > 3.0
    assert fmean(worth(TABLE.sample(Random(draw))) for draw in range(300)) < 2.0


def test_ranks_know_no_scale() -> None:
    def asked(objective: Objective, of: Callable[[float], float]) -> list[Candidate]:
        trials = play(make(objective), 60, lambda trial: told(trial, of(worth(trial.candidate))))
        return [trial.candidate for trial in trials]

    plain = asked(UP, lambda value: value)
    assert asked(UP, lambda value: math.exp(20 * value)) == plain
    assert asked(DOWN, lambda value: 5 - 1e-6 * value) == plain


def test_options_count_more_than_the_preset() -> None:
    strategy = Reinforce(Setting(TABLE, (UP,)), preset="zoph2017", hidden=7, entropy=0.5)
    assert strategy.learning.hidden == 7
    assert strategy.learning.entropy == 0.5
    assert strategy.learning.layers == PRESETS["zoph2017"].layers
    assert Reinforce(Setting(TABLE, (UP,)), preset="nasnet2018").learning == PRESETS["nasnet2018"]


@pytest.mark.parametrize(
    ("options", "objective", "message"),
    [
        ({"preset": "enas"}, UP, "preset is 'enas', but strategy reinforce knows zoph2017, nasnet2018"),
        ({"replicas": 0}, UP, "replicas is 0, but strategy reinforce needs at least 1"),
        ({"preset": "zoph2017"}, DOWN, "reward cubed is for a metric to maximize"),
        ({"hidden": 0}, UP, "hidden is 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], objective: Objective, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Reinforce(Setting(TABLE, (objective,)), **options)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "gain"), [("zoph2017", 0.4), ("nasnet2018", 2.5)])
def test_the_last_100_cells_of_500_are_better_than_the_average(preset: str, gain: float, data_root: Path) -> None:
    edges = [f"op{edge}" for edge in range(6)]
    with gzip.open(data_root / "nb201" / "nb201.csv.gz", "rt") as file:
        table = {tuple(int(row[e]) for e in edges): float(row["c10_val200_s0"]) for row in csv.DictReader(file)}
    decisions = Decisions(dict.fromkeys(edges, Choice((0, 1, 2, 3, 4))))
    last: list[float] = []
    for seed in range(40):
        strategy = Reinforce(Setting(decisions, (UP,), seed=seed), preset=preset)
        trials = play(strategy, 500, lambda t: told(t, table[tuple(int(t.candidate[e]) for e in edges)]))
        last += (table[tuple(int(trial.candidate[e]) for e in edges)] for trial in trials[-100:])
    assert fmean(last) > fmean(table.values()) + gain
