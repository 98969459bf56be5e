"""Flipped bits and files that were cut off, wherever they are: noticed, said, and never taken for what was there.

A shard is damaged as a disk damages it, once for every seed, and begun again. It may go on in two ways only: with all
that it had; or with an older state that it really had, from the next incarnation, so that its versions go up all the
same and everybody pulls again, and with the damage in its report.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pytest

from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import Momentum
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy
from parameter_server.policy_json import policy_to_json
from parameter_server.processes.folder import Folder, Layout, Network
from parameter_server.processes.hosted import Hosted
from parameter_server.processes.place import Place
from parameter_server.shards.book import INCARNATION
from parameter_server.shared_memory.arena_plan import PAGE
from parameter_server.store import PushId, StoreError

POLICY = Policy((Group(Momentum(0.5)),))
SIZE = 300
CASES = 60
DURABILITIES = ("process", "power")
State = tuple[int, bytes]


def pushed(shard_of: Hosted, number: int) -> None:
    shard = shard_of.shard
    generator = np.random.default_rng(number)
    with shard.lock:
        book = shard.memory.book
        shard.hello("a", 0)
        parts = [Part("w@0", generator.normal(size=SIZE).astype(np.float32))]
        answer = shard.push(Push(PushId("a", number), book.version, int(book.header["table"][0]), parts))
    assert isinstance(answer, Answer)
    assert answer.outcome is Outcome.APPLIED, answer


def state_of(hosted: Hosted) -> State:
    """How many updates its numbers have taken, and these; whatever the incarnation."""
    memory = hosted.shard.memory
    numbers = b"".join(buffer.tobytes() for place in range(len(memory.pieces)) for buffer in memory.front(place))
    return memory.book.version % INCARNATION, numbers


def let_go(hosted: Hosted) -> None:
    """As a kill does: nothing is written, and what was locked is free."""
    hosted.life.close()
    hosted.shard.memory.close()


@dataclass
class Past:
    """A shard that was killed after some pushes and two snapshots, and every state that it ever had."""

    path: Path
    place: Place
    durability: str
    version: int = 0
    states: list[State] = field(default_factory=list)

    def copy(self, path: Path) -> Past:
        shutil.copytree(self.path, path)
        return Past(path, _place(path, self.durability), self.durability, self.version, self.states)

    @property
    def folder(self) -> Path:
        return Folder(self.path).shard(0)

    def again(self) -> Hosted:
        return Hosted(self.place, 0, POLICY)


def _place(path: Path, durability: str) -> Place:
    return Place(path, path, Layout(1, 1, durability, policy_to_json(POLICY)), 0, 1.0)


@pytest.fixture(scope="module", params=DURABILITIES)
def past(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Past:
    path = tmp_path_factory.mktemp("past")
    made = Past(path, _place(path, request.param), request.param)
    hosted = made.again()
    made.states.append(state_of(hosted))  # of nothing
    with hosted.shard.lock:
        hosted.shard.create([Piece("w", (SIZE,), "float32", 0, SIZE)], [np.ones(SIZE, np.float32)])
    made.states.append(state_of(hosted))
    for number in range(7):
        pushed(hosted, number)
        made.states.append(state_of(hosted))
        if number in (2, 4):
            hosted.snapshot()
    made.version = hosted.shard.memory.book.version
    let_go(hosted)
    return made


def flip(path: Path, places: list[int], random: Random) -> str:
    """Flip one bit at each of these places of a file; gives what was done."""
    content = bytearray(path.read_bytes())
    bits = [random.randrange(8) for _ in places]
    for place, bit in zip(places, bits, strict=True):
        content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bits {bits} of bytes {places} of {path.name} were flipped"


def cut(path: Path, random: Random) -> str:
    size = random.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(size)
    return f"{path.name} was cut to {size} bytes"


def harm(path: Path, random: Random) -> str:
    """Flip a few bits of a file, cut it, or write over a part of it."""
    size = path.stat().st_size
    way = random.randrange(4)
    if way == 0:
        return cut(path, random)
    if way == 1:
        start = random.randrange(size)
        content = path.read_bytes()
        other = random.randbytes(min(random.choice((16, 512, 4096)), size - start))
        path.write_bytes(content[:start] + other + content[start + len(other) :])
        return f"{len(other)} bytes from {start} of {path.name} were written over"
    return flip(path, [random.randrange(size) for _ in range(way - 1)], random)


def check(past: Past, what: str) -> tuple[str, bool]:
    """Begin the shard again, and hold what it is against all that it may be; gives its source, and if it is whole."""
    hosted = past.again()
    try:
        now, version = state_of(hosted), hosted.shard.memory.book.version
        if now == past.states[-1] and version == past.version:
            whole = True
        else:
            assert version >= INCARNATION > past.version, f"{what}: it has gone on at {version} as if nothing was"
            assert now in past.states, f"{what}: it never was like this"
            whole = False
        source = hosted.shard.statistics.recovered_from
        if hosted.shard.memory.pieces:
            pushed(hosted, 100)  # it serves
            assert hosted.shard.memory.book.version == version + 1
        return source, whole
    finally:
        let_go(hosted)


@pytest.fixture
def cases(past: Past, tmp_path: Path) -> Iterator[tuple[Past, Random]]:
    """Copies of one past, each with a seed; every one is gone before the next."""

    def made() -> Iterator[tuple[Past, Random]]:
        for seed in range(CASES):
            yield past.copy(tmp_path / "store"), Random(seed)
            shutil.rmtree(tmp_path / "store")

    return made()


def vital(path: Path) -> list[int]:
    """The bytes of an arena that say what it is and what counts: all but its numbers, and padding."""
    size = path.stat().st_size
    return [*range(104), *range(PAGE, size - 2 * 2 * 2 * SIZE * 4)]


def test_bits_that_flip_in_the_header_or_a_book_of_an_arena_are_noticed(
    cases: Iterator[tuple[Past, Random]], capsys: pytest.CaptureFixture[str]
) -> None:
    noticed = 0
    for past, random in cases:
        path = past.folder / "arena"
        what = flip(path, random.sample(vital(path), random.choice((1, 1, 2, 5))), random)
        source, whole = check(past, what)
        report = capsys.readouterr().err
        assert (source == "arena") == (not report), f"{what}, and was not said"
        assert whole or past.durability == "process", f"{what}, and the log was there"
        noticed += source != "arena"
    assert noticed > CASES / 4


def test_an_arena_that_was_cut_off_is_noticed(cases: Iterator[tuple[Past, Random]]) -> None:
    for past, random in cases:
        what = cut(past.folder / "arena", random)
        source, whole = check(past, what)
        assert source == ("snapshot and log" if past.durability == "power" else "snapshot")
        assert whole == (past.durability == "power")


def test_damage_to_the_newest_snapshot_is_noticed_and_the_one_before_taken(
    cases: Iterator[tuple[Past, Random]], capsys: pytest.CaptureFixture[str]
) -> None:
    for past, random in cases:
        (past.folder / "arena").unlink()
        what = harm(past.folder / "snapshot-000000002", random)
        source, whole = check(past, what)
        assert source == ("previous snapshot and log" if past.durability == "power" else "previous snapshot"), what
        assert whole == (past.durability == "power")
        assert "snapshot-000000002" in capsys.readouterr().err


def test_damage_to_both_snapshots_is_noticed(
    cases: Iterator[tuple[Past, Random]], capsys: pytest.CaptureFixture[str]
) -> None:
    for past, random in cases:
        (past.folder / "arena").unlink()
        what = [harm(past.folder / f"snapshot-00000000{number}", random) for number in (1, 2)]
        source, whole = check(past, "; ".join(what))
        assert (source, whole) == ("", False)
        report = capsys.readouterr().err
        assert all(f"snapshot-00000000{number}" in report for number in (1, 2))
        assert "may lack what was acknowledged last" in report


@pytest.mark.parametrize("past", ["power"], indirect=True)
def test_damage_to_a_log_is_noticed_and_what_is_before_it_taken(
    cases: Iterator[tuple[Past, Random]], capsys: pytest.CaptureFixture[str]
) -> None:
    lost = 0
    for past, random in cases:
        (past.folder / "arena").unlink()
        if random.randrange(2):
            (past.folder / "snapshot-000000002").unlink()
        path = random.choice([path for path in sorted(past.folder.glob("log-*")) if path.stat().st_size])
        if random.randrange(2):
            what = harm(path, random)
        else:  # the few bytes before each record
            content = path.read_bytes()
            records = [place for place in range(len(content)) if content.startswith(b"CLOG", place)]
            what = flip(path, [random.choice(records) + random.randrange(24)], random)
        _, whole = check(past, what)
        assert whole or "may lack what was acknowledged last" in capsys.readouterr().err, what
        lost += not whole
    assert lost > CASES / 4


def test_flipped_bits_in_what_a_store_is_are_refused_or_seen_by_who_opens_it(tmp_path: Path) -> None:
    """Who opens a store says what it should be."""
    folder = Folder(tmp_path)
    wanted = Layout(3, 2, "power", policy_to_json(POLICY), Network("127.0.0.1", 7))
    folder.found(wanted)
    content = folder.layout.read_bytes()
    for seed in range(300):
        random = Random(seed)
        what = flip(folder.layout, [random.randrange(len(content)) for _ in range(random.choice((1, 1, 3)))], random)
        try:
            there = folder.read_layout()
        except StoreError as error:
            assert "restore" in str(error) or "the folder has the format" in str(error), what  # noqa: PT017
        else:
            assert there is not None
            assert there != wanted or json.loads(folder.layout.read_bytes()) == json.loads(content), what
        folder.layout.write_bytes(content)


def test_files_of_people_beside_snapshots_and_logs_are_left_alone(past: Past, tmp_path: Path) -> None:
    copied = past.copy(tmp_path / "store")
    for name in ("snapshot-000000002.bak", "snapshot-old", "log-000000002.bak"):
        (copied.folder / name).write_bytes(b"mine")
    hosted = copied.again()
    assert hosted.snapshot().endswith("snapshot-000000003")
    let_go(hosted)
    (copied.folder / "arena").unlink()
    source, _ = check(copied, "files of people were there")
    assert source == "snapshot"
    assert (copied.folder / "snapshot-old").read_bytes() == b"mine"


def test_a_fence_that_was_only_in_a_damaged_snapshot_is_missed(past: Past, tmp_path: Path) -> None:
    """The snapshot before has the same version, so that alone says nothing."""
    copied = past.copy(tmp_path / "store")
    hosted = copied.again()
    hosted.snapshot()
    with hosted.shard.lock:
        hosted.shard.hello("a", 7)
    hosted.end()
    hosted.shard.memory.close()
    (copied.folder / "arena").unlink()
    flip(copied.folder / "snapshot-000000004", [999], Random(0))
    for path in copied.folder.glob("log-*"):
        path.unlink()
    assert check(copied, "the last snapshot was damaged") == ("previous snapshot", False)


@pytest.mark.parametrize("durability", DURABILITIES)
def test_tensors_that_were_only_created_are_missed_with_the_only_snapshot(tmp_path: Path, durability: str) -> None:
    place = _place(tmp_path, durability)
    hosted = Hosted(place, 0, POLICY)
    with hosted.shard.lock:
        hosted.shard.create([Piece("w", (SIZE,), "float32", 0, SIZE)], [np.ones(SIZE, np.float32)])
    hosted.end()
    hosted.shard.memory.close()
    folder = Folder(tmp_path).shard(0)
    for path in (folder / "arena", *folder.glob("log-*")):
        path.unlink()
    cut(folder / "snapshot-000000001", Random(0))
    past = Past(tmp_path, place, durability, 0, [(0, b""), (0, b"w")])
    assert check(past, "the only snapshot was cut off") == ("", False)
