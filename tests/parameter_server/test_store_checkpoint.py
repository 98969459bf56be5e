"""Checkpoints: they load into any number of shards, bit for bit, and no push is lost or repeated by that."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_client import gradients_of
from unreliable import links_to, shards_of

from parameter_server.clients.client import ShardedStore
from parameter_server.files.checkpoint import deal, read_checkpoint, save_checkpoint, weights, write_checkpoint
from parameter_server.files.resharding import resharded, stretches
from parameter_server.files.snapshot import Image, Snapshots, image_of, newest
from parameter_server.opened import open_store
from parameter_server.optimizers import SGD, Adam
from parameter_server.outcome import Outcome
from parameter_server.policy import Group, Policy, Sync
from parameter_server.policy_json import policy_from_json, policy_to_json
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import Shard
from parameter_server.store import FencedError, PushId, StoreError

WHETHER = st.booleans()
ADAM = Policy((Group(SGD(1.0), "plain*"), Group(Adam(0.1))))
PLAIN = Policy((Group(SGD(1.0)),))
SHAPES: dict[str, tuple[int, ...]] = {"a": (6, 2), "b": (5,), "c": (1, 40), "d": (), "e": (0, 3), "plain": (9, 7)}


def images_of(shards: list[Shard]) -> list[Image]:
    return [image_of(shard) for shard in shards]


def loaded(images: list[Image]) -> list[Shard]:
    shards = []
    for image in images:
        memory = HeapMemory()
        image.pour(memory)
        policy = policy_from_json(image.policy)
        shards.append(Shard(image.number, image.shards, memory, policy, clock=monotonic))
    return shards


def over(shards: list[Shard]) -> ShardedStore:
    return ShardedStore(links_to(shards), threads=False, patience=5)


def filled(count: int, policy: Policy = ADAM) -> list[Shard]:
    shards = shards_of(policy, count)
    generator = np.random.default_rng(0)
    over(shards).create({name: generator.normal(size=shape).astype("float32") for name, shape in SHAPES.items()})
    return shards


def contents(images: list[Image]) -> dict[str, Any]:
    """Numbers and slots of tensors, and the steps of each element, whatever they are cut into."""
    found = stretches(images, [image.read_book() for image in images], {})
    return {
        name: (
            [np.concatenate(one).tobytes() for one in zip(*(stretch.buffers for stretch in of), strict=True)],
            np.repeat([stretch.steps for stretch in of], [stretch.piece.size for stretch in of]).tolist(),
        )
        for name, of in found.items()
    }


@settings(max_examples=40)
@given(st.data(), st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_numbers_slots_and_steps_are_the_same_on_any_number_of_shards(
    data: st.DataObject, first: int, others: list[int]
) -> None:
    shards = filled(first)
    for number in range(data.draw(st.integers(0, 3))):
        over(shards).push(data.draw(gradients_of(SHAPES)), over(shards).pull().version, PushId("me", number))
    before = contents(images_of(shards))
    images = images_of(shards)
    for count in others:
        images = resharded(images, count)
        assert contents(images) == before
        loads = [sum(piece.bytes for piece in image.pieces) for image in images]
        assert max(loads) <= sum(loads) / count + max(piece.bytes for image in images for piece in image.pieces)
    again = loaded(images)
    for one in (shards, again):  # and they go on alike
        store = over(one)
        assert store.push(ONES, store.pull().version, PushId("me", 7)).counted
        assert store.create({"new": np.full(4, 2.0)}) == ("new",)
        assert store.push({"new": np.ones(4)}, store.pull().version, PushId("me", 8)).counted
    ours, theirs = over(again).pull().tensors, over(shards).pull().tensors
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value)


ONES = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}


@settings(max_examples=60)
@given(st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.data())
def test_a_push_that_only_some_shards_counted_is_completed_and_not_repeated_after_loading(
    first: int, others: list[int], data: st.DataObject
) -> None:
    """Before every change of the number of shards a new push reaches some shards; later ones are sent between."""
    shards = filled(first, PLAIN)
    start = over(shards).pull().tensors
    unfinished: list[int] = []
    for turn, count in enumerate([*others, 1]):
        reached: set[int] = data.draw(st.sets(st.integers(0, len(shards) - 1)))
        _send_to_some(shards, turn, reached)
        if reached:
            unfinished.append(turn)
        shards = loaded(resharded(images_of(shards), count))
        again: bool = data.draw(WHETHER)
        if unfinished and again:
            _send(shards, unfinished.pop(0))
    for number in unfinished:
        _send(shards, number)
        _send(shards, number)
    pushes = {turn for turn in range(len(others) + 1) if _counted(shards, turn)}
    for name, value in over(shards).pull().tensors.items():
        expected = start[name] - np.float32(sum(2.0**number for number in pushes))
        np.testing.assert_allclose(value, expected, atol=1e-4)


def _gradients(number: int) -> dict[str, Any]:
    return {name: np.full(shape, 2.0**number, np.float32) for name, shape in SHAPES.items()}


def _send(shards: list[Shard], number: int) -> None:
    store = over(shards)
    assert store.push(_gradients(number), store.pull().version, PushId("me", number)).counted


def _send_to_some(shards: list[Shard], number: int, reached: set[int]) -> None:
    """Send a push so that only some shards get it."""
    store = over(shards)
    base = store.pull().version
    store.join("me")
    for shard, direct in enumerate(store.links):
        if shard not in reached:
            direct.push = _lost  # type: ignore[method-assign]
    try:
        store.push(_gradients(number), base, PushId("me", number))
    except StoreError:
        assert len(reached) < len(shards)


def _lost(push: Any) -> Any:
    raise StoreError("the line is dead")


def _counted(shards: list[Shard], number: int) -> bool:
    store = over(shards)
    gradients = {"a": np.zeros(SHAPES["a"], np.float32)}
    return store.push(gradients, store.pull().version, PushId("me", number)).outcomes == (Outcome.DUPLICATE,)


def test_clients_are_known_after_loading() -> None:
    shards = filled(3)
    over(shards).push(ONES, (0, 0, 0), PushId("me", 0, attempt=2))
    again = loaded(resharded(images_of(shards), 2))
    store = over(again)
    with pytest.raises(FencedError):
        store.join("me", attempt=1)
    assert store.join("me", attempt=2) == 1
    assert store.push(ONES, store.pull().version, PushId("me", 0, attempt=2)).outcomes == (Outcome.DUPLICATE,) * 2
    with pytest.raises(StoreError, match="version of 3 shards, but the store has 2"):
        store.push(ONES, (1, 1, 1), PushId("me", 1, attempt=2))
    assert store.pull().version == (1, 1)


def test_ledgers_that_say_the_same_are_one() -> None:
    shards = filled(4)
    for number in range(3):
        over(shards).push(ONES, over(shards).pull().version, PushId("me", number))
    images = resharded(images_of(shards), 3)
    assert [image.read_book().ledgers for image in images] == [[0]] * 3


def test_a_synchronous_store_goes_on_after_loading() -> None:
    policy = Policy((Group(SGD(1.0)),), Sync(1))
    shards = filled(3, policy)
    start = over(shards).pull()
    over(shards).push({"a": ONES["a"]}, start.version, PushId("me", 0))
    again = over(loaded(resharded(images_of(shards), 5)))
    for _ in range(2):
        assert again.push({"a": ONES["a"]}, again.pull().version, PushId("me", 1)).counted
    np.testing.assert_allclose(again.pull().tensors["a"], start.tensors["a"] - 2, rtol=1e-6)


def test_what_nobody_has_finished_creating_is_left_out() -> None:
    shards = filled(2)
    from parameter_server.clients.claim import Claim, claim_piece

    links_to(shards)[0].create([claim_piece("half", Claim(0, 12345))], [np.empty(0, np.float32)])
    again = loaded(resharded(images_of(shards), 2))
    assert over(again).create({"half": np.ones(3)}) == ("half",)


def test_a_checkpoint_is_taken_while_pushes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = filled(3, PLAIN)
    snapshots = [Snapshots(tmp_path / f"shard-{number}", shard) for number, shard in enumerate(shards)]
    store = over(shards)
    for link, snapshot in zip(store.links, snapshots, strict=True):
        monkeypatch.setattr(link, "snapshot", lambda snapshot=snapshot: str(snapshot.write()))
    ended = Event()

    def work() -> None:
        other, number = over(shards), 0
        while not ended.is_set():
            assert other.push(ONES, other.pull().version, PushId("me", number)).counted
            number += 1

    worker = Thread(target=work)
    worker.start()
    try:
        for number in range(4):
            save_checkpoint(store, tmp_path / f"checkpoint-{number}")
    finally:
        ended.set()
        worker.join()
    start = filled(3, PLAIN)
    for number in range(4):
        tensors = weights(tmp_path / f"checkpoint-{number}")
        images = read_checkpoint(tmp_path / f"checkpoint-{number}")
        for name, entry in over(loaded(images)).pull().tensors.items():
            np.testing.assert_array_equal(tensors[name], entry)
        versions = {image.number: image.read_book().version for image in images}
        for name, table_entry in over(start)._fetch().entries.items():
            for shard, piece in table_entry.places:
                was = over(start).pull([name]).tensors[name].reshape(-1)[piece.start : piece.stop]
                now = tensors[name].reshape(-1)[piece.start : piece.stop]
                np.testing.assert_allclose(now, was - versions[shard], rtol=1e-5, atol=1e-4)


def test_a_new_store_begins_from_a_checkpoint(tmp_path: Path) -> None:
    shards = filled(3)
    over(shards).push(ONES, (0, 0, 0), PushId("me", 0))
    write_checkpoint(tmp_path / "checkpoint", images_of(shards))
    assert deal(tmp_path / "checkpoint", tmp_path / "store", 2) == policy_to_json(ADAM)
    images = [newest(tmp_path / "store" / f"shard-{number}").image for number in range(2)]
    again = over(loaded([image for image in images if image is not None]))
    for name, value in over(shards).pull().tensors.items():
        np.testing.assert_array_equal(again.pull().tensors[name], value)
    with pytest.raises(StoreError, match="shard-0 is not empty: load a checkpoint into a new store"):
        deal(tmp_path / "checkpoint", tmp_path / "store", 2)


def test_what_is_no_checkpoint_is_told_from_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    shards = filled(2)
    write_checkpoint(first, images_of(shards))
    over(shards).push(ONES, (0, 0), PushId("me", 0))
    write_checkpoint(second, images_of(shards))
    with pytest.raises(StoreError, match="exists: give the checkpoint a name of its own"):
        write_checkpoint(first, images_of(shards))
    (second / "shard-1").write_bytes((first / "shard-1").read_bytes())
    with pytest.raises(StoreError, match="shard-1 is not of this checkpoint"):
        read_checkpoint(second)
    (second / "shard-1").unlink()
    with pytest.raises(StoreError, match="shard-1 is missing"):
        weights(second)
    data = (first / "shard-0").read_bytes()
    (first / "shard-0").write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(StoreError, match="shard-0 is damaged"):
        read_checkpoint(first)
    with pytest.raises(StoreError, match=r"is no checkpoint: there is no checkpoint\.json"):
        read_checkpoint(tmp_path / "nowhere")
    manifest = json.loads((first / "checkpoint.json").read_text())
    (first / "checkpoint.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(StoreError, match="has the format 99"):
        read_checkpoint(first)


def test_a_store_in_processes_is_saved_and_goes_on_as_one_of_other_shards(tmp_path: Path) -> None:
    first = open_store(tmp_path / "first", ADAM, shards=2, processes=1)
    try:
        first.create({name: np.full(shape, 2.0, np.float32) for name, shape in SHAPES.items()})
        for number in range(3):
            assert first.push(ONES, first.pull().version, PushId("me", number)).counted
        save_checkpoint(first, tmp_path / "checkpoint")
        deal(tmp_path / "checkpoint", tmp_path / "second", 3)
        second = open_store(tmp_path / "second", ADAM, shards=3, processes=1)
        try:
            assert [one.recovered_from for one in second.statistics()] == ["snapshot"] * 3
            assert second.push(ONES, second.pull().version, PushId("me", 2)).outcomes == (Outcome.DUPLICATE,) * 3
            for store in (first, second):
                assert store.push(ONES, store.pull().version, PushId("me", 3)).counted
            expected = first.pull().tensors
            for name, value in second.pull().tensors.items():
                np.testing.assert_array_equal(value, expected[name])
        finally:
            second.close()
    finally:
        first.close()
