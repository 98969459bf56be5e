"""What a replica pushes: REINFORCE against enumeration, PPO against its objective, the baseline, rewards, presets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from controlling import SHAPES, TABLE, assert_close, drawn, everything, slopes
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import percentileofscore
from threadpoolctl import ThreadpoolController

from nas.controllers import learner as learners
from nas.controllers.controller import Controller
from nas.controllers.learning import PRESETS, Learning
from nas.controllers.lstm import Array
from nas.controllers.policy_gradient import Baseline, clipped, reinforce
from nas.controllers.replica import Batch, Replica
from nas.controllers.rewards import LARGEST, REWARDS, Rewards
from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import SGD, Adam, Optimizer
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Direction, Objective

ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
PERPLEXITY = Objective("perplexity", Direction.MINIMIZE)
CANDIDATES = everything()
numbers = st.floats(-100, 100)


def made(learning: Learning, optimizer: Optimizer) -> Replica:
    """A replica whose parameters are in double precision."""
    controller = Controller(TABLE, learning)
    store = MemoryStore(optimizer)
    store.create(drawn(controller))
    return Replica(3, controller, store, learning)


def batch(member: Replica, candidates: list[Candidate], rewards: list[float], number: int = 0) -> Batch:
    """A batch as if just sampled."""
    base = member.store.pull()
    log_p = member.controller.unroll(base.tensors, member.controller.tokens(candidates)).log_probabilities
    return Batch(number, base, candidates, log_p.tolist(), rewards)


def moved(member: Replica, given: Batch) -> dict[str, Array]:
    """By how much a batch moves the parameters."""
    before = member.store.pull().tensors
    member.learn(given)
    return {name: value - before[name] for name, value in member.store.pull().tensors.items()}


@pytest.mark.parametrize("algorithm", ["reinforce", "ppo"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_pushed_is_on_average_the_policy_gradient(shape: str, algorithm: str) -> None:
    learning = replace(SHAPES[shape], algorithm=algorithm, epochs=1, entropy=0.0)
    rewards = np.random.default_rng(2).normal(size=len(CANDIDATES))
    controller = Controller(TABLE, learning)
    parameters, tokens = drawn(controller), controller.tokens(CANDIDATES)

    def expected(at: dict[str, Array]) -> float:
        return float(np.exp(controller.unroll(at, tokens).log_probabilities) @ rewards)

    p = np.exp(controller.unroll(parameters, tokens).log_probabilities)
    total = {name: np.zeros_like(value) for name, value in parameters.items()}
    for place, candidate in enumerate(CANDIDATES):  # p(c) (R(c) - b) grad log p(c), summed over all c
        member = made(learning, SGD(1.0))
        member.baseline.value = 0.7
        for name, value in moved(member, batch(member, [candidate], [float(rewards[place])])).items():
            total[name] += p[place] * value
    assert_close(total, slopes(expected, parameters))


def test_a_batch_is_the_mean_of_its_children_and_adds_the_entropy() -> None:
    learning = replace(SHAPES["two layers"], algorithm="reinforce", entropy=0.3)
    member = made(learning, SGD(1.0))
    member.baseline.value = 0.2
    children, rewards = CANDIDATES[3:8], [0.5, -1.0, 2.0, 0.0, 0.1]
    tokens, start = member.controller.tokens(children), drawn(member.controller)

    def objective(at: dict[str, Array]) -> float:
        unrolled = member.controller.unroll(at, tokens)
        advantages = np.array(rewards) - 0.2
        return float(np.mean(advantages * unrolled.log_probabilities + 0.3 * unrolled.entropies))

    assert_close(moved(member, batch(member, children, rewards)), slopes(objective, start))
    assert member.store.pull().version == (1,)


def test_reinforce_takes_the_gradient_where_the_batch_was_sampled() -> None:
    learning = replace(SHAPES["one layer"], algorithm="reinforce", entropy=0.0)
    late, fresh = made(learning, SGD(1.0)), made(learning, SGD(1.0))
    stale = batch(late, CANDIDATES[:4], [1.0, 0.0, 0.0, 3.0])
    other = batch(late, CANDIDATES[9:13], [2.0, 0.0, 1.0, 3.0], number=1)
    late.learn(other)
    late.baseline, at_once = Baseline(0.95), batch(fresh, CANDIDATES[:4], [1.0, 0.0, 0.0, 3.0])
    assert_close(moved(late, stale), moved(fresh, at_once))


def test_the_ratio_is_one_in_the_first_epoch_and_leaves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Array] = []

    def watching(advantages: Array, ratios: Array, clip: float) -> Array:
        seen.append(ratios)
        return clipped(advantages, ratios, clip)

    monkeypatch.setattr(learners, "clipped", watching)
    member = made(replace(SHAPES["one layer"], epochs=4, entropy=0.0), Adam(0.01))
    member.learn(batch(member, CANDIDATES[:6], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
    assert len(seen) == 4
    np.testing.assert_allclose(seen[0], 1, atol=1e-12)
    for ratios in seen[1:]:
        assert np.abs(ratios - 1).max() > 1e-3
    assert seen[-1][0] < 1 < seen[-1][5]  # what was worth less became less likely
    assert member.store.pull().version == (4,)


def test_clipping_stops_what_moved_too_far() -> None:
    learning = replace(SHAPES["one layer"], epochs=1, entropy=0.0, clip=0.2)
    one, children = made(learning, SGD(1.0)), CANDIDATES[:2]
    given = batch(one, children, [1.0, -1.0])
    one.baseline.value = 0.0
    beyond = replace(given, log_probabilities=[given.log_probabilities[0] - 0.2, given.log_probabilities[1] + 0.3])
    assert not any(value.any() for value in moved(one, beyond).values())
    within = replace(beyond, number=1, log_probabilities=[lp - 0.05 for lp in given.log_probabilities])
    one.baseline.value = 0.0
    assert all(value.any() for value in moved(one, within).values())
    back = replace(given, number=2, log_probabilities=[lp + 0.5 for lp in given.log_probabilities])
    one.baseline.value = -2.0  # both good, and both less likely than they were: pull them back
    assert all(value.any() for value in moved(one, back).values())


def test_what_was_all_but_impossible_breaks_nothing() -> None:
    learning = Learning(hidden=5)
    store = MemoryStore(Adam(0.1))
    member = Replica(0, Controller(TABLE, learning), store, learning)
    member.create(1)
    member.learn(replace(batch(member, CANDIDATES[:2], [0.0, 1.0]), log_probabilities=[-900.0, -900.0]))
    assert all(np.isfinite(value).all() for value in store.pull().tensors.values())


@given(st.lists(st.tuples(numbers, st.floats(-1, 1)), min_size=1, max_size=8), st.floats(0.05, 0.5))
def test_the_weights_of_ppo_are_the_derivative_of_its_objective(pairs: list[tuple[float, float]], clip: float) -> None:
    advantages = torch.tensor([a for a, _ in pairs], dtype=torch.float64)
    log_ratio = torch.tensor([r for _, r in pairs], dtype=torch.float64, requires_grad=True)
    ratios = log_ratio.exp()
    if bool(((ratios.detach() - 1).abs() - clip).abs().min() < 1e-9):
        return  # at the bend there is no derivative
    bounded = ratios.clamp(1 - clip, 1 + clip)
    torch.minimum(ratios * advantages, bounded * advantages).mean().backward()  # type: ignore[no-untyped-call]
    assert log_ratio.grad is not None
    ours = clipped(advantages.numpy(), ratios.detach().numpy(), clip)
    np.testing.assert_allclose(ours, log_ratio.grad.numpy(), atol=1e-9)


def test_at_a_ratio_of_one_both_algorithms_pull_alike() -> None:
    advantages = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(clipped(advantages, np.ones(3), 0.2), reinforce(advantages))


@given(st.lists(st.lists(numbers, min_size=1, max_size=4), min_size=1, max_size=5), st.floats(0, 0.99))
def test_the_baseline_is_a_moving_average(batches: list[list[float]], weight: float) -> None:
    baseline = Baseline(weight)
    first = float(np.mean(batches[0]))
    np.testing.assert_allclose(baseline.advantages(batches[0]), np.array(batches[0]) - first)
    later: list[float] = []
    for rewards in batches:
        baseline.take(rewards)
        later += rewards if rewards is not batches[0] else []
        n = len(later)
        closed = weight**n * first + (1 - weight) * sum(weight ** (n - 1 - i) * r for i, r in enumerate(later))
        assert baseline.value == pytest.approx(closed, abs=1e-9)
        np.testing.assert_allclose(baseline.advantages([1.0, 5.0]), np.array([1.0, 5.0]) - closed, atol=1e-9)


@given(st.lists(numbers, min_size=1, max_size=30))
def test_a_rank_is_the_share_that_is_worse(gains: list[float]) -> None:
    rewards = Rewards("rank", ACCURACY)
    for gain in gains:
        rewards.hear(gain)
    for gain in gains:
        below = percentileofscore(gains, gain, "strict") / 100
        upto = percentileofscore(gains, gain, "weak") / 100
        assert rewards.of(gain) == pytest.approx((below + upto) / 2)


@pytest.mark.parametrize(
    ("shape", "objective", "gain", "reward"),
    [
        ("plain", ACCURACY, 0.9, 0.9),
        ("plain", PERPLEXITY, -20.0, -20.0),
        ("cubed", ACCURACY, 0.9, 0.729),
        ("perplexity", PERPLEXITY, -20.0, 0.2),
        ("rank", PERPLEXITY, -20.0, 0.75),
    ],
)
def test_rewards(shape: str, objective: Objective, gain: float, reward: float) -> None:
    rewards = Rewards(shape, objective)
    for heard in (None, gain, gain - 1, None):
        rewards.hear(heard)
    assert rewards.of(gain) == pytest.approx(reward)
    assert rewards.of(None) == rewards.of(gain - 1)  # without a gain: the worst


@pytest.mark.parametrize("shape", REWARDS)
def test_while_nothing_succeeded_nothing_is_paid(shape: str) -> None:
    rewards = Rewards(shape, PERPLEXITY if shape == "perplexity" else ACCURACY)
    rewards.hear(None)
    assert rewards.of(None) is None


@pytest.mark.parametrize(
    ("shape", "objective", "gain", "sign"),
    [
        ("cubed", ACCURACY, 1e200, 1),
        ("cubed", ACCURACY, -1e200, -1),
        ("perplexity", PERPLEXITY, -1e-200, 1),
        ("plain", PERPLEXITY, -1e300, -1),
    ],
)
def test_rewards_are_bounded_whatever_the_scale(shape: str, objective: Objective, gain: float, sign: int) -> None:
    rewards = Rewards(shape, objective)
    rewards.hear(gain)
    assert rewards.of(gain) == sign * LARGEST


def test_rewards_that_do_not_suit_are_refused() -> None:
    with pytest.raises(UserError, match="cubed is for a metric to maximize, but perplexity is to be minimized: take"):
        Rewards("cubed", PERPLEXITY)
    with pytest.raises(UserError, match="perplexity is for a metric to minimize"):
        Rewards("perplexity", ACCURACY)
    with pytest.raises(UserError, match="'best', but strategy reinforce knows rank, plain"):
        Rewards("best", ACCURACY)
    rewards = Rewards("perplexity", PERPLEXITY)
    rewards.hear(0.5)
    with pytest.raises(UserError, match=r"perplexity is -0.5, but reward perplexity needs values above 0"):
        rewards.of(0.5)


def test_presets_are_as_published() -> None:
    zoph, nasnet = PRESETS["zoph2017"], PRESETS["nasnet2018"]
    assert (zoph.algorithm, zoph.layers, zoph.hidden, zoph.initial) == ("reinforce", 2, 35, 0.08)
    assert (zoph.learning_rate, zoph.batch, zoph.reward, zoph.entropy) == (6e-4, 8, "cubed", 0)
    assert (nasnet.algorithm, nasnet.layers, nasnet.hidden, nasnet.initial) == ("ppo", 1, 100, 0.1)
    assert (nasnet.learning_rate, nasnet.entropy, nasnet.baseline, nasnet.batch) == (3.5e-4, 1e-5, 0.95, 20)


def test_replicas_begin_with_the_same_parameters() -> None:
    learning = Learning(hidden=30, initial=0.05)
    controller, store = Controller(TABLE, learning), MemoryStore(SGD(1.0))
    for seed, number in ((1, 0), (2, 1)):
        Replica(number, controller, store, learning).create(seed)
    first = store.pull().tensors
    alone = MemoryStore(SGD(1.0))
    Replica(5, controller, alone, learning).create(1)
    for name, value in alone.pull().tensors.items():
        np.testing.assert_array_equal(value, first[name])
        assert 0.04 < np.abs(value).max() <= 0.05
        assert abs(value.mean()) < 0.02


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "a2c"}, "algorithm is 'a2c', but strategy reinforce knows ppo, reinforce"),
        ({"reward": "raw"}, "reward is 'raw'"),
        ({"batch": 0}, "batch is 0, but strategy reinforce needs at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but strategy reinforce needs above 0"),
        ({"baseline": 1.0}, "baseline is 1.0, but strategy reinforce needs at least 0 and below 1"),
        ({"entropy": -0.1}, "entropy is -0.1, but strategy reinforce needs at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(Learning(), **options)


def test_a_lesson_is_computed_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in ThreadpoolController().info() if library["user_api"] == "blas"]

    seen: list[list[int]] = []

    def watching(advantages: Array, ratios: Array, clip: float) -> Array:
        seen.append(threads())
        return clipped(advantages, ratios, clip)

    monkeypatch.setattr(learners, "clipped", watching)
    member = made(replace(SHAPES["one layer"], epochs=1), SGD(0.1))
    with ThreadpoolController().select(user_api="blas").limit(limits=2):
        before = threads()
        member.learn(batch(member, CANDIDATES[:2], [0.0, 1.0]))
        assert threads() == before
    assert 1 not in before
    assert 1 in seen[0]  # numpy's; what others brought along is left alone
