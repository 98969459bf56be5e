"""A store of tensors: first create wins, versions, pushes that count once, optimizers against torch's."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import SGD, Adam, Optimizer
from parameter_server.store import Pull, PushId, StoreError

if TYPE_CHECKING:
    from parameter_server.optimizers import Array


def filled(optimizer: Optimizer | None = None) -> MemoryStore:
    store = MemoryStore(optimizer or SGD(0.5))
    store.create({"a": np.array([1.0, 2.0]), "b": np.array([[3.0]])})
    return store


def push(store: MemoryStore, gradients: dict[str, Array], version: int, client: str) -> int:
    """The version that the only push of a client made."""
    return store.push(gradients, (version,), PushId(client, 0)).version[0]


def listed(pull: Pull) -> dict[str, Any]:
    return {name: value.tolist() for name, value in pull.tensors.items()}


def test_the_first_create_wins() -> None:
    store = filled()
    assert store.create({"b": np.zeros((1, 1)), "c": np.ones(1)}) == ("c",)
    assert listed(store.pull()) == {"a": [1.0, 2.0], "b": [[3.0]], "c": [1.0]}


def test_a_store_keeps_its_own_copy() -> None:
    mine = np.array([1.0])
    store = MemoryStore(SGD(1.0))
    store.create({"a": mine})
    mine[0] = 5
    assert listed(store.pull()) == {"a": [1.0]}
    with pytest.raises(ValueError, match="read-only"):
        store.pull().tensors["a"][0] = 5


def test_what_was_pulled_stays_as_it_was() -> None:
    store = filled(Adam(0.1))
    before = store.pull()
    for number in range(3):
        push(store, {"a": np.ones(2)}, before.version[0], str(number))
    assert listed(before) == {"a": [1.0, 2.0], "b": [[3.0]]}
    assert before.version == (0,)
    assert store.pull().version == (3,)


def test_a_pull_gives_what_is_newer_than_asked() -> None:
    store = filled()
    assert push(store, {"a": np.array([2.0, 0.0])}, 0, "1") == 1
    assert push(store, {"b": np.array([[1.0]])}, 0, "2") == 2
    assert listed(store.pull(newer_than=(0,))) == {"a": [0.0, 2.0], "b": [[2.5]]}
    assert listed(store.pull(newer_than=(1,))) == {"b": [[2.5]]}
    assert listed(store.pull(["a"], newer_than=(1,))) == {}
    assert listed(store.pull(["a"])) == {"a": [0.0, 2.0]}
    assert store.pull(newer_than=(2,)).version == (2,)


def test_a_push_counts_once() -> None:
    store = filled()
    assert push(store, {"a": np.ones(2)}, 0, "one") == 1
    assert push(store, {"b": np.ones((1, 1))}, 1, "two") == 2
    assert push(store, {"a": np.ones(2)}, 0, "one") == 1
    assert listed(store.pull()) == {"a": [0.5, 1.5], "b": [[2.5]]}
    assert store.pull().version == (2,)


@pytest.mark.parametrize(
    ("gradients", "version", "message"),
    [
        ({"a": np.ones(2), "z": np.ones(1)}, 0, "no tensor 'z'.*there are a, b"),
        ({"a": np.ones(2), "b": np.ones(1)}, 0, r"gradient of b has the shape \(1,\), but the tensor has \(1, 1\)"),
        ({"a": np.ones(2), "b": np.full((1, 1), np.nan)}, 0, "gradient of b is not finite"),
        ({"a": np.array([np.inf, -np.inf])}, 0, "gradient of a is not finite"),
        ({"a": np.ones(2)}, 1, "from version 1, but the shard is at 0"),
        ({"a": np.ones(2)}, -1, "from version -1"),
    ],
)
def test_a_wrong_push_changes_nothing(gradients: dict[str, Array], version: int, message: str) -> None:
    store = filled()
    with pytest.raises(StoreError, match=message):
        push(store, gradients, version, "one")
    assert store.pull().version == (0,)
    assert listed(store.pull()) == {"a": [1.0, 2.0], "b": [[3.0]]}
    assert push(store, {"a": np.ones(2)}, 0, "one") == 1


def test_large_finite_gradients_are_no_error() -> None:
    store = MemoryStore(SGD(0.0))
    store.create({"a": np.ones(2, np.float32)})
    assert push(store, {"a": np.full(2, 3e38, np.float32)}, 0, "one") == 1


def test_an_unknown_name_cannot_be_pulled() -> None:
    with pytest.raises(StoreError, match="no tensor 'z': create it first"):
        filled().pull(["a", "z"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_is_torchs(dtype: str) -> None:
    generator = np.random.default_rng(1)
    start = generator.normal(size=(4, 3)).astype(dtype)
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([theirs], lr=0.03, betas=(0.8, 0.95), eps=1e-6)
    store = MemoryStore(Adam(0.03, 0.8, 0.95, 1e-6))
    store.create({"a": start})
    for number in range(40):
        gradient = (generator.normal(size=(4, 3)) * 10.0 ** generator.integers(-6, 3)).astype(dtype)
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        push(store, {"a": gradient}, number, str(number))
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        ours = store.pull().tensors["a"]
        assert ours.dtype == np.dtype(dtype)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_adam_counts_the_steps_of_each_tensor() -> None:
    store = filled(Adam(0.1))
    for number in range(5):
        push(store, {"a": np.ones(2)}, number, str(number))
    push(store, {"b": np.full((1, 1), 7.0)}, 5, "b")
    assert store.pull().tensors["b"] == pytest.approx(2.9)  # its first step is as long as the learning rate


def test_threads_lose_no_push() -> None:
    store = MemoryStore(SGD(1.0))
    store.create({"a": np.zeros(1)})

    def work(client: int) -> None:
        for number in range(50):
            for _ in range(2):  # each sent twice
                push(store, {"a": np.full(1, -1.0)}, store.pull().version[0], f"{client}/{number}")

    threads = [Thread(target=work, args=(client,)) for client in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.pull().version == (400,)
    assert listed(store.pull()) == {"a": [400.0]}
