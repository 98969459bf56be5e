"""Processes that are killed or stopped at the worst moments: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from parameter_server.link import Part, Push
from parameter_server.links.connection import Connections
from parameter_server.links.same_machine import SameMachineLink
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece, Whole, cut
from parameter_server.store import PushId

PROCESS = Path(__file__).with_name("machine_process.py")
ROOT = str(Path(__file__).parents[2])
RATE = 0.5
SIZE = 1_300_000  # two pieces, by the ring


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A process that serves shards in this folder, as soon as it does."""
    process = subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


@contextmanager
def ended(*processes: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in processes:
            with process:
                process.kill()


def linked(folder: Path, shard: int = 0) -> SameMachineLink:
    return SameMachineLink(Connections(folder / "socket", 60), shard)


def filled(link: SameMachineLink, size: int) -> list[Piece]:
    pieces = cut([Whole("w", (size,), "float32")], 1)
    link.create(pieces, [np.zeros(piece.size, np.float32) for piece in pieces])
    return pieces


def push(link: SameMachineLink, pieces: list[Piece], number: int, client: str = "me") -> Outcome:
    """Push number + 1 everywhere, so that the sum tells which pushes were counted."""
    parts = [Part(piece.key, np.full(piece.size, number + 1, np.float32)) for piece in pieces]
    return link.push(Push(PushId(client, number), 0, 1, parts)).outcome


def total(link: SameMachineLink, pieces: list[Piece]) -> float:
    """The one number that is everywhere, times -1 / RATE: the sum of all gradients that were counted."""
    parts = link.pull([piece.key for piece in pieces]).parts
    values = {float(part[0]) for part in parts.values()}
    assert len(values) == 1
    assert all((part == part[0]).all() for part in parts.values())
    return -values.pop() / RATE


@pytest.mark.parametrize("size", [2_500, 60_000, SIZE])
@pytest.mark.parametrize("moment", ["before apply", "inside apply", "after apply", "after commit"])
def test_a_shard_killed_anywhere_counts_every_push_once(tmp_path: Path, moment: str, size: int) -> None:
    """By the message, the slot and the ring; the client sends again by itself, and sees nothing of it."""
    process = started(tmp_path, "1", "async", moment, "3")
    link = linked(tmp_path)
    outcomes: list[Outcome] = []
    with ended(process):
        link.hello("me", 0)
        pieces = filled(link, size)
        assert total(link, pieces) == 0

        def work() -> None:
            for number in range(5):
                outcome = push(link, pieces, number)
                while outcome is Outcome.UNKNOWN_CLIENT:
                    link.hello("me", 0)
                    outcome = push(link, pieces, number)
                outcomes.append(outcome)

        thread = Thread(target=work)
        thread.start()
        assert process.wait(60) == -signal.SIGKILL
    assert total(link, pieces) in [sum(range(len(outcomes) + more)) for more in (1, 2)]  # what is mapped stays whole
    again = started(tmp_path, "1", "async")
    with ended(again):
        thread.join()
        assert link.hello("me", 0).number == 5
        assert total(link, pieces) == 1 + 2 + 3 + 4 + 5
        assert outcomes.count(Outcome.DUPLICATE) == (moment == "after commit")
        assert outcomes.count(Outcome.APPLIED) == 5 - (moment == "after commit")
        link.close()


_CLIENT = """
import os, signal, sys
import numpy as np
from pathlib import Path
from parameter_server.shared_memory import slots
from parameter_server.link import Part, Push
from parameter_server.links.connection import Connections
from parameter_server.links.same_machine import SameMachineLink
from parameter_server.store import PushId

folder, name = sys.argv[1], getattr(signal, sys.argv[2])
link = SameMachineLink(Connections(Path(folder) / "socket", 60), 0)
pieces = link.hello("other", 0).pieces
fill = slots.Slot.fill

def filled(self, number, checksum):
    fill(self, number, checksum)
    if number == 3:
        print("middle", flush=True)
        os.kill(os.getpid(), name)

slots.Slot.fill = filled
parts = [Part(piece.key, np.full(piece.size, 100, np.float32)) for piece in pieces]
print(link.push(Push(PushId("other", 0), 0, 1, parts)).outcome, flush=True)
"""


def client(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """A client that sends itself a signal when four chunks of its push are in the ring."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(folder), name],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"middle\n"
    return process


def test_a_client_that_stands_still_in_the_middle_of_a_push_stops_nobody(tmp_path: Path) -> None:
    process = started(tmp_path, "1", "async")
    link = linked(tmp_path)
    with ended(process):
        link.hello("me", 0)
        pieces = filled(link, SIZE)
        stopped = client(tmp_path, "SIGSTOP")
        with ended(stopped):
            for number in range(3):
                assert push(link, pieces, number) is Outcome.APPLIED
            assert total(link, pieces) == 1 + 2 + 3
            stopped.send_signal(signal.SIGCONT)
            assert stopped.stdout is not None
            assert stopped.stdout.readline() == b"applied\n"
        assert total(link, pieces) == 1 + 2 + 3 + 100
        link.close()


def test_a_client_that_dies_in_the_middle_of_a_push_has_pushed_nothing(tmp_path: Path) -> None:
    process = started(tmp_path, "1", "async")
    link = linked(tmp_path)
    with ended(process):
        link.hello("me", 0)
        pieces = filled(link, SIZE)
        died = client(tmp_path, "SIGKILL")
        with ended(died):
            assert died.wait(60) == -signal.SIGKILL
        assert push(link, pieces, 0) is Outcome.APPLIED
        assert total(link, pieces) == 1
        link.close()


def test_a_stopped_shard_is_waited_for(tmp_path: Path) -> None:
    """And its numbers can be pulled all the while."""
    process = started(tmp_path, "1", "async")
    link, other = linked(tmp_path), linked(tmp_path)
    with ended(process):
        link.hello("me", 0)
        pieces = filled(link, SIZE)
        assert total(other, pieces) == 0
        process.send_signal(signal.SIGSTOP)
        outcomes: list[Outcome] = []
        thread = Thread(target=lambda: outcomes.append(push(link, pieces, 0)))
        thread.start()
        time.sleep(0.1)
        assert total(other, pieces) == 0
        assert outcomes == []
        process.send_signal(signal.SIGCONT)
        thread.join()
        assert outcomes == [Outcome.APPLIED]
        link.close()
        other.close()


def test_a_round_survives_the_death_of_the_shard(tmp_path: Path) -> None:
    """Both workers send again, and the round is taken once."""
    process = started(tmp_path, "1", "sync", "after commit", "1")
    links = [linked(tmp_path), linked(tmp_path)]
    outcomes: dict[str, Outcome] = {}
    with ended(process):
        pieces = filled(links[0], 60_000)
        for name, link in zip("ab", links, strict=True):
            link.hello(name, 0)

        def work(name: str, link: SameMachineLink) -> None:
            outcome = push(link, pieces, 0, name)
            while outcome.again:
                link.hello(name, 0)
                outcome = push(link, pieces, 0, name)
            outcomes[name] = outcome

        threads = [Thread(target=work, args=(name, link)) for name, link in zip("ab", links, strict=True)]
        for thread in threads:
            thread.start()
        assert process.wait(60) == -signal.SIGKILL
    again = started(tmp_path, "1", "sync")
    with ended(again):
        for thread in threads:
            thread.join()
        assert outcomes == {"a": Outcome.DUPLICATE, "b": Outcome.DUPLICATE}
        assert total(links[0], pieces) == 1
        for link in links:
            link.close()
