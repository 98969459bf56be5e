"""The arena of a shard: what it holds after a death at any moment, and what it refuses to believe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parameter_server.piece import Piece
from parameter_server.shared_memory import arena_plan
from parameter_server.shared_memory.arena import Arena
from parameter_server.shared_memory.arena_plan import PAGE, Plan, UnsoundError
from parameter_server.shared_memory.arena_reader import ArenaReader
from parameter_server.store import StoreError


def piece(name: str, size: int, dtype: str = "float32") -> Piece:
    return Piece(name, (size,), dtype, 0, size)


def filled(path: Path, *values: float, size: int = 5) -> Arena:
    """An arena of pieces "0", "1", ..., each of one value and one slot of zeros."""
    arena = Arena.create(path)
    arrays = [np.full(size, value, np.float32) for value in values]
    arena.grow(
        [piece(str(place), size) for place in range(len(values))],
        [(array, np.zeros_like(array)) for array in arrays],
        4,
    )
    return arena


def update(arena: Arena, place: int, value: float) -> None:
    """Take a step of one piece, as a shard does."""
    arena.announce(place)
    for array in arena.back(place):
        array[:] = value
    arena.book.header["version"] += 1
    arena.book.pieces["changed"][place] = arena.book.version
    arena.commit([place])


def front(arena: Arena, place: int) -> list[float]:
    return sorted({float(value) for array in arena.front(place) for value in array})


def test_an_arena_goes_on_where_it_was_closed(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1, 2)
    arena.book.client(0, "a")["attempt"] = 7
    update(arena, 1, 3)
    arena.close()
    again = Arena.open(tmp_path / "arena")
    assert [front(again, 0), front(again, 1)] == [[0, 1], [3]]
    assert again.book.version == 1
    assert again.book.client(0, "a")["attempt"] == 7
    again.close()


def test_what_was_not_committed_never_was(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1)
    arena.announce(0)
    arena.back(0)[0][:] = 9
    arena.book.header["version"] = 5
    arena.close()
    again = Arena.open(tmp_path / "arena")
    assert (again.book.version, front(again, 0)) == (0, [0, 1])
    again.book.header["version"] = 5
    again.book.client(0, "b")
    again.rollback()
    assert (again.book.version, again.book.rows) == (0, {})
    again.close()


def test_growing_keeps_numbers_clients_and_versions(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1)
    update(arena, 0, 2)
    arena.book.client(0, "a")
    arena.grow([piece("new", 3, "float64")], [(np.arange(3.0),)], 100)
    for _ in range(2):
        assert (arena.book.version, front(arena, 0), front(arena, 1)) == (1, [2], [0, 1, 2])
        assert arena.book.rows == {(0, "a"): 0}
        assert arena.book.header["capacity"][0] == 100
        arena.close()
        arena = Arena.open(tmp_path / "arena")
    arena.close()


def test_numbers_in_front_are_not_to_be_written_to(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1)
    with pytest.raises(ValueError, match="read-only"):
        arena.front(0)[0][:] = 1
    arena.close()


def test_two_processes_never_serve_one_arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parameter_server.shared_memory.arena.PATIENCE", 0.05)
    arena = filled(tmp_path / "arena", 1)
    for opened in (Arena.open, Arena.create):
        with pytest.raises(StoreError, match="another process serves"):
            opened(tmp_path / "arena")
    arena.close()
    Arena.open(tmp_path / "arena").close()


def test_a_full_disk_is_an_error_before_anything_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = filled(tmp_path / "arena", 1)

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match=r"No space left on device.*make room"):
        arena.grow([piece("new", 3)], [(np.zeros(3, np.float32),)], 4)
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".new"] == []
    assert (len(arena.pieces), front(arena, 0)) == (1, [0, 1])
    update(arena, 0, 4)
    arena.close()
    again = Arena.open(tmp_path / "arena")
    assert front(again, 0) == [4]
    again.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot allocate files")
def test_an_arena_has_all_its_room_on_disk(tmp_path: Path) -> None:
    filled(tmp_path / "arena", 1, size=100_000).close()
    status = (tmp_path / "arena").stat()
    assert status.st_blocks * 512 >= status.st_size > 16 * 100_000
    assert status.st_mode & 0o077 == 0


def test_an_arena_of_before_the_last_boot_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "arena", 1).close()
    monkeypatch.setattr(arena_plan, "boot", lambda: "another")
    with pytest.raises(UnsoundError, match="before the machine last started"):
        Arena.open(tmp_path / "arena")
    monkeypatch.setattr(arena_plan, "boot", lambda: "")
    with pytest.raises(UnsoundError, match="before the machine last started"):
        Arena.open(tmp_path / "arena")


def test_a_missing_or_empty_file_is_no_arena(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Arena.open(tmp_path / "arena")
    for content in (b"", b"x" * 10_000):
        (tmp_path / "arena").write_bytes(content)
        with pytest.raises(UnsoundError, match=r"is empty|no arena"):
            Arena.open(tmp_path / "arena")
    Arena.create(tmp_path / "arena").close()
    Arena.open(tmp_path / "arena").close()


@given(data=st.data())
def test_a_flipped_bit_is_never_believed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """In header, table, or book: the arena is refused, or the book of before is whole and so are its numbers."""
    path = tmp_path_factory.mktemp("flipped") / "arena"
    arena = filled(path, 1)
    for value in (2, 3):
        update(arena, 0, value)
    arena.close()
    plan = Plan.of(arena.pieces, [1], 4)
    length = len(plan.header()) - PAGE + 40
    offset = data.draw(
        st.one_of(
            st.integers(0, 103), st.integers(PAGE, PAGE + length - 41), *(st.integers(b, b + 200) for b in plan.blocks)
        )
    )
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        again = Arena.open(path)
    except UnsoundError:
        return
    assert (again.book.version, front(again, 0)) in [(1, [2]), (2, [3])]
    again.close()


def test_a_book_of_before_is_not_believed_once_its_numbers_are_written_over(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1)
    for value in (2, 3):
        update(arena, 0, value)
    arena.announce(0)
    arena.back(0)[0][:2] = 4  # an update that was killed: of version 2 the front is whole, of version 1 it is not
    newest = arena._block
    arena.close()
    path = tmp_path / "arena"
    again = Arena.open(path)
    assert front(again, 0) == [3]
    again.close()
    content = bytearray(path.read_bytes())
    content[Plan.of(arena.pieces, [1], 4).blocks[newest] + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnsoundError, match="lacks what was done since"):
        Arena.open(path)


_KILLED = """
import os, sys
from pathlib import Path
import numpy as np
from parameter_server.shared_memory.arena import Arena
arena = Arena.open(Path(sys.argv[1]))
print("begun", flush=True)
while True:
    value = arena.book.version + 1
    for place in range(len(arena.pieces)):
        arena.announce(place)
        for array in arena.back(place):
            array[:] = value
    arena.book.header["version"] = value
    arena.book.client(0, f"c{value % 3}")["highest"] = value
    arena.commit(range(len(arena.pieces)))
"""


def test_a_process_killed_at_any_moment_leaves_a_whole_version(tmp_path: Path) -> None:
    filled(tmp_path / "arena", 0, 0, size=50_000).close()
    before = 0
    for number in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(tmp_path / "arena")], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.003 * number)
            process.send_signal(signal.SIGKILL)
        arena = Arena.open(tmp_path / "arena")
        version = arena.book.version
        assert version >= before
        assert front(arena, 0) == front(arena, 1) == [version]
        assert version == 0 or arena.book.client(0, f"c{version % 3}")["highest"] == version
        arena.close()
        before = version
    assert before > 0


def test_a_reader_sees_the_newest_version_of_what_it_asks_for(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1, 2)
    reader = ArenaReader(arena.reader())
    update(arena, 1, 5)
    mine = np.zeros(5, np.float32)
    pulled = reader.pull(["0@0", "1@0"], None, {"1@0": mine})
    assert pulled is not None
    assert pulled.parts["1@0"] is mine
    assert {key: part.tolist() for key, part in pulled.parts.items()} == {"0@0": [1.0] * 5, "1@0": [5.0] * 5}
    newer = reader.pull(["0@0", "1@0"], 0, {})
    assert newer is not None
    assert (newer.version, list(newer.parts)) == (1, ["1@0"])
    with pytest.raises(StoreError, match="no piece 'x@0'"):
        reader.pull(["x@0"], None, {})
    reader.close()
    arena.close()


def test_a_reader_never_gives_what_was_written_over_meanwhile(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1, 2)
    reader = ArenaReader(arena.reader())
    update(arena, 0, 3)
    arena.announce(0)  # the next update writes over what was in front before; that is not what a pull gives
    assert reader.pull(["0@0"], None, {}) is not None

    class Slow(dict[str, object]):
        """While the first piece is copied, the second one is updated twice."""

        def __contains__(self, key: object) -> bool:
            if key == "1@0":
                for value in (7, 8):
                    update(arena, 1, value)
                update(arena, 0, 9)
            return False

    assert reader.pull(["0@0", "1@0"], None, Slow()) is None  # type: ignore[arg-type]
    pulled = reader.pull(["0@0", "1@0"], None, {})
    assert pulled is not None
    assert {key: part[0] for key, part in pulled.parts.items()} == {"0@0": 9, "1@0": 8}
    reader.close()
    arena.close()


def test_a_reader_learns_that_its_file_was_replaced(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 1)
    reader = ArenaReader(arena.reader())
    assert reader.current()
    arena.grow([], [], 50)
    assert not reader.current()
    reader.close()
    reader = ArenaReader(arena.reader())
    arena.close()
    Arena.create(tmp_path / "arena").close()
    assert not reader.current()
    reader.close()


_WRITING = _KILLED.replace("while True:", "while not os.path.exists(sys.argv[2]):")


def test_what_a_reader_pulls_is_of_one_version_while_another_process_writes(tmp_path: Path) -> None:
    arena = filled(tmp_path / "arena", 0, 0, 0, size=20_000)
    descriptor = arena.reader()
    arena.close()
    reader = ArenaReader(descriptor)
    stop = tmp_path / "stop"
    seen = []
    with subprocess.Popen(
        [sys.executable, "-c", _WRITING, str(tmp_path / "arena"), str(stop)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2000):
            pulled = reader.pull(["0@0", "1@0", "2@0"], None, {})
            if pulled is not None:
                assert {float(value) for part in pulled.parts.values() for value in part[::97]} == {pulled.version}
                seen.append(pulled.version)
        stop.touch()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    reader.close()
