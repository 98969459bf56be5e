"""Policies as JSON: every one comes back as it was, and what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parameter_server.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer, RMSProp, Sum
from parameter_server.policy import Async, Bounded, Group, Policy, Sync
from parameter_server.policy_json import OPTIMIZERS, policy_from_json, policy_to_json
from parameter_server.store import StoreError

RATES = st.floats(0, 1e6)
BELOW_ONE = st.floats(0, 1, exclude_max=True)
POSITIVE = st.floats(1e-9, 1e9)
ANY_OPTIMIZER: st.SearchStrategy[Optimizer] = st.one_of(
    st.builds(SGD, RATES),
    st.builds(Momentum, RATES, BELOW_ONE, st.booleans()),
    st.builds(AdaGrad, RATES, RATES, RATES),
    st.builds(RMSProp, RATES, BELOW_ONE, RATES),
    st.builds(Adam, RATES, BELOW_ONE, BELOW_ONE, RATES),
    st.builds(Sum),
)
ANY_MODE = st.one_of(
    st.just(Async()),
    st.builds(Sync, st.integers(1, 99), st.integers(0, 9)),
    st.builds(Bounded, st.integers(0, 99), st.sampled_from(["block", "reject"])),
)
ANY_POLICY = st.builds(
    Policy,
    st.lists(st.builds(Group, ANY_OPTIMIZER, st.text(), st.none() | POSITIVE), max_size=3).map(tuple),
    ANY_MODE,
    st.none() | POSITIVE,
    st.booleans(),
    POSITIVE,
    st.integers(99, 999),
)


@given(ANY_POLICY)
def test_every_policy_comes_back_as_it_was(policy: Policy) -> None:
    assert policy_from_json(json.loads(json.dumps(policy_to_json(policy)))) == policy


def test_every_optimizer_has_a_name() -> None:
    finished = {kind for kind in Optimizer.__subclasses__() if kind.__module__.startswith("parameter_server.")}
    assert set(OPTIMIZERS.values()) == finished


def test_what_is_left_out_is_as_usual() -> None:
    read = policy_from_json({"groups": [{"optimizer": {"name": "sgd", "learning_rate": 1}}]})
    assert read == Policy((Group(SGD(1.0)),))


GOOD: dict[str, Any] = {"groups": [{"optimizer": {"name": "adam", "learning_rate": 0.1}}]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"a policy is \[\], but must be an object"),
        ({}, "groups of a policy are None, but must be a list"),
        ({"groups": [3]}, "a group is 3"),
        ({"groups": [{}]}, "the optimizer is None"),
        ({"groups": [{"optimizer": {"name": "lion"}}]}, "called 'lion', but there are sgd, momentum"),
        ({"groups": [{"optimizer": {"name": "sgd"}}]}, "optimizer sgd has no learning_rate"),
        ({"groups": [{"optimizer": {"name": "sgd", "learning_rate": True}}]}, "is True, but must be a number"),
        ({"groups": [{"optimizer": {"name": "sgd", "learning_rate": "1"}}]}, "is '1', but must be a number"),
        ({"groups": [{"optimizer": {"name": "sgd", "learning_rate": -1}}]}, "learning_rate of SGD is -1"),
        ({"groups": [{"optimizer": {"name": "sgd", "learning_rate": float("nan")}}]}, "learning_rate of SGD is nan"),
        ({"groups": [{"optimizer": {"name": "sgd", "learning_rate": 10**400}}]}, "but must be a number"),
        ({"groups": [{"optimizer": {"name": "sgd", "learning_rate": 1, "beta": 1}}]}, "key 'beta'.*learning_rate"),
        ({"groups": [{"optimizer": {"name": "adam", "learning_rate": 1, "beta1": 1}}]}, "beta1 of Adam is 1.*below 1"),
        ({**GOOD, "mode": {"name": "bsp"}}, "mode is called 'bsp', but there are async, sync, bounded"),
        ({**GOOD, "mode": {"name": "sync", "workers": 2.5}}, "workers of the mode sync is 2.5.*a whole number"),
        ({**GOOD, "mode": {"name": "sync", "workers": 0}}, "a round of 0 workers"),
        ({**GOOD, "mode": {"name": "bounded", "staleness": -1}}, "bounded by -1"),
        ({**GOOD, "mode": {"name": "bounded", "staleness": 1, "beyond": "drop"}}, "'drop', but there are block"),
        ({**GOOD, "mode": {"name": "sync", "workers": 9}, "in_flight": 8}, "8 pushes.*at least 9"),
        ({**GOOD, "scaled_by_staleness": 1}, "is 1, but must be true or false"),
        ({**GOOD, "lease": 0}, "lease is 0, but must be above 0"),
        ({**GOOD, "norm": -2.0}, "norm is -2.0"),
        ({**GOOD, "leese": 3}, "key 'leese'.*lease"),
    ],
)
def test_what_is_wrong_is_named(data: Any, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        policy_from_json(data)


def test_the_first_group_that_fits_a_name_counts() -> None:
    policy = Policy((Group(SGD(1.0), "cell.*.bias"), Group(SGD(2.0), "cell.*"), Group(SGD(3.0), "[ab]?")))
    rates = {name: policy.group(name).optimizer for name in ("cell.1.bias", "cell.1.weight", "b7")}
    assert list(rates.values()) == [SGD(1.0), SGD(2.0), SGD(3.0)]
    with pytest.raises(StoreError, match=r"no group fits the tensor 'Cell\.1': there are the patterns cell\.\*\.bias"):
        policy.group("Cell.1")
