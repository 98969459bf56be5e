"""Whatever bytes of a journal are spoiled: no entry comes back other than it was written, and what is gone is said."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nas.history import Entry
from nas.logs.database import Row
from nas.logs.sqlite import FILE, SqliteLog
from nas.salvage import Salvaged, ordered, salvage
from workers.errors import DamagedError, UserError

PAGE = 4096
ENTRIES = 400


def body(number: int) -> dict[str, object]:
    return {"text": f"{number} " + "".join(Random(number).choices("abcdef", k=200))}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of 401 entries, nobody's at the moment."""
    folder = tmp_path_factory.mktemp("sound")
    log = SqliteLog(folder)
    log.create("try", {"seed": 3}, {"python": "3"})
    epoch = log.acquire("try")
    for number in range(2, ENTRIES + 1):
        log.append("try", epoch, [Entry(0, float(number), "note", number, body(number))])
    log.release("try", epoch, "stopped")
    log.close()
    (folder / "try" / "reserve").unlink()
    return folder


def spoil(folder: Path, place: int, garbage: bytes) -> Path:
    path = folder / "try" / FILE
    with path.open("r+b") as file:
        file.seek(place)
        file.write(garbage)
    return path


def intact(log: SqliteLog) -> set[int]:
    """The sequences of the entries that are there; each of them is checked to be what was written."""
    found = set()
    for entry in log.entries("try"):
        if entry.kind == "note" and entry.trial is not None:
            assert (entry.trial, entry.body) == (entry.sequence, body(entry.sequence))
        if entry.kind != "note" or entry.trial is not None:
            found.add(entry.sequence)
    return found


@pytest.mark.parametrize("page", [6, 10, -1])
def test_a_spoiled_page_costs_the_entries_on_it(sound: Path, tmp_path: Path, page: int) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    size = (folder / "try" / FILE).stat().st_size
    path = spoil(folder, (page * PAGE) % size, Random(page).randbytes(PAGE))
    log = SqliteLog(folder)
    with pytest.raises(DamagedError, match=r"is damaged .* were salvaged into .*nas resume try --force") as said:
        log.acquire("try")
    assert path.read_bytes()[(page * PAGE) % size :][:PAGE] == Random(page).randbytes(PAGE)  # left as it was found
    epoch = log.acquire("try", force=True)
    lost = set(range(1, ENTRIES + 2)) - intact(log)
    assert 0 < len(lost) < 25  # an entry is about 250 bytes
    (note,) = [one for one in log.entries("try", kinds=("note",)) if one.trial is None]
    if page != -1:
        assert f"{len(lost)} are lost ({min(lost)} to {max(lost)})" in note.body["text"]
        assert f"{len(lost)} are lost" in str(said.value)
    assert log.header("try").job == {"seed": 3}
    assert (folder / "try" / "damaged-1" / FILE).exists()
    log.append("try", epoch, [Entry(0, 0.0, "note", None, {})])
    log.close()


def test_a_byte_that_sqlite_does_not_miss_is_missed_all_the_same(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    text = body(123)["text"]
    assert isinstance(text, str)
    place = (folder / "try" / FILE).read_bytes().index(text.encode())
    spoil(folder, place + 50, b"X")
    log = SqliteLog(folder)
    with pytest.raises(DamagedError, match="entry 123 is not as it was written"):
        list(log.entries("try"))
    with pytest.raises(DamagedError, match=r"entry 123 .*1 are lost \(123\)"):
        log.acquire("try")
    log.acquire("try", force=True)
    assert set(range(1, ENTRIES + 2)) - intact(log) == {123}
    log.close()


def test_a_truncated_file_keeps_its_beginning(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    path = folder / "try" / FILE
    with path.open("r+b") as file:
        file.truncate(15 * PAGE)
    log = SqliteLog(folder)
    with pytest.raises(DamagedError, match="salvaged"):
        log.acquire("try")
    log.acquire("try", force=True)
    assert len(intact(log)) > 100
    log.close()


@pytest.mark.parametrize("text", [b"not a database at all", b"\0" * 5000])
def test_a_file_that_is_none_is_said_to_be_beyond_salvage(sound: Path, tmp_path: Path, text: bytes) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    (folder / "try" / FILE).write_bytes(text)
    log = SqliteLog(folder)
    for force in (False, True):
        with pytest.raises(DamagedError, match=r"damaged beyond what can be salvaged .* restore it from a copy"):
            log.acquire("try", force)
    assert [one.state for one in log.searches()] == ["damaged"]
    log.close()
    assert (folder / "try" / FILE).read_bytes() == text


def test_a_sound_file_is_salvaged_whole(sound: Path, tmp_path: Path) -> None:
    saved = salvage(sound / "try" / FILE, tmp_path / "saved.sqlite")
    assert (saved.kept, saved.lost) == (ENTRIES + 1, ())
    assert "none before the last of them is lost" in str(saved)
    assert Salvaged(saved.path, 0, ()).loss == "so that only the job is left of the search"


def test_nothing_stays_open_where_there_is_no_room(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(UserError, match=r"copied beside itself \(No space left on device\): make room") as said:
        salvage(sound / "try" / FILE, tmp_path / "saved.sqlite")
    assert said.traceback  # which holds what the frames held
    held = (os.path.realpath(one) for one in Path("/proc/self/fd").iterdir())
    assert not [one for one in held if one.startswith(str(tmp_path))]


def test_a_spoiled_first_page_costs_no_entry(sound: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "copy"))
    spoil(folder, 0, Random(1).randbytes(PAGE))
    log = SqliteLog(folder)
    with pytest.raises(DamagedError, match="401 entries were salvaged"):
        log.acquire("try")
    log.acquire("try", force=True)
    assert intact(log) >= set(range(1, ENTRIES + 2))
    log.close()


@given(st.integers(2, 40), st.data())
def test_of_a_spoiled_number_only_itself_and_its_twin_are_lost(count: int, data: st.DataObject) -> None:
    rows: list[Row] = [(number, 0.0, "note", None, str(number), 0) for number in range(1, count + 1)]
    place = data.draw(st.integers(0, count - 2))  # the last may be any larger number
    wrong = data.draw(st.integers(-5, 2 * count).filter(lambda number: number != place + 1))
    found = ordered([(wrong, *row[1:]) if number == place else row for number, row in enumerate(rows)])
    assert set(found) <= set(rows)
    assert len(found) >= count - 2
    assert found == sorted(found)


@settings(max_examples=60, deadline=None)
@example(place=43396, length=1, seed=1)  # in the number of an entry
@example(place=3677, length=1, seed=0)  # in the name of the table of the entries
@given(place=st.integers(0, 30 * PAGE), length=st.integers(1, 3 * PAGE), seed=st.integers(0, 1000))
def test_no_spoiled_entry_is_ever_taken_for_a_good_one(sound: Path, place: int, length: int, seed: int) -> None:
    folder = sound.parent / "spoiled"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    spoil(folder, place, Random(seed).randbytes(length))
    log = SqliteLog(folder)
    try:
        log.acquire("try", force=True)
    except DamagedError:
        assert place < 2 * PAGE < place + length + PAGE  # the page of the job
    except UserError:
        assert place < 64 < place + length + 4  # the number of the schema
    else:
        lost = set(range(1, ENTRIES + 2)) - intact(log)
        root = place < 3 * PAGE < place + length + PAGE  # the page that says where the others are
        assert root or len(lost) <= (length // PAGE + 2) * 25
        assert log.header("try").job == {"seed": 3}
    finally:
        log.close()
