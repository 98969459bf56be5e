"""Worker processes of this machine: what they see, and that they end with their driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.pools.local import Local, device_shares, visible_devices
from workers.setup import Setup
from workers.trial import Attempt, Result, Trial

ROOT = Path(__file__).parents[2]

CHILD = """
import os
import subprocess
import time


def train(values):
    grandchild = subprocess.Popen(["sleep", "1000"])
    with open("pids.partial", "w") as file:
        print(os.getpid(), grandchild.pid, file=file)
    os.rename("pids.partial", "pids")
    time.sleep(1000)


train.decisions = {}
"""

SLOW_TO_COME = """
from pathlib import Path

while not Path("gate").exists():
    pass


def train(values):
    return 1.0


train.decisions = {}
"""

DRIVER = """
import sys
from search_spaces.decisions import Candidate
from workers.plugins import Spec
from workers.pools.local import Local
from workers.setup import Setup
from workers.trial import Attempt, Trial

pool = Local(Setup("s", Spec("orphans:train"), folder=sys.argv[1]), slots=1)
pool.submit(Attempt(Trial(0, Candidate({}))))
while True:
    pool.wait()
"""


def gone(pid: int) -> bool:
    """Whether a process has ended (or is a zombie that nobody has waited for)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_workers_and_what_they_started_die_with_their_driver(tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(CHILD)
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], cwd=ROOT)
    while not (tmp_path / "pids").exists():
        assert driver.poll() is None
    worker, grandchild = map(int, (tmp_path / "pids").read_text().split())
    assert not gone(worker)
    assert not gone(grandchild)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    while not (gone(worker) and gone(grandchild)):
        os.sched_yield()


def test_the_time_of_an_attempt_begins_when_its_worker_can_begin(tmp_path: Path) -> None:
    (tmp_path / "slow_to_come.py").write_text(SLOW_TO_COME)
    setup = Setup("s", Spec("slow_to_come:train"), folder=str(tmp_path), time_limit=0.5)
    pool = Local(setup, slots=1, grace=0.5)
    pool.submit(Attempt(Trial(0, Candidate({}))))
    opening, events = time.monotonic() + 1.5, []
    while time.monotonic() < opening:
        events += pool.wait(0.1)
    (tmp_path / "gate").touch()
    while pool.busy:
        events += pool.wait(0.1)
    pool.close()
    assert [event.outcome for event in events if isinstance(event, Result)] == [Outcome.COMPLETED]


def test_closing_ends_what_a_worker_started(tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(CHILD)
    pool = Local(Setup("s", Spec("orphans:train"), folder=str(tmp_path)), slots=1)
    pool.submit(Attempt(Trial(0, Candidate({}))))
    while not (tmp_path / "pids").exists():
        pool.wait(0.01)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    pool.close()
    while not all(gone(pid) for pid in pids):
        os.sched_yield()


@pytest.mark.parametrize(
    ("gpus", "shares"),
    [
        (1, ["0", "1", "2", "3"]),
        (2, ["0,1", "2,3"]),
        (3, ["0,1,2"]),
        (5, []),
        (0.5, ["0", "1", "2", "3", "0", "1", "2", "3"]),
        (1 / 3, ["0", "1", "2", "3"] * 3),
        (0.4, ["0", "1", "2", "3"] * 2),
    ],
)
def test_devices_are_shared_out(gpus: float, shares: list[str]) -> None:
    assert device_shares(["0", "1", "2", "3"], gpus) == shares


def test_one_and_a_half_devices_are_refused() -> None:
    with pytest.raises(UserError, match=r"gpus is 1\.5"):
        device_shares(["0", "1"], 1.5)


def test_the_visible_devices_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-7a")
    assert visible_devices() == ["2", "GPU-7a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_devices() == []


def test_more_slots_than_the_devices_have_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match=r"slots is 2, but this machine offers room for 1 at 1 of its 1 GPUs"):
        Local(Setup("s", Spec("orphans:train")), slots=2, gpus=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"room for 0 at 1 of its 0 GPUs"):
        Local(Setup("s", Spec("orphans:train")), gpus=1)
