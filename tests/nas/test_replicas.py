"""Replicas over a store that outlives their driver: every batch counts once, whenever a driver dies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pytest
from controlling import TABLE, UP, drawn, everything, make, told

from nas.controllers import shared
from nas.controllers.controller import Controller
from nas.controllers.learner import Learner
from nas.controllers.learning import Learning
from nas.controllers.lesson import Lesson
from nas.controllers.policy_gradient import reinforce, truncated
from nas.strategies.reinforce import Reinforce
from nas.strategy import Setting
from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome as Said
from parameter_server.store import Pull, Pushed, PushId, Version
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.trial import Result, Trial

if TYPE_CHECKING:
    from parameter_server.store import Gradients

Children = tuple[Candidate, ...]


class DeathError(Exception):
    """The driver dies here."""


@final
class Outliving:
    """A store that is adopted by the next strategy; `applied` are the pushes that counted, and what they were for.

    The driver dies in the push after `left` more, `before` or after it is counted.
    """

    def __init__(self) -> None:
        self.store = MemoryStore(SGD(0.1))
        self.applied: Counter[tuple[Children, int]] = Counter()
        self.left = 10**9
        self.before = True
        self.lesson: Lesson | None = None

    @contextmanager
    def adopted(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            push, learn = self.store.push, Learner.learn

            def counting(gradients: Gradients, base: Version, push_id: PushId) -> Pushed:
                self._die(before=True)
                answer = push(gradients, base, push_id)
                if answer.outcomes == (Said.APPLIED,):
                    assert self.lesson is not None
                    self.applied[tuple(self.lesson.candidates), push_id.number - self.first] += 1
                self._die(before=False)
                self.left -= 1
                return answer

            def learning(learner: Learner, replica: int, lesson: Lesson) -> None:
                self.lesson = lesson
                self.first = lesson.number * (learner.learning.epochs if learner.learning.algorithm == "ppo" else 1)
                learn(learner, replica, lesson)

            patch.setattr(self.store, "push", counting)
            patch.setattr(Learner, "learn", learning)
            patch.setattr(shared, "opened", lambda *_: self.store)
            yield

    def _die(self, before: bool) -> None:
        if self.left <= 0 and before is self.before:
            raise DeathError


def restored(events: list[Trial | Result], **options: Any) -> tuple[Reinforce, list[Trial]]:
    """What the next driver has: a strategy that heard what was written, and the trials that are to be issued again."""
    strategy = make(**options)
    running: dict[int, Trial] = {}
    for event in events:
        if isinstance(event, Trial):
            strategy.hear(event)
            running[event.id] = event
        else:
            strategy.tell(event)
            del running[event.trial_id]
    return strategy, list(running.values())


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
@pytest.mark.parametrize("seed", range(20))
def test_every_batch_counts_once_whenever_a_driver_dies(seed: int, algorithm: str) -> None:
    """Also when it dies between a push and the commit of the results that the push is made of."""
    generator = Random(seed)
    slots = generator.randint(1, 12)
    options: dict[str, Any] = {"replicas": generator.randint(1, 3), "algorithm": algorithm, "hidden": 3}
    outliving = Outliving()
    written: list[Trial | Result] = []
    with outliving.adopted():
        strategy, running = restored(written, **options)
        unwritten: list[Trial | Result] = []
        for _ in range(90):
            if generator.random() < 0.05:
                outliving.left, outliving.before = generator.randrange(4), generator.random() < 0.5
            try:
                if len(running) < slots:
                    trial = strategy.ask()
                    assert trial is not None
                    written += [*unwritten, trial]
                    unwritten = []
                    running.append(trial)
                else:
                    unwritten.append(result := told(running.pop(generator.randrange(len(running)))))
                    strategy.tell(result)
            except DeathError:
                outliving.left = 10**9
                strategy, running = restored(written, **options)
                unwritten = []
        outliving.left = 10**9
        strategy, _ = restored(written, **options)
        assert strategy.ask() is not None
    ended = {event.trial_id for event in written if isinstance(event, Result)}
    batches: dict[tuple[int, int], list[Trial]] = {}
    for event in written:
        if isinstance(event, Trial):
            batches.setdefault((event.note["replica"], event.note["batch"]), []).append(event)
    full = [batch for batch in batches.values() if len(batch) == 3 and {trial.id for trial in batch} <= ended]
    epochs = range(2 if algorithm == "ppo" else 1)
    due = Counter((tuple(trial.candidate for trial in batch), epoch) for batch in full for epoch in epochs)
    assert due <= outliving.applied  # a driver may have died before the results of one more were written
    assert (outliving.applied - due).total() <= len(epochs) * slots
    assert outliving.store.pull().version == (outliving.applied.total(),)


def test_a_batch_whose_beginning_is_gone_is_learned_from_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"algorithm": "reinforce", "replicas": 2}
    outliving = Outliving()
    with outliving.adopted():
        first = make(**options)
        asked = [trial for _ in range(6) if (trial := first.ask()) is not None]
        for trial in asked[:3]:
            first.tell(told(trial))
        asked += [trial for trial in [first.ask()] if trial is not None]
        assert outliving.store.pull().version == (1,)
        lessons: list[Lesson] = []
        learn = Learner.learn

        def watched(learner: Learner, replica: int, lesson: Lesson) -> None:
            lessons.append(lesson)
            learn(learner, replica, lesson)

        monkeypatch.setattr(Learner, "learn", watched)
        second = make(**options)
        for trial in asked:
            second.hear(trial)
        for trial in asked[:6]:
            second.tell(told(trial))
        assert second.ask() is not None
    assert [(lesson.client, lesson.base) for lesson in lessons] == [("replica-0.0", None), ("replica-1.0", None)]
    assert outliving.store.pull().version == (2,)  # that of replica 0 was known, and not counted again


def test_gradients_elsewhere_in_the_parameters_are_weighed_by_the_ratio() -> None:
    """Without its base, a lesson's gradient is that of the mean of min(ratio, 1) * advantage * log p."""
    learning = Learning(hidden=4, algorithm="reinforce", entropy=0.0)
    controller, children = Controller(TABLE, learning), everything()[:5]
    store = MemoryStore(SGD(1.0))
    store.create(drawn(controller))
    before = store.pull()
    unrolled = controller.unroll(before.tensors, controller.tokens(children))
    shifts, advantages = np.array([0.5, -0.3, 0.0, -2.0, 30.0]), [1.0, -1.0, 2.0, 0.3, 0.2]
    sampled = (unrolled.log_probabilities - shifts).tolist()
    Learner(controller, store, learning).learn(0, Lesson("replica-0.0", 0, children, sampled, advantages))
    weights = np.minimum(np.exp(shifts), 1) * advantages / 5
    expected = unrolled.gradient(weights, np.zeros(5))
    for name, value in store.pull().tensors.items():
        np.testing.assert_allclose(value - before.tensors[name], expected[name], atol=1e-12)


def test_a_driver_that_was_replaced_teaches_nothing_any_more() -> None:
    learning = Learning(hidden=4, algorithm="reinforce", entropy=0.0)
    controller, children = Controller(TABLE, learning), everything()[:2]
    store = MemoryStore(SGD(1.0))
    store.create(drawn(controller))
    first, second = (Learner(controller, store, learning, driver) for driver in (1, 2))
    for number, learner in enumerate((first, second)):
        learner.learn(0, Lesson("replica-0.0", number, children, [-1.0, -2.0], [1.0, -1.0]))
    with pytest.raises(UserError, match="attempt 2"):
        first.learn(0, Lesson("replica-0.0", 2, children, [-1.0, -2.0], [1.0, -1.0]))
    assert store.pull().version == (2,)


def test_where_nothing_moved_the_ratio_changes_nothing() -> None:
    advantages = np.array([1.0, -2.0, 0.5])
    np.testing.assert_array_equal(truncated(advantages, np.ones(3)), reinforce(advantages))


def test_a_lesson_travels_as_it_is() -> None:
    controller = Controller(TABLE, Learning(hidden=3))
    store = MemoryStore(SGD(1.0))
    store.create({**drawn(controller), "single": np.array([[1.5], [-2.0]], np.float32)})
    children = everything()[:3]
    for base in (None, store.pull()):
        lesson = Lesson("replica-7.1", 3, children, [-1.5, -2.5, -1e-9], [0.25, -1.0, 3.0], base)
        found = Lesson.from_json(json.loads(json.dumps(lesson.json())))
        assert (found.client, found.number, list(found.candidates)) == ("replica-7.1", 3, children)
        assert (found.log_probabilities, found.advantages) == ([-1.5, -2.5, -1e-9], [0.25, -1.0, 3.0])
        assert (found.base is None) is (base is None)
        if base is not None and found.base is not None:
            assert found.base.version == base.version
            assert found.base.tensors.keys() == base.tensors.keys()
            for name, value in base.tensors.items():
                np.testing.assert_array_equal(found.base.tensors[name], value)
                assert found.base.tensors[name].dtype == value.dtype


@pytest.mark.parametrize("row", [["float32", [3], "AAAA"], ["object", [1], "AAAA"], ["float32", [1], "A!"]])
def test_a_tensor_that_is_not_whole_is_none(row: list[Any]) -> None:
    data = Lesson("replica-0.0", 0, everything()[:1], [-1.0], [1.0], Pull((1,), {})).json()
    data["base"]["tensors"] = [["w", *row]]
    with pytest.raises(ValueError):
        Lesson.from_json(data)


@pytest.mark.parametrize("options", [{"shards": -1}, {"hosts": -1}, {"hosts": 2}])
def test_hosts_need_shards(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"shards is .* and hosts .*, but neither can be below 0"):
        Reinforce(Setting(TABLE, (UP,)), **options)
