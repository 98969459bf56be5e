"""Searches whose children share weights: the job, the rules around the strategy, and whole searches on the digits."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import final

import pytest
from stand_ins import FOLDER, VALUE, GridSpace, SumTask, Uniform, completed

from nas.driver import Ending, drive, resume, start
from nas.history import History
from nas.home import open_log
from nas.job import Job
from nas.log import Log
from nas.plan import Plan
from nas.strategies.surrogate import SurrogateSearch
from nas.strategy import Draw, Setting
from nas.summary import rescored, standing
from nas.wrappers.budget import Budget, Limits
from nas.wrappers.deduplicate import Deduplicate
from nas.wrappers.final import Final, Finale
from nas.wrappers.rescore import Rescore
from nas.wrappers.share import Share
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Json, Result, Trial

SPACE = GridSpace()
SETTING = Setting(SPACE.decisions, (VALUE,), SPACE, Signature("grid"), epochs=2, seed=7)
DIGITS: dict[str, Json] = {
    "name": "shared",
    "task": {
        "name": "image_classification",
        "dataset": "digits",
        "epochs": 1,
        "train_examples": 300,
        "batch_size": 32,
    },
    "space": {"name": "pnas", "blocks": 2, "cells": 1, "filters": 4},
    "strategy": "random",
    "weights": {"sharing": "shared", "children": 2, "rescore": 2},
    "budget": {"trials": 4},
    "pool": {"name": "local", "slots": 2},
    "final": {"top": 1, "epochs": 1},
    "seed": 3,
}


def job(**changes: Json) -> Job:
    return Job.parse({**DIGITS, **changes})


def alike(trial: Trial, number: int) -> Trial:
    return replace(trial, id=number)


def ended(trial: Trial, value: float = 0.0) -> Result:
    return completed(trial, value)


def test_a_name_or_a_mapping_says_that_weights_are_shared() -> None:
    assert not job(weights="own").weights.shared
    assert "weights" in Job.parse({"task": "image_classification", "space": "pnas"}).json()
    shared = job(weights="shared")
    assert shared.weights.shared
    assert (shared.weights.children, shared.weights.rescore) == (4, 10)
    assert Job.parse(shared.json()) == shared
    for wrong in ("common", {"sharing": "shared", "children": 0}, {"kids": 3}):
        with pytest.raises(UserError, match="weights"):
            job(weights=wrong)


def test_what_cannot_share_weights_is_refused_with_a_remedy() -> None:
    refused: dict[str, dict[str, Json]] = {
        "space layers has no supernet": {"space": "layers"},
        "trains networks of a space, but the job names none": {
            "space": None,
            "task": {**DIGITS["task"], "learning_rate": {"range": [0.01, 0.1]}},
        },
        "learning_rate is left to the search": {"task": {**DIGITS["task"], "learning_rate": {"range": [0.01, 0.1]}}},
        "set schedule: constant beside adam": {"task": {**DIGITS["task"], "optimizer": "adam"}},
        "final.top is 0": {"final": {"top": 0}},
    }
    for message, changes in refused.items():
        with pytest.raises(UserError, match=message):
            Plan.of(job(**changes))
    with pytest.raises(UserError, match="cannot train children that share weights: set weights: own"):
        SumTask().sharing_policy()


def test_workers_are_told_where_the_weights_are() -> None:
    plan = Plan.of(job(), "shared-2")
    assert plan.setup.sharing is not None
    assert plan.setup.sharing.address == f"{plan.folder}/weights"
    assert (plan.setup.sharing.children, plan.setup.sharing.seed) == (2, 3)
    assert Plan.of(job(weights="own")).setup.sharing is None


def test_every_trial_of_the_search_shares_and_the_strategy_need_not_know() -> None:
    @final
    class Listening(Uniform):
        def asked(self, trial: Trial) -> None:
            assert not trial.shared

    strategy = Share(Listening(SETTING))
    trial = strategy.ask()
    assert trial is not None
    assert trial.shared
    assert Trial.from_json(trial.json()) == trial


def test_a_candidate_is_tried_again_only_when_weights_have_changed() -> None:
    candidate = Candidate({"a": 1, "b": 2})
    strategy = Deduplicate(Uniform(SETTING), shared=True)
    first = Trial(0, candidate, 2, 2)
    strategy.hear(first)
    assert not strategy.accepts(alike(first, 1)), "it runs, and nothing has been told since"
    strategy.tell(ended(first))
    assert strategy.accepts(alike(first, 1))
    look = Trial(2, candidate, 0, 2)
    strategy.hear(look)
    strategy.tell(ended(look))
    assert not strategy.accepts(alike(look, 3)), "a look changes no weights"
    strategy.hear(alike(first, 4))
    strategy.tell(Result(4, 1, Outcome.FAILED))
    assert strategy.accepts(alike(look, 5)), "a training that failed may have changed them"
    own = Deduplicate(Uniform(SETTING))
    own.hear(first)
    own.tell(ended(first))
    assert not own.accepts(alike(first, 1))


def search(strategy: Final, values: dict[int, float]) -> list[Trial]:
    """All that is asked; a search trial's value is that of its number, a later one's that of what it is `of`."""
    trials: list[Trial] = []
    while (trial := strategy.ask()) is not None:
        trials.append(trial)
        of = trial.note.get("of", trial.id)
        value = values.get(of, 0.0)
        strategy.tell(ended(trial, 10 - value if trial.note.get("arm") == "rescore" else value))
    assert strategy.exhausted
    return trials


def sharing(trials: int, count: int) -> Final:
    limited = Budget(Share(Deduplicate(Uniform(SETTING), shared=True)), Limits(trials=trials), lambda: 0.0)
    return Final(Rescore(limited, count), Finale(top=1, epochs=3))


def test_the_best_are_scored_again_and_the_best_of_these_is_retrained_alone() -> None:
    """Here a score of the search says the opposite of what is found at the end."""
    trials = search(sharing(trials=6, count=3), {0: 1.0, 1: 5.0, 2: 4.0, 3: 6.0})
    again = [trial for trial in trials if trial.note.get("arm") == "rescore"]
    assert [trial.note["of"] for trial in again] == [3, 1, 2]
    assert all(trial.shared and (trial.epochs, trial.horizon) == (0, 2) and not trial.proxy for trial in again)
    assert [trial.candidate for trial in again] == [trials[number].candidate for number in (3, 1, 2)]
    retrained, test = trials[-2:]
    assert (retrained.note["arm"], retrained.note["of"], retrained.shared, retrained.epochs) == ("final", 2, False, 3)
    assert retrained.candidate == trials[2].candidate
    assert (test.split, test.parent, test.shared) == ("test", retrained.id, False)


def test_a_search_that_goes_on_scores_its_best_afresh() -> None:
    strategy = sharing(trials=3, count=2)
    before = search(strategy, {0: 3.0, 1: 2.0, 2: 1.0})
    strategy.extend({"budget": {"trials": 4}})
    after = search(strategy, {0: 3.0, 1: 2.0, 2: 1.0, len(before): 2.5})
    again = [trial for trial in after if trial.note.get("arm") == "rescore"]
    assert [trial.note["of"] for trial in again] == [0, len(before)]
    assert after[-2].note["of"] == len(before), "of the last round only: 10 - 2.5 is more than 10 - 3"


def test_scoring_again_costs_no_budget_and_waits_for_the_whole_search() -> None:
    strategy = sharing(trials=2, count=5)
    first, second = strategy.ask(), strategy.ask()
    assert first is not None
    assert second is not None
    strategy.tell(ended(first, 1.0))
    assert strategy.ask() is None
    strategy.tell(ended(second, 2.0))
    third = strategy.ask()
    assert third is not None
    assert third.note["arm"] == "rescore"


def test_a_surrogate_can_begin_from_looks_at_shared_weights() -> None:
    accuracy = Objective("accuracy", Direction.MAXIMIZE)
    space = PnasSpace(blocks=2)
    signature = Signature("image_classification", {"image": (1, 8, 8)}, {"logits": (10,)})
    setting = Setting(space.decisions, (accuracy,), space, signature, epochs=2)
    strategy = Share(SurrogateSearch(setting, looks=6, proxies=("accuracy",)))
    looks: dict[Candidate, float] = {}
    for number in range(6):
        trial = strategy.ask()
        assert trial is not None
        assert (trial.epochs, trial.shared, trial.proxy, trial.look) == (0, True, False, True)
        looks[trial.candidate] = number / 10
        strategy.tell(Result(trial.id, 1, Outcome.COMPLETED, {"accuracy": number / 10}))
    first = strategy.propose(Draw(0, 6))
    assert first is not None
    assert first.epochs == 2
    assert first.candidate == max(looks, key=lambda one: looks[one])
    with pytest.raises(UserError, match="no proxy"):
        SurrogateSearch(setting, looks=6, proxies=("loss",))


@pytest.fixture
def log() -> Iterator[Log]:
    with closing(open_log()) as opened:
        yield opened


def history_of(log: Log, search: str) -> History:
    return History.of(log.entries(search))


HERE: dict[str, Json] = {"pool": "stand_ins:Instant", "folder": FOLDER}  # in this process, without torch's start
SEARCHES: dict[str, dict[str, Json]] = {
    "random": {"strategy": "random"},
    "evolution": {"strategy": {"name": "evolution", "population": 2, "sample": 2}, **HERE},
    "reinforce": {"strategy": {"name": "reinforce", "batch": 2, "hidden": 8}, **HERE},
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_whole_search_with_shared_weights(name: str, log: Log) -> None:
    began = start(job(baseline=0.25, **SEARCHES[name]), log)
    ending = drive(began, log)
    assert ending == Ending(began, "finished", "the budget of 4 trials is spent")
    history = history_of(log, began)
    arms = {arm: len(records) for arm, records in history.arms().items()}
    assert arms == {"strategy": 3, "baseline": 1, "rescore": 2, "final": 1, "test": 1}
    updates = [one.result.metrics["updates"] for one in history.searched() if one.result is not None]
    steps = 5  # ten batches, two to a step
    assert all(one >= steps for one in updates)
    again = rescored(history, Plan.of(job()).objectives)
    assert [one.result.metrics["updates"] for one in again if one.result is not None] == [4 * steps] * 2
    stands = standing(log.header(began), history)
    assert stands["weights"] == "shared"
    assert [one["trial"] for one in stands["rescored"]] == [one.trial.id for one in again]
    retrained = next(one for one in history.trials.values() if one.arm == "final")
    assert retrained.trial.note["of"] == again[0].trial.note["of"]
    assert retrained.result is not None
    assert "updates" not in retrained.result.metrics
    assert retrained.result.checkpoint is not None


def test_a_search_that_is_resumed_goes_on_with_its_weights(log: Log) -> None:
    began = start(job(**HERE), log)
    drive(began, log)
    resume(began, log, {"budget": {"trials": 6}})
    again = rescored(history_of(log, began), Plan.of(job()).objectives)
    assert [one.result.metrics["updates"] for one in again if one.result is not None] == [6 * 5] * 2


KILLED = """
import os, signal, sys
from nas.driver import drive
from nas.home import open_log
from parameter_server.clients.client import ShardedStore

plain, left = ShardedStore.push, int(sys.argv[2])

def push(*arguments):
    global left
    answer = plain(*arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

ShardedStore.push = push
drive(sys.argv[1], open_log())
"""


@pytest.mark.slow
@pytest.mark.parametrize("pushes", [7, 14])
def test_a_driver_and_a_worker_that_are_killed_lose_no_push_and_repeat_none(pushes: int, log: Log) -> None:
    """In the middle of a trial, right after a push was acknowledged."""
    began = start(job(**HERE), log)
    dead = subprocess.run([sys.executable, "-c", KILLED, began, str(pushes)], cwd=FOLDER, check=False)
    assert dead.returncode == -signal.SIGKILL
    assert resume(began, log, force=True).state == "finished"
    history = history_of(log, began)
    assert max(record.attempts for record in history.searched()) == 2
    again = rescored(history, Plan.of(job()).objectives)
    assert [one.result.metrics["updates"] for one in again if one.result is not None] == [4 * 5] * 2


def test_a_search_does_not_begin_from_scores_of_shared_weights(log: Log) -> None:
    began = start(job(budget={"trials": 1}, **HERE), log)
    drive(began, log)
    for weights in ("own", "shared"):
        with pytest.raises(UserError, match="scores of shared weights cannot be compared"):
            start(job(weights=weights, warm_start=[began], **HERE), log)
