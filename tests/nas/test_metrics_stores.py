"""Shards as their driver shows them: of a real store, one of whose processes stands still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from scrapes import Samples, parsed

from nas.metrics.exposition import of_shard
from nas.metrics.stores import Stores
from parameter_server.clients.client import ShardedStore
from parameter_server.metrics import reading
from parameter_server.opened import connect, open_store, running
from parameter_server.optimizers import SGD
from parameter_server.policy import Group, Policy

SHARDS = 6  # in two processes
PATIENCE = 2.5  # seconds for a shard to answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ShardedStore]:
    policy = Policy((Group(SGD(1.0)),), lease=30.0)
    with closing(open_store(tmp_path / "weights", policy, shards=SHARDS, processes=2)) as opened:
        opened.create({"w": np.zeros(SHARDS, np.float32)})
        yield opened


@pytest.fixture
def stopped(tmp_path: Path, store: ShardedStore) -> Iterator[None]:
    """The process of every other shard stands still."""
    found = running(tmp_path / "weights")
    assert found is not None
    assert found.processes[0] is not None
    os.kill(found.processes[0], signal.SIGSTOP)
    yield
    with suppress(ProcessLookupError):  # its supervisor may have replaced it
        os.kill(found.processes[0], signal.SIGCONT)


def up(samples: Samples) -> dict[str, float]:
    return {dict(labels)["shard"]: value for (name, labels), value in samples.items() if name == "nas_store_up"}


def test_shards_that_hang_keep_no_other_from_being_seen(
    tmp_path: Path, stopped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.metrics.stores.PATIENCE", PATIENCE)
    assert of_shard("try", "weights", 0, [])  # what is imported at the first scrape is there
    with closing(Stores("try", tmp_path)) as stores, ThreadPoolExecutor(SHARDS) as pool:
        began = time.monotonic()
        pages = [pool.submit(stores.page, "weights", shard) for shard in (*range(0, SHARDS, 2), *range(1, SHARDS, 2))]
        for page in pages[SHARDS // 2 :]:
            assert set(up(parsed(page.result().decode())[0]).values()) == {1.0}
        assert time.monotonic() - began < 2 * PATIENCE  # three of them, one after the other, would take three
        for page in pages[: SHARDS // 2]:
            assert set(up(parsed(page.result().decode())[0]).values()) == {0.0}
    with pytest.raises(KeyError):
        stores.page("weights", SHARDS)


def test_all_shards_are_asked_at_once(stopped: None, tmp_path: Path) -> None:
    with closing(connect(tmp_path / "weights", patience=PATIENCE)) as store:
        began = time.monotonic()
        assert {one.shard for one in reading(store.links)()} == set(range(1, SHARDS, 2))
        assert time.monotonic() - began < 2.5 * PATIENCE
