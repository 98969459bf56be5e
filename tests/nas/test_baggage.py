"""What travels with a job comes out as it went in, and an archive of somebody else's does no harm."""

from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.remote.baggage import pack
from nas.remote.unpacking import safe, unpack
from workers.errors import DamagedError, UserError

PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20)
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


def archive(*entries: tuple[str, bytes, int]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, content)
    return stream.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@settings(max_examples=60)
@given(st.dictionaries(PATH.filter(safe), st.binary(max_size=50), max_size=6))
def test_files_come_out_as_they_went_in(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("job")
    for name, content in files.items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        except OSError:  # a name that is a folder already, or too long for this file system
            continue
    (folder / ".gitignore").unlink(missing_ok=True)
    packed = pack(folder)
    assert pack(folder).digest == packed.digest
    unpack(packed.content, folder.with_name(f"{folder.name}-out"))
    out = contents(folder.with_name(f"{folder.name}-out"))
    there = contents(folder)
    assert set(out) <= set(there)
    assert out == {name: there[name] for name in out}
    assert packed.files == len(out)
    assert packed.bytes == sum(map(len, out.values()))


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "~", "\\", "C:", "b\n"]), min_size=1, max_size=5).map("/".join))
def test_whatever_an_archive_calls_its_files_nothing_is_written_beside(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    top = tmp_path_factory.mktemp("top")
    inner = top / "one" / "two"
    try:
        unpack(archive((name, b"x", 0o100644)), inner)
    except DamagedError:
        assert not inner.exists()
    beside = [path for path in top.rglob("*") if path.is_file() and not path.is_relative_to(inner)]
    assert not beside
    assert list((top / "one").iterdir()) in ([], [inner])


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "..", "a/", "", "a//b", "a\\..\\x", "C:/x", "/".join("a" * 65), "a" * 256]
)
def test_paths_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DamagedError, match="cannot be unpacked"):
        unpack(archive((name, b"x", 0o100644)), tmp_path / "in")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(DamagedError, match="no plain file"):
        unpack(archive(("link", b"/etc", kind | 0o777), ("link/x", b"x", 0o100644)), tmp_path / "in")


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive(("a", b"1", 0), ("a", b"2", 0))
    with pytest.raises(DamagedError):
        unpack(twice, tmp_path / "in")
    with pytest.raises(DamagedError):
        unpack(archive(("a", b"1", 0), ("a/b", b"2", 0)), tmp_path / "in")


def test_bombs_are_refused_by_what_comes_out(tmp_path: Path) -> None:
    bomb = archive(("zeros", bytes(50 << 20), 0))
    assert len(bomb) < 60_000
    with pytest.raises(DamagedError, match="more than 1,000,000 bytes"):
        unpack(bomb, tmp_path / "in", most_bytes=1_000_000)
    lying = bomb.replace((50 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(DamagedError):
        unpack(lying, tmp_path / "in", most_bytes=1_000_000)
    with pytest.raises(DamagedError, match="30 files, more than 20"):
        unpack(archive(*((str(number), b"", 0) for number in range(30))), tmp_path / "in", most_files=20)
    assert not list(tmp_path.iterdir())


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_archive_is_said_to_be_one(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    good = bytearray(archive(("a.py", b"x = 1\n" * 9, 0o100644), ("b/c.py", b"", 0)))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged") / "in"
    try:
        unpack(bytes(good[: data.draw(st.integers(0, len(good)))]), folder)
    except DamagedError:
        assert not folder.exists()


def test_what_is_unpacked_already_is_kept(tmp_path: Path) -> None:
    unpack(archive(("a.py", b"1", 0)), tmp_path / "in")
    unpack(archive(("a.py", b"2", 0)), tmp_path / "in")
    assert contents(tmp_path) == {"in/a.py": b"1"}


def test_data_searches_environments_and_what_is_ignored_stay_at_home(tmp_path: Path) -> None:
    for name in (
        "job.yaml", "spaces/mine.py", "data/images.bin", "searches/try/journal.sqlite", "out/architecture.json",
        "env/pyvenv.cfg", ".git/config", ".venv/bin/python", "spaces/__pycache__/mine.pyc", "big.log", ".env",
        ".env.local", ".ssh/id", ".aws/credentials", ".ray/auth_token", "a/.kube/config", ".docker/config.json",
        "spaces/notes.txt", "tables/data/__init__.py",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "spaces" / ".rayignore").write_text("notes.txt\n")
    unpack(pack(tmp_path).content, tmp_path / "in")
    travelled = {name for name in contents(tmp_path / "in") if not name.endswith("ignore")}
    assert travelled == {"job.yaml", "spaces/mine.py", "tables/data/__init__.py"}
    (tmp_path / "data" / "reading.py").touch()
    (tmp_path / ".gitignore").write_text("*.log\n!.env\n/in/\n")
    packed = pack(tmp_path)
    unpack(packed.content, tmp_path / "again")
    assert {"data/reading.py", ".env"} <= set(contents(tmp_path / "again"))


def test_links_are_followed_within_the_folder_and_left_out_beyond(tmp_path: Path) -> None:
    job, secret = tmp_path / "job", tmp_path / "secret"
    (job / "a").mkdir(parents=True)
    secret.write_text("secret")
    (job / "code.py").write_text("code")
    (job / "a" / "same.py").symlink_to(job / "code.py")
    (job / "a" / "out.py").symlink_to(secret)
    (job / "a" / "loop").symlink_to(job)
    (job / "gone.py").symlink_to("nowhere")
    os.mkfifo(job / "pipe")
    packed = pack(job)
    assert packed.left_out == ("a/loop", "a/out.py", "gone.py", "pipe")
    unpack(packed.content, tmp_path / "in")
    assert contents(tmp_path / "in") == {"code.py": b"code", "a/same.py": b"code"}
    assert not any(path.is_symlink() for path in (tmp_path / "in").rglob("*"))


def test_what_holds_a_secret_stays_at_home(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("journal: postgresql://me:hunter2@host/base\n")
    (tmp_path / "mine.py").write_text("hunter2 = 2\n")
    packed = pack(tmp_path, secrets=[":hunter2@"])
    assert (packed.left_out, packed.files, packed.bytes) == (("job.yaml",), 1, 12)
    unpack(packed.content, tmp_path / "in")
    assert set(contents(tmp_path / "in")) == {"mine.py"}


def test_what_is_too_large_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "all.bin").write_bytes(bytes(3000))
    (tmp_path / "job.yaml").write_text("task: mine\n")
    with pytest.raises(UserError, match=r"2 files of 2.94 KiB .* images/ \(2.93 KiB\), .* 2 KiB may .*\.gitignore"):
        pack(tmp_path, most_bytes=2048)
    with pytest.raises(UserError, match="has 2 files of"):
        pack(tmp_path, most_files=1)
    pack(tmp_path, most_bytes=3011)
    with (tmp_path / "video.mp4").open("wb") as opened:
        opened.truncate(5 << 30)
    with pytest.raises(UserError, match=r"3 files of 5 GiB .* video\.mp4 \(5 GiB\)"):
        pack(tmp_path)  # whose bytes are not read


@contextmanager
def as_somebody() -> Iterator[None]:
    """As a user to whom not everything is readable."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", ["notes/", "mine.py", ".gitignore"])
def test_what_cannot_be_read_is_named_with_the_remedy(name: str) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folder.chmod(0o755)
        path = folder / name
        path.mkdir() if name.endswith("/") else path.touch()
        path.chmod(0)
        with as_somebody(), pytest.raises(UserError, match=rf"{path} cannot be read .*make it readable, or name it"):
            pack(folder)
        (folder / ".rayignore").write_text(name)
        if name != ".gitignore":
            with as_somebody():
                assert pack(folder).files == 1


def test_a_list_of_what_is_ignored_has_an_end(tmp_path: Path) -> None:
    with (tmp_path / ".gitignore").open("wb") as opened:
        opened.truncate(1 << 34)
    with pytest.raises(UserError, match=r"\.gitignore is larger than 1 MiB"):
        pack(tmp_path)
