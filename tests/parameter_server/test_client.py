"""A store over shards: it is one store, its pushes count once whatever is lost, and it refuses before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from unreliable import Calls, UnreliableLink, links_to, shards_of

from parameter_server.clients.client import ShardedStore
from parameter_server.link import Answer
from parameter_server.links.direct import DirectLink
from parameter_server.memory_store import MemoryStore
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.policy import Bounded, Group, Policy, Sync
from parameter_server.shards.shard import Shard
from parameter_server.store import FencedError, PushId, Rows, Store, StoreError, UnreachableError

PLAIN = Policy((Group(SGD(1.0)),))
START = {"a": np.zeros((6, 2)), "b": np.zeros(5), "c": np.zeros((1, 40))}
ONES = {name: np.ones_like(value) for name, value in START.items()}


def over(shards: Sequence[Shard], *calls: Calls, patience: float = 5.0, threads: bool = False) -> ShardedStore:
    """A store over shards; `calls` go through links 0, 1, ... of it."""
    direct = links_to(shards)
    links = [UnreliableLink(link, through) for link, through in zip(direct, calls, strict=False)]
    return ShardedStore([*links, *direct[len(calls) :]], patience=patience, threads=threads)


def filled(*calls: Calls, policy: Policy = PLAIN, threads: bool = False, patience: float = 5.0) -> ShardedStore:
    """A store over three shards with `START` in it."""
    shards = shards_of(policy, 3)
    over(shards).create(START)
    return over(shards, *calls, threads=threads, patience=patience)


def total(store: Store) -> float:
    return float(sum(value.sum() for value in store.pull().tensors.values()))


def passed(method: str, call: Callable[[], Any]) -> Any:
    return call()


def _sparse(rows: NDArray[Any], values: NDArray[Any], shape: tuple[int, ...]) -> torch.Tensor:
    return torch.sparse_coo_tensor(torch.tensor(rows[None]), torch.tensor(values), shape, check_invariants=True)


SHAPES = st.lists(st.integers(0, 7), min_size=0, max_size=3).map(tuple)


@st.composite
def gradients_of(draw: st.DrawFn, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Dense and sparse gradients of some of the tensors."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    gradients: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(sorted(shapes)), unique=True)):
        shape = shapes[name]
        if shape and shape[0] and draw(st.booleans()):
            rows = draw(st.lists(st.integers(0, shape[0] - 1), max_size=6))
            values = generator.normal(size=(len(rows), *shape[1:])).astype("float32")
            gradients[name] = Rows(np.array(rows, np.int64), values)
        else:
            gradients[name] = generator.normal(size=shape).astype("float32")
    return gradients


@settings(max_examples=60)
@given(st.data(), st.dictionaries(st.sampled_from("abcd"), SHAPES, min_size=1), st.integers(2, 5), st.booleans())
def test_shards_hold_what_a_dictionary_of_arrays_holds(
    data: st.DataObject, shapes: dict[str, tuple[int, ...]], shards: int, threads: bool
) -> None:
    start = {name: np.full(shape, 1.0, np.float32) for name, shape in shapes.items()}
    expected = {name: value.copy() for name, value in start.items()}
    store = ShardedStore(links_to(shards_of(PLAIN, shards)), threads=threads)
    assert set(store.create(start)) == set(start)
    seen = store.pull()
    for number in range(3):
        gradients = data.draw(gradients_of(shapes))
        assert store.push(gradients, seen.version, PushId("me", number)).counted
        for name, gradient in gradients.items():
            if isinstance(gradient, Rows):
                summed = np.zeros_like(expected[name])
                np.add.at(summed, gradient.indices, gradient.values)
                expected[name] -= summed
            else:
                expected[name] -= gradient
        before, seen = seen, store.pull()
        assert seen.tensors.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(seen.tensors[name], value, rtol=1e-5, atol=1e-6)
            assert seen.tensors[name].shape == value.shape
        newer = store.pull(newer_than=before.version)
        changed = {name for name, value in seen.tensors.items() if not np.array_equal(value, before.tensors[name])}
        assert changed <= set(newer.tensors) <= set(gradients)
        for name, value in newer.tensors.items():
            np.testing.assert_array_equal(value, seen.tensors[name])
    store.close()


def test_other_rows_and_their_moments_stay_as_they_are() -> None:
    """Against torch's SparseAdam, with rows larger than a shard's share and smaller."""
    generator = np.random.default_rng(3)
    for shape in ((6, 40), (40, 3)):
        start = generator.normal(size=shape)
        embedding = torch.nn.Parameter(torch.tensor(start))
        optimizer = torch.optim.SparseAdam([embedding], lr=0.1, eps=1e-14)
        store = MemoryStore(Adam(0.1, epsilon=1e-14), shards=4)
        store.create({"e": start})
        for number in range(5):  # every piece at every step, for each counts its own steps
            rows = np.concatenate([np.arange(shape[0])[::2], [0, 0, 2]])
            values = generator.normal(size=(len(rows), *shape[1:]))
            embedding.grad = _sparse(rows, values, shape)
            optimizer.step()  # type: ignore[no-untyped-call]
            store.push({"e": Rows(rows, values)}, store.pull().version, PushId("me", number))
        ours = store.pull().tensors["e"]
        np.testing.assert_allclose(ours, embedding.detach().numpy(), rtol=1e-9)
        np.testing.assert_array_equal(ours[1], start[1])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e18])
@pytest.mark.parametrize("shards", [1, 4])
def test_the_norm_of_a_whole_push_is_clipped_as_torch_clips_it(scale: float, shards: int) -> None:
    generator = np.random.default_rng(4)
    shapes = {"a": (70, 1000), "b": (5,), "c": (9, 4)}
    gradients = {name: (generator.normal(size=shape) * scale).astype("float32") for name, shape in shapes.items()}
    parameters = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in shapes.values()]
    for parameter, gradient in zip(parameters, gradients.values(), strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    torch.nn.utils.clip_grad_norm_(parameters, 2.0)
    store = MemoryStore(Policy((Group(SGD(1.0)),), norm=2.0), shards)
    store.create({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
    store.push(gradients, store.pull().version, PushId("me", 0))
    for parameter, value in zip(parameters, store.pull().tensors.values(), strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(value, -parameter.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message", "outcome"),
    [
        ({"z": np.ones(1)}, "no tensor 'z'.*there are a, b, c", Outcome.UNKNOWN_NAME),
        ({"b": np.ones(4)}, r"gradient of b has the shape \(4,\)", Outcome.WRONG_SHAPE),
        ({"b": np.ones(5, np.float32)}, "gradient of b is float32, but .* float64", Outcome.WRONG_DTYPE),
        ({"c": np.array([[1.0] * 39 + [np.nan]])}, "gradient of c is not finite", Outcome.NOT_FINITE),
        ({"a": Rows(np.array([0, 6]), np.ones((2, 2)))}, "no row 6 in a, which has 6", Outcome.WRONG_SHAPE),
        ({"a": Rows(np.array([-1]), np.ones((1, 2)))}, "no row -1 in a", Outcome.WRONG_SHAPE),
        ({"a": Rows(np.array([1]), np.ones((2, 2)))}, r"gradient of 1 rows .* \(1, 2\)", Outcome.WRONG_SHAPE),
        ({"a": Rows(np.array([1.0]), np.ones((1, 2)))}, "rows of a are numbered by float64", Outcome.WRONG_SHAPE),
    ],
)  # fmt: skip
def test_a_push_that_one_shard_would_refuse_reaches_none(wrong: dict[str, Any], message: str, outcome: Outcome) -> None:
    sent = []

    def listen(method: str, call: Callable[[], Any]) -> Any:
        sent.append(method)
        return call()

    store = filled(listen, listen, listen)
    with pytest.raises(StoreError, match=message) as caught:
        store.push({**ONES, **wrong}, store.pull().version, PushId("me", 0))
    assert caught.value.outcome is outcome
    assert "push" not in sent
    assert total(store) == 0


@pytest.mark.parametrize("base", [(0, 0, 1), (0, -1, 0), (0, 0)])
def test_a_version_that_never_was_reaches_no_shard(base: tuple[int, ...]) -> None:
    store = filled()
    with pytest.raises(StoreError, match="pull"):
        store.push(ONES, base, PushId("me", 0))
    assert total(store) == 0


@pytest.mark.parametrize("threads", [False, True])
def test_a_push_whose_answer_is_lost_counts_once_when_it_is_sent_again(threads: bool) -> None:
    lost = [True]

    def lose(method: str, call: Callable[[], Any]) -> Any:
        answer = call()
        if method == "push" and lost.pop():
            raise UnreachableError("the line is dead")
        return answer

    store = filled(passed, lose, threads=threads)
    base = store.pull().version
    with pytest.raises(UnreachableError, match="the line is dead"):
        store.push(ONES, base, PushId("me", 0))
    lost.append(False)
    pushed = store.push(ONES, base, PushId("me", 0))
    assert pushed.outcomes == (Outcome.DUPLICATE,) * 3
    assert pushed.counted
    assert pushed.version == (1, 1, 1)
    assert total(store) == -57
    store.close()


def test_a_push_that_reached_some_shards_is_completed_when_it_is_sent_again() -> None:
    cut = [True]

    def fail(method: str, call: Callable[[], Any]) -> Any:
        if method == "push" and cut.pop():
            raise UnreachableError("the line is dead")
        return call()

    store = filled(passed, fail)
    with pytest.raises(UnreachableError):
        store.push(ONES, (0, 0, 0), PushId("me", 0))
    assert -57 < total(store) < 0
    cut.append(False)
    assert store.push(ONES, (0, 0, 0), PushId("me", 0)).outcomes == (
        Outcome.DUPLICATE,
        Outcome.APPLIED,
        Outcome.DUPLICATE,
    )
    assert total(store) == -57


@pytest.mark.parametrize("outcome", [one for one in Outcome if one.again and one is not Outcome.MOVED])
def test_what_may_succeed_is_sent_again_until_it_does(outcome: Outcome) -> None:
    left = [None] * 3

    def refuse(method: str, call: Callable[[], Any]) -> Any:
        if method == "push" and left:
            left.pop()
            return Answer(outcome, 0, "not now")
        return call()

    store = filled(passed, refuse)
    assert store.push(ONES, (0, 0, 0), PushId("me", 0)).outcomes == (Outcome.APPLIED,) * 3
    assert total(store) == -57


def test_what_never_succeeds_is_said_in_time() -> None:
    def refuse(method: str, call: Callable[[], Any]) -> Any:
        return Answer(Outcome.BUSY, 0, "too much") if method == "push" else call()

    store = filled(passed, refuse, patience=0.05)
    with pytest.raises(UnreachableError, match=r"shard 1 has not taken push 0 of me.*busy: too much.*same push"):
        store.push(ONES, (0, 0, 0), PushId("me", 0))


def test_a_refusal_says_which_shards_have_counted_the_push() -> None:
    def refuse(method: str, call: Callable[[], Any]) -> Any:
        return Answer(Outcome.TOO_LARGE, 0, "no room for it") if method == "push" else call()

    with pytest.raises(StoreError, match=r"no room for it \(shards that have counted it: 0, 2\)") as caught:
        filled(passed, refuse).push(ONES, (0, 0, 0), PushId("me", 0))
    assert caught.value.outcome is Outcome.TOO_LARGE


def test_a_client_whose_lease_lapsed_joins_again_by_itself() -> None:
    store = filled()
    assert store.push(ONES, (0, 0, 0), PushId("me", 0)).counted
    filled_elsewhere = ShardedStore(store.links, threads=False)
    filled_elsewhere.leave("me")
    assert store.push(ONES, (0, 0, 0), PushId("me", 1)).counted
    assert store.join("me") == 2
    assert store.join("another") == 0


def test_tensors_that_others_add_do_not_get_in_the_way() -> None:
    shards = shards_of(PLAIN, 3)
    first, second = over(shards), over(shards)
    first.create(START)
    assert second.pull(["b"]).tensors.keys() == {"b"}
    first.create({"d": np.zeros(9)})
    assert second.push(ONES, (0, 0, 0), PushId("me", 0)).counted  # from an older table
    assert second.pull().tensors.keys() == {"a", "b", "c", "d"}
    first.create({"e": np.zeros(2)})
    assert second.pull().tensors.keys() == {"a", "b", "c", "d", "e"}
    first.create({"f": np.zeros(2)})
    assert second.push({"f": np.ones(2)}, second.pull(["f"]).version, PushId("me", 1)).counted
    assert total(first) == -59


def test_an_earlier_attempt_is_fenced_off_on_every_shard() -> None:
    shards = shards_of(PLAIN, 3)
    old, new = over(shards), over(shards)
    old.create(START)
    assert old.push(ONES, (0, 0, 0), PushId("me", 0, attempt=1)).counted
    assert new.join("me", attempt=2) == 1
    with pytest.raises(FencedError, match="attempt 2 of me has taken over"):
        old.push(ONES, (1, 1, 1), PushId("me", 1, attempt=1))
    with pytest.raises(FencedError):
        old.beat("me", attempt=1)
    with pytest.raises(FencedError):
        old.join("me", attempt=1)
    assert total(new) == -57


def test_tensors_are_pulled_into_memory_of_the_caller() -> None:
    store = filled()
    store.push(ONES, (0, 0, 0), PushId("me", 0))
    mine = torch.nn.Parameter(torch.full((1, 40), 7.0, dtype=torch.float64))
    b = np.full(5, 7.0)
    pulled = store.pull(["c", "b", "a"], into={"c": mine.detach().numpy(), "b": b})
    assert (mine == -1).all()
    assert pulled.tensors["b"] is b
    assert b.flags.writeable
    assert not pulled.tensors["a"].flags.writeable
    for wrong in (np.zeros(6), np.zeros(5, np.float32), np.zeros(10)[::2], store.pull(["b"]).tensors["b"]):
        with pytest.raises(StoreError, match="b cannot be written into"):
            store.pull(["b"], into={"b": wrong})


def test_what_came_with_a_later_version_of_a_shard_is_never_mixed_with_an_earlier_one() -> None:
    """Each shard has half of each tensor, and one half changed, so the others are asked for; by then all changed."""
    shards = shards_of(PLAIN, 2)
    writer = over(shards)
    for name in "ab":
        writer.create({name: np.zeros((4, 10))})
    pushes = iter(range(100))
    busy = [0]

    def step(rows: dict[str, list[int]]) -> None:
        gradients = {name: Rows(np.array(of), np.full((len(of), 10), -1.0)) for name, of in rows.items()}
        writer.push(gradients, (0, 0), PushId("writer", next(pushes)))

    def meddle(method: str, call: Callable[[], Any]) -> Any:
        answer = call()
        if method == "pull" and busy[0]:
            busy[0] -= 1
            step({"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]})
        return answer

    reader = over(shards, passed, meddle)
    before = reader.pull()
    step({"a": [1], "b": [2]})
    busy[0] = 3
    newer = reader.pull(newer_than=before.version)
    for name, entry in reader._known().entries.items():
        assert {shard for shard, _ in entry.places} == {0, 1}
        for shard, piece in entry.places:
            for row in range(piece.start // 10, piece.stop // 10):
                steps = newer.version[shard] - 1 + ((name, row) in (("a", 1), ("b", 2)))
                np.testing.assert_array_equal(newer.tensors[name][row], steps)


@pytest.mark.parametrize("threads", [False, True])
def test_a_round_of_a_synchronous_store_is_one_step_on_every_shard(threads: bool) -> None:
    shards = shards_of(Policy((Group(SGD(1.0)),), Sync(3)), 3)
    store = ShardedStore(links_to(shards), patience=30, threads=threads)
    store.create(START)
    names = ["a", "b", "c"]

    def work(client: int) -> None:
        store.join(f"worker-{client}")
        together.wait()
        for number in range(5):
            base = store.pull().version
            gradient = {names[client]: np.full_like(START[names[client]], 3.0)}  # the other shards wait for it as well
            assert store.push(gradient, base, PushId(f"worker-{client}", number)).counted

    together = Barrier(3)
    workers = [Thread(target=work, args=(client,)) for client in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pulled = store.pull()
    assert pulled.version == (5, 5, 5)
    for value in pulled.tensors.values():
        np.testing.assert_array_equal(value, -5.0)
    store.close()


def test_a_stale_push_is_an_answer() -> None:
    store = filled(policy=Policy((Group(SGD(1.0)),), Bounded(1, "reject")))
    for number in range(2):
        store.push(ONES, store.pull().version, PushId("fast", number))
    pushed = store.push(ONES, (0, 0, 0), PushId("slow", 0))
    assert pushed.outcomes == (Outcome.STALE,) * 3
    assert not pushed.counted
    assert total(store) == -2 * 57


def test_links_that_are_not_one_store_are_told_apart() -> None:
    shards = shards_of(PLAIN, 3)
    with pytest.raises(StoreError, match="link 0 of 3 leads to shard 1 of 3"):
        ShardedStore([*links_to(shards)[1:], *links_to(shards)[:1]]).pull()
    with pytest.raises(StoreError, match="link 0 of 2 leads to shard 0 of 3"):
        ShardedStore(links_to(shards)[:2]).pull()
    other = shards_of(Policy((Group(SGD(2.0)),)), 3)
    with pytest.raises(StoreError, match="shard 1 has another policy"):
        ShardedStore([*links_to(shards)[:1], *links_to(other)[1:]]).pull()
    with pytest.raises(StoreError, match="at least one shard"):
        ShardedStore([])


def test_a_shard_that_comes_back_older_is_believed() -> None:
    """It lost a tensor, and with it a version of its table."""
    shards = shards_of(PLAIN, 2)
    store = over(shards)
    store.create({"a": np.zeros((6, 2))})
    older = shards_of(PLAIN, 2)
    over(older).create({"a": np.zeros((6, 2))})
    store.create({"b": np.zeros((6, 2))})
    assert store.pull().tensors.keys() == {"a", "b"}
    for link, shard in zip(store.links, older, strict=True):
        assert isinstance(link, DirectLink)
        link.shard = shard
    looks = [0]

    def count(method: str, call: Callable[[], Any]) -> Any:
        looks[0] += method == "look"
        return call()

    again = ShardedStore([UnreliableLink(link, count) for link in store.links], threads=False)
    again._table = store._table
    for number in range(4):
        assert again.push({"a": np.ones((6, 2))}, (0, 0), PushId("me", number)).counted
    assert looks == [2]
    with pytest.raises(StoreError, match="no tensor 'b'"):
        again.pull(["b"])
