"""Optimizers against torch's, step by step: whole tensors, rows, chunks, clipping."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import Bench

from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer, RMSProp, Sum
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece, Whole, cut
from parameter_server.policy import Group, Policy
from parameter_server.shards.kernels import CHUNK
from parameter_server.store import PushId

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from parameter_server.store import Array

Theirs = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]

PAIRS: dict[str, tuple[Optimizer, Theirs]] = {
    "sgd": (SGD(0.03), lambda of: torch.optim.SGD(of, lr=0.03)),
    "momentum": (Momentum(0.03, 0.8), lambda of: torch.optim.SGD(of, lr=0.03, momentum=0.8)),
    "nesterov": (Momentum(0.03, 0.8, True), lambda of: torch.optim.SGD(of, lr=0.03, momentum=0.8, nesterov=True)),
    "adagrad": (AdaGrad(0.03), lambda of: torch.optim.Adagrad(of, lr=0.03)),
    "adagrad with a start": (
        AdaGrad(0.03, 0.5, 1e-6),
        lambda of: torch.optim.Adagrad(of, lr=0.03, initial_accumulator_value=0.5, eps=1e-6),
    ),
    "rmsprop": (RMSProp(0.03, 0.9, 1e-6), lambda of: torch.optim.RMSprop(of, lr=0.03, alpha=0.9, eps=1e-6)),
    "adam": (Adam(0.03, 0.8, 0.95, 1e-6), lambda of: torch.optim.Adam(of, lr=0.03, betas=(0.8, 0.95), eps=1e-6)),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


class Served:
    """A tensor on one shard, in as many pieces as are given."""

    def __init__(self, optimizer: Optimizer, start: Array, pieces: int = 1, clip: float | None = None) -> None:
        self.bench = Bench(Policy((Group(optimizer, clip=clip),))).join("me")
        whole = Whole("a", start.shape, start.dtype.name)
        self.shape = start.shape
        self.pieces: list[Piece] = cut([whole], pieces)
        flat = start.reshape(-1)
        self.bench.shard.create(self.pieces, [flat[piece.start : piece.stop] for piece in self.pieces])

    def push(self, gradient: Array, rows: NDArray[np.integer[Any]] | None = None, scale: float = 1.0) -> Outcome:
        """One step; with `rows`, `gradient` has only those."""
        flat, parts = gradient.reshape(-1), []
        for piece in self.pieces:
            if rows is None:
                parts.append(Part(piece.key, flat[piece.start : piece.stop]))
                continue
            places = (rows[:, None] * piece.row + np.arange(piece.row)).reshape(-1)
            inside = (places >= piece.start) & (places < piece.stop)
            its = np.unique(places[inside] // piece.row)
            if its.size:
                parts.append(Part(piece.key, flat[inside], its))
        made = self.bench.made("me")
        answer = self.bench.shard.push(Push(made.id, made.base, made.table, parts, scale))
        assert isinstance(answer, Answer)
        return answer.outcome

    @property
    def values(self) -> Array:
        pulled = self.bench.shard.pull([piece.key for piece in self.pieces]).parts
        return np.concatenate([pulled[piece.key] for piece in self.pieces]).reshape(self.shape)


def gradients(seed: int, count: int, shape: tuple[int, ...], dtype: str) -> list[Array]:
    """Of very different sizes."""
    generator = np.random.default_rng(seed)
    return [(generator.normal(size=shape) * 10.0 ** generator.integers(-6, 3)).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_an_optimizer_is_torchs(name: str, dtype: str) -> None:
    ours, theirs = PAIRS[name]
    start = np.random.default_rng(0).normal(size=(13, 7)).astype(dtype)
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer, served = theirs([parameter]), Served(ours, start)
    for gradient in gradients(1, 100, start.shape, dtype):
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        assert served.push(gradient) is Outcome.APPLIED
        assert served.values.dtype == np.dtype(dtype)
        np.testing.assert_allclose(served.values, parameter.detach().numpy(), TOLERANCE[dtype], TOLERANCE[dtype])


@pytest.mark.parametrize("pieces", [1, 3, 16])
@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam"])
def test_rows_step_as_torchs_sparse_gradients_do(name: str, pieces: int) -> None:
    pairs: dict[str, tuple[Optimizer, Theirs]] = {
        "sgd": PAIRS["sgd"],
        "adagrad": PAIRS["adagrad"],
        "adam": (  # torch adds its epsilon before it corrects the second moment here, and after it in Adam
            Adam(0.03, 0.8, 0.95, 1e-30),
            lambda of: torch.optim.SparseAdam(of, lr=0.03, betas=(0.8, 0.95), eps=1e-30),
        ),
    }
    ours, theirs = pairs[name]
    generator = np.random.default_rng(2)
    start = generator.normal(size=(11, 4))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer, served = theirs([parameter]), Served(ours, start, pieces)
    for _ in range(60):
        rows = np.sort(generator.choice(11, generator.integers(1, 6), replace=False))
        if pieces > 1 and name == "adam":  # torch counts the steps of a tensor, a shard those of each piece
            rows = np.unique([0, *rows, *(piece.start // 4 for piece in served.pieces)])
        gradient = generator.normal(size=(len(rows), 4))
        with cast(Any, torch.sparse).check_sparse_tensor_invariants():
            parameter.grad = torch.sparse_coo_tensor(torch.tensor(rows)[None], torch.tensor(gradient), start.shape)
            optimizer.step()
        assert served.push(gradient, rows) is Outcome.APPLIED
        np.testing.assert_allclose(served.values, parameter.detach().numpy(), 1e-12, 1e-12)


def test_rows_leave_the_velocity_of_others_alone() -> None:
    served = Served(Momentum(1.0, 0.5), np.zeros((3, 2)))
    for rows in ([0, 1], [1, 2], [0, 2]):
        served.push(np.ones((2, 2)), np.array(rows))
    assert served.values.tolist() == [[-2.5, -2.5]] * 3  # each row made two steps: 1, then 1 + 1/2
    assert served.bench.memory.front(0)[1].tolist() == [1.5] * 6


def test_whole_gradients_may_follow_rows() -> None:
    served = Served(SGD(1.0), np.zeros((3, 2)))
    served.push(np.ones((1, 2)), np.array([1]))
    served.push(np.full((3, 2), 2.0))
    served.push(np.ones((2, 2)), np.array([0, 1]))
    assert served.values.tolist() == [[-3, -3], [-4, -4], [-2, -2]]


def test_a_sum_adds_up() -> None:
    served = Served(Sum(), np.ones(3))
    served.push(np.array([1.0, 2.0, 3.0]))
    served.push(np.array([1.0, 0.0, -3.0]), scale=0.5)
    assert served.values.tolist() == [2.5, 3.0, 2.5]


@pytest.mark.parametrize("rows", [False, True])
def test_clipping_is_torchs(rows: bool) -> None:
    generator = np.random.default_rng(3)
    start = generator.normal(size=(5, 4))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer, served = PAIRS["adam"][1]([parameter]), Served(PAIRS["adam"][0], start, clip=0.7)
    for gradient in gradients(4, 30, start.shape, "float64"):
        parameter.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_value_(parameter, 0.7)
        optimizer.step()
        served.push(gradient, np.arange(5) if rows else None)
        np.testing.assert_allclose(served.values, parameter.detach().numpy(), 1e-12, 1e-12)


def test_the_scale_of_a_push_is_what_torch_clips_a_norm_by() -> None:
    generator = np.random.default_rng(5)
    start = generator.normal(size=(5, 4))
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimizer, served = PAIRS["adam"][1]([parameter]), Served(PAIRS["adam"][0], start)
    for gradient in gradients(6, 30, start.shape, "float64"):
        parameter.grad = torch.tensor(gradient)
        norm = float(torch.nn.utils.clip_grad_norm_(parameter, 2.0))
        optimizer.step()
        served.push(gradient, scale=min(1.0, 2.0 / (norm + 1e-6)))
        np.testing.assert_allclose(served.values, parameter.detach().numpy(), 1e-12, 1e-12)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tensors_of_many_chunks_step_as_small_ones(name: str, dtype: str) -> None:
    length = 2 * CHUNK // np.dtype(dtype).itemsize + 5
    start = np.random.default_rng(7).normal(size=length).astype(dtype)
    served = Served(PAIRS[name][0], start, clip=1.5)
    some = np.array([0, 1, length // 2 - 3, length // 2 - 2, length - 1])
    small = Served(PAIRS[name][0], start[some], clip=1.5)
    for gradient in gradients(8, 3, (length,), dtype):
        served.push(gradient, scale=0.5)
        small.push(gradient[some], scale=0.5)
    np.testing.assert_allclose(served.values[some], small.values, rtol=TOLERANCE[dtype])


@settings(deadline=None)
@given(st.sampled_from(sorted(PAIRS)), st.integers(1, 40), st.data())
def test_a_stretch_steps_as_the_whole(name: str, length: int, data: st.DataObject) -> None:
    optimizer, cuts = PAIRS[name][0], sorted(data.draw(st.sets(st.integers(1, length), max_size=4)) | {0, length})
    generator = np.random.default_rng(length)
    now = tuple(np.abs(generator.normal(size=length)) for _ in range(1 + len(optimizer.slots)))
    gradient = generator.normal(size=length)
    whole, parts = (tuple(np.empty(length) for _ in now) for _ in range(2))
    optimizer.step(now, whole, gradient, 3, 0.5)
    for start, stop in pairwise(cuts):
        optimizer.step(
            tuple(one[start:stop] for one in now), tuple(one[start:stop] for one in parts), gradient[start:stop], 3, 0.5
        )
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


def test_steps_are_counted_for_each_piece() -> None:
    bench = Bench(Policy((Group(Adam(0.1)),))).create(a=[1.0, 2.0], b=[3.0]).join("me")
    for _ in range(5):
        bench.push("me", a=[1.0, 1.0])
    bench.push("me", b=[7.0])
    assert bench.values()["b"] == pytest.approx([2.9])  # its first step is as long as the learning rate


def test_each_tensor_steps_as_its_group_says() -> None:
    groups = Group(SGD(1.0), "a*", clip=0.5), Group(Sum(), "b*"), Group(SGD(2.0))
    bench = Bench(Policy(groups)).create(a1=[0.0], a2=[0.0], b1=[0.0], c=[0.0]).join("me")
    bench.push("me", a1=[1.0], a2=[-1.0], b1=[1.0], c=[1.0])
    assert bench.values() == {"a1": [-0.5], "a2": [0.5], "b1": [1.0], "c": [-2.0]}


def test_an_identity_of_a_push_is_not_one_of_another_client() -> None:
    bench = Bench().create(a=[0.0]).join("x", "y")
    for client in "xy":
        made = bench.made(client, a=[1.0])
        assert made.id == PushId(client, 0)
        bench.shard.push(made)
    assert bench.values() == {"a": [-2.0]}
