"""What drivers and trials said is read from the artifacts, without what said it."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.api import run
from nas.home import open_log
from nas.logbook import Logbook, Shown
from workers.artifacts import Artifacts
from workers.spoken import HEAD, OUTPUT, TAIL
from workers.trial import Json

TASK = """\
import os, sys

def train(decisions):
    x = decisions["x"]
    if x < 0.5:
        print("printed", x)
        os.system("echo from a program")
        print("warned", file=sys.stderr)
    if x < 0.2:
        raise ValueError("too small")
    return x
"""


DYING = """\
import os, signal, time
from pathlib import Path

HERE = Path(__file__).parent


def train(decisions):
    if not (HERE / "died").exists():
        (HERE / "died").touch()
        print("what was said before the end")
        while not list(HERE.glob("home/said/*/1/output.txt")):
            time.sleep(0.01)
        print("too late")
        os.kill(os.getpid(), signal.SIGKILL)
    return decisions["x"]
"""


def job(folder: Path, **changes: Json) -> dict[str, Json]:
    (folder / "spoke.py").write_text(TASK)
    return {
        "name": "said", "folder": str(folder), "strategy": "random", "budget": {"trials": 12}, "final": {"top": 0},
        "task": {"name": "spoke:train", "decisions": {"x": {"range": [0.0, 1.0]}}},
        "pool": {"name": "local", "slots": 2},
        **changes,
    }  # fmt: skip


def test_a_search_on_this_machine_keeps_what_was_said_and_stores_nothing_of_the_silent(tmp_path: Path) -> None:
    with run(job(tmp_path)) as search:
        records, home = search.trials(), Path(search.header.job["artifacts"]["place"] or tmp_path / "home")
    log = open_log()
    lines = list(Logbook(log, "said").read())
    assert lines[0].startswith("==> driver 1 on ")
    assert any("said finished" in line for line in lines)
    loud = [record for record in records if float(record.trial.candidate["x"]) < 0.5]
    assert loud
    assert len(loud) < len(records)
    for record in records:
        found = list(Logbook(log, "said", driver=False, only=record.trial.id).read())
        if record in loud:
            x = float(record.trial.candidate["x"])
            assert found[0] == f"==> trial {record.trial.id}, attempt 1: output <=="
            assert found[1:4] == [f"printed {x}", "from a program", "warned"]
            assert any("ValueError: too small" in line for line in found) == (x < 0.2)
        else:
            assert found == []
            assert not (home / "said" / str(record.trial.id)).exists()
    log.close()


@pytest.mark.timeout(120)
def test_what_a_worker_said_before_it_was_killed_is_kept(tmp_path: Path) -> None:
    described = job(tmp_path, budget={"trials": 2}, pool={"name": "local", "slots": 1})
    (tmp_path / "spoke.py").write_text(DYING)
    with run(described) as search:
        assert [record.attempts for record in search.trials()] == [2, 1]
    with closing(open_log()) as log:
        lines = list(Logbook(log, "said", driver=False).read())
    assert lines == ["==> trial 0, attempt 1: output <==", "what was said before the end"]


@given(
    lines=st.integers(0, 150),
    last=st.sampled_from(["", "an end", "\n"]),
    data=st.data(),
)
def test_what_grows_and_loses_its_middle_is_told_line_by_line_and_each_line_once(
    lines: int, last: str, data: st.DataObject
) -> None:
    whole = "".join([*(f"<{number}{'x' * (number % 12)}>\n" for number in range(lines)), last])
    most = data.draw(st.sampled_from([50, 400, 5000]))
    stops = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    shown, told = Shown(), ""
    for stop in stops:
        news = shown.news(cut(whole[:stop], most), whole=False)
        assert news == "" or news.endswith("\n")
        told += news
    told += shown.news(cut(whole, most), whole=True)
    if len(whole) <= most:
        assert told == whole
    numbered = re.findall(r"^<.*>$", told, re.MULTILINE)
    assert numbered == sorted(set(numbered), key=lambda line: int(line.strip("<x>")))
    if whole:
        assert told.endswith(whole[-20:])


def cut(text: str, most: int) -> str:
    """As it is stored."""
    if len(text) <= most:
        return text
    return f"{text[: most // 4]}\n[... {len(text) - most:,} bytes ...]\n{text[-(most - most // 4) :]}"


def test_lines_are_told_once(tmp_path: Path) -> None:
    run(job(tmp_path, budget={"trials": 1})).close()
    log = open_log()
    book = Logbook(log, "said")
    assert list(book.read())
    assert list(book.read()) == []
    assert list(Logbook(log, "said").follow()), "a search that has ended is told, and that is all"
    log.close()


def test_an_error_that_ends_a_driver_is_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("postgresql://me:hunter2@host/base broke")

    monkeypatch.setattr("nas.driver.loop", broken)
    with pytest.raises(RuntimeError):
        run(job(tmp_path))
    log = open_log()
    text = "\n".join(Logbook(log, "said").read())
    log.close()
    assert "RuntimeError: postgresql://me:***@host/base broke" in text
    assert "Traceback" in text


def test_much_that_is_said_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    script = """
import sys
from workers.artifacts import Artifacts
from workers.spoken import kept
from workers.trial import Attempt, Trial
print("before")
with kept(Artifacts.open(sys.argv[1]), "said", Attempt(Trial.from_json(%r), 1)):
    print("first"); print("x" * 5_000_000); print("last")
print("behind")
"""
    from search_spaces.decisions import Candidate
    from workers.trial import Trial

    trial = Trial(0, Candidate({}), 1, 1).json()
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", script % (trial,), str(tmp_path)], stdout=out, stderr=out, check=True)
    said = Artifacts.open(str(tmp_path)).get("said", 0, 1, OUTPUT).decode()
    assert said.startswith("first\nxxx")
    assert said.endswith("xxx\nlast\n")
    assert f"{5_000_012 - HEAD - TAIL:,} bytes" in said
    assert len(said) < HEAD + TAIL + 100
