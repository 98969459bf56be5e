"""Every mistake on the command line gets one message and its exit code, never a traceback."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from nas.cli.app import application
from nas.cli.exits import Exit, explain
from nas.history import Entry
from nas.home import open_log
from nas.log import FullError
from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.space import UnfitError
from workers.errors import DamagedError, NotFoundError, UserError
from workers.objectives import Outcome
from workers.trial import Result as TrialResult
from workers.trial import Trial

JOB = """\
name: tune
task: {name: "tuned:train", decisions: {x: {range: [0.0, 1.0]}}}
budget: {trials: 2}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(), list(arguments), env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a job, a candidate, and a search `tune` with one completed trial."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "tuned.py").write_text("def train(decisions):\n    return decisions['x']\n")
    (tmp_path / "candidate.json").write_text(json.dumps({"x": 0.5}))
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.yaml").write_text("task: [")
    (tmp_path / "wrong.yaml").write_text("tusk: digits\n")
    from nas.job import Job
    from nas.plan import Plan

    log = open_log()
    log.create("tune", Plan.of(Job.load("job.yaml")).record(), {})
    epoch = log.acquire("tune")
    trial, result = Trial(0, Candidate({"x": 0.5})), TrialResult(0, 1, Outcome.COMPLETED, {"score": 0.5}, 1)
    log.append("tune", epoch, [Entry(0, 1.0, "ask", 0, trial.json()), Entry(0, 2.0, "tell", 0, result.json())])
    log.release("tune", epoch, "finished", "")
    log.close()
    return tmp_path


MISTAKES = [
    ("stauts", 2, "status"),
    ("status --jsn", 2, "--json"),
    ("status tune more", 2, "more"),
    ("status other", 3, "'other'"),
    ("trials other", 3, "'other'"),
    ("trials tune --state done", 2, "completed"),
    ("trials tune --sort scroe", 2, "did you mean score?"),
    ("trials tune --top 0", 2, "--top"),
    ("trials tune --top some", 2, "--top"),
    ("best other", 3, "'other'"),
    ("best tune --top 0", 2, "--top"),
    ("compare", 2, "ID"),
    ("compare tune other", 3, "'other'"),
    ("status tune --journal ftp://here", 2, "postgresql://"),
    ("status tune --journal job.yaml", None, "job.yaml"),
    ("show other", 3, "'other'"),
    ("show tune --trial 7", 3, "no trial 7"),
    ("show tune", 2, "no search space"),
    ("show tune --trial first", 2, "--trial"),
    ("show nothing.json", 3, "nothing.json"),
    ("show broken.json --space pnas", 2, "no JSON"),
    ("show list.json --space pnas", 2, "list"),
    ("show candidate.json", 2, "--space"),
    ("show candidate.json --space pnass", 2, "'pnas'"),
    ("show candidate.json --space pnas", 2, "blocks is missing"),
    ("show candidate.json --space {name:", 2, "no YAML"),
    ("show candidate.json --space [pnas]", 2, "name: pnas"),
    ("show candidate.json --space {name: pnas, bloks: 2}", 2, "bloks"),
    ("run nothing.yaml", 3, "nothing.yaml"),
    ("run broken.yaml", 2, "line 1"),
    ("run wrong.yaml", 2, "did you mean task?"),
    ("run .", 2, "cannot be read"),
    ("run job.yaml --set budget.trails=3", 2, "did you mean trials?"),
    ("run job.yaml --set budget", 2, "KEY=VALUE"),
    ("run job.yaml --set =3", 2, "KEY=VALUE"),
    ("run job.yaml --set budget.trials=0", 2, "at least 1"),
    ("run job.yaml --set budget.trials=[", 2, "no YAML"),
    ("run job.yaml --set strategy=pnass", 2, "'pnas'"),
    ("run job.yaml --set seed=1 --set seed.more=2", 2, "set one of them"),
    ("validate nothing.yaml", 3, "nothing.yaml"),
    ("validate wrong.yaml", 2, "did you mean task?"),
    ("validate job.yaml --set task=nowhere:train", 2, "nowhere"),
    ("resume other", 3, "'other'"),
    ("resume tune --set seed=3", 2, "only budget, pool"),
    ("resume tune --set budget.trails=3", 2, "did you mean trials?"),
    ("stop other", 3, "'other'"),
    ("stop tune", 2, "only a search that runs"),
    ("enqueue tune", 2, "FILE"),
    ("enqueue tune x=2", 2, "from 0.0 to 1.0"),
    ("enqueue tune x=0.5 x=0.6", 2, "given twice"),
    ("enqueue tune x=0.5 z=1", 2, "'z' is no decision"),
    ("enqueue tune nothing.json", 3, "nothing.json"),
    ("enqueue tune broken.json", 2, "no JSON"),
    ("enqueue tune list.json", 2, "list"),
    ("enqueue other x=0.5", 3, "'other'"),
    ("export other", 3, "'other'"),
    ("export tune", 2, "no network"),
    ("report other", 3, "'other'"),
    ("report tune -o job.yaml/report.html", None, "job.yaml"),
    ("gc --quota much", 2, "20 GiB"),
    ("init job.yaml", 2, "--force"),
    ("init nowhere/job.yaml", 3, "nowhere"),
]


@pytest.mark.parametrize(("line", "code", "said"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_one_message(folder: Path, line: str, code: int | None, said: str) -> None:
    words = line.split(" ", 3) if "{name" in line else line.split()
    found = run(*words)
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert "should not happen" not in found.stderr
    assert found.stdout == ""
    assert found.exit_code == code or (code is None and found.exit_code in (1, 2, 3))


def test_an_abandoned_search_cannot_be_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_log()) as log:
        log.acquire("tune")
    monkeypatch.setattr("nas.process.Process.gone", lambda _: True)
    assert "tune is abandoned: only a search that runs" in run("stop", "tune").stderr


def test_a_mistake_in_a_job_starts_nothing(folder: Path) -> None:
    run("run", "job.yaml", "--set", "budget.trials=0")
    assert [one["search"] for one in json.loads(run("list", "--json").stdout)] == ["tune"]


def test_init_overwrites_only_by_force(folder: Path) -> None:
    before = Path("job.yaml").read_text()
    assert run("init", "job.yaml").exit_code == Exit.USAGE
    assert Path("job.yaml").read_text() == before
    assert run("init", "job.yaml", "--force").stdout == "job.yaml\n"
    assert Path("job.yaml").read_text() != before


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NotFoundError("there is none"), 3, "there is none"),
        (UserError("wrong"), 2, "wrong"),
        (DecisionError("wrong"), 2, "wrong"),
        (UnfitError("wrong"), 2, "wrong"),
        (FileNotFoundError(2, "No such file", "a.yaml"), 3, "a.yaml does not exist"),
        (PermissionError(13, "Permission denied", "a.yaml"), 1, "a.yaml may not be"),
        (OSError(28, "No space left on device", "a.sqlite"), 1, "nas gc"),
        (IsADirectoryError(21, "Is a directory", "a"), 1, "a file is needed"),
        (NotADirectoryError(20, "Not a directory", "a"), 1, "a folder is needed"),
        (OSError("odd"), 1, "odd"),
        (DamagedError("damaged"), 1, "damaged"),
        (FullError("full"), 1, "full"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "nas --debug"),
        (ValueError("no postgresql://me:hunter2@[::1/base"), 1, "postgresql://me:***@[::1/base"),
    ],
)
def test_errors_and_their_exit_codes(error: BaseException, code: int, said: str) -> None:
    message, found = explain(error)
    assert found == code
    assert said in message


def test_what_should_not_happen_is_one_line_and_a_way_to_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("nas.doctor.examine", fail)
    found = run("doctor")
    assert found.exit_code == Exit.FAILED
    assert found.stderr.splitlines()[0] == "error: ZeroDivisionError: oh"
    assert "Traceback" not in found.stderr
    assert isinstance(run("--debug", "doctor").exception, ZeroDivisionError)


def test_a_package_of_ours_that_is_shadowed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workers.py").touch()
    monkeypatch.chdir(tmp_path)
    message, code = explain(ModuleNotFoundError("No module named 'workers.errors'", name="workers.errors"))
    assert code == Exit.USAGE
    assert str(tmp_path / "workers.py") in message
    assert "rename it" in message


def test_a_reader_that_has_gone_is_no_error(folder: Path) -> None:
    import subprocess
    import sys

    command = f"{sys.executable} -m nas trials --json | true"
    said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert "error" not in said.stderr


def test_a_damaged_journal_is_no_search_of_settings(folder: Path) -> None:
    (folder / "home" / "tune" / "journal.sqlite").write_bytes(b"no database" * 99)
    refused = run("export", "tune")
    assert refused.exit_code == 1
    assert "is damaged" in refused.stderr


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("failed", 1), ("interrupted", 130), ("stopped", 130)])
def test_how_a_search_ends_is_the_exit_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    monkeypatch.setattr(
        "nas.driver.drive", lambda search, *_, **__: SimpleNamespace(search=search, state=state, reason="why")
    )
    found = run("run", "job.yaml")
    assert found.exit_code == code
    assert found.stdout == "tune-2\n"
    assert f"tune-2 {state}: why" in found.stderr
    assert ("nas resume tune-2" in found.stderr) == (code == 130)


def test_what_is_set_is_laid_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.driver.drive", lambda search, *_, **__: SimpleNamespace(state="finished", reason=""))
    changes = ["budget.trials=5", "name=other", "task.epochs=3"]
    assert run("run", "job.yaml", *(word for one in changes for word in ("--set", one))).exit_code == 0
    with closing(open_log()) as log:
        job = dict(log.header("other").job)
    assert job["budget"]["trials"] == 5
    assert job["task"]["epochs"] == 3
    assert job["task"]["decisions"] == {"x": {"range": [0.0, 1.0]}}


def test_python_run_beside_a_folder_named_workers_says_so(tmp_path: Path) -> None:
    """As an installed package meets it; the finder of an editable installation happens to look past such a folder."""
    import subprocess
    import sys

    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").touch()
    script = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in str(finder)]
sys.path.append(sys.argv.pop())
from nas.__main__ import main
main()
"""
    home = str(Path(explain.__code__.co_filename).parents[2])
    command = [sys.executable, "-c", script, "list", home]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert said.returncode == Exit.USAGE, said.stderr
    assert "rename it" in said.stderr
    assert "Traceback" not in said.stderr
