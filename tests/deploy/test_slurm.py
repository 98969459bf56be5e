"""The Slurm script with a real Ray on one node, where stand-ins for Slurm's own commands run what they are given."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from deployment import DEPLOY, ROOT

SCRIPT = DEPLOY / "slurm" / "search.sbatch"
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
JOB = """\
name: tune
task: {name: "tuned:train", decisions: {x: {range: [0.0, 1.0]}}}
strategy: random
budget: {trials: 4}
final: {top: 0}
"""
SLOW = "import time\n\n\ndef train(decisions):\n    time.sleep(600)\n    return decisions['x']\n"
QUICK = "def train(decisions):\n    return decisions['x']\n"


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a batch job on this machine alone."""
    programs = tmp_path / "bin"
    programs.mkdir()
    commands = {"srun": SRUN, "scontrol": "#!/bin/sh\necho localhost\n"}
    commands["nas"] = f'#!/bin/sh\nexec {sys.executable} -m nas "$@"\n'
    commands["ray"] = f'#!/bin/sh\nexec {Path(sys.executable).with_name("ray")} "$@"\n'
    for name, text in commands.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    source = tmp_path / "source"  # which stays the same for the driver and its workers, whatever becomes of this one
    for name in ("nas", "workers", "search_spaces", "parameter_server"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    number = str(Random().randrange(10**6, 10**7))
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "NAS_HOME": str(tmp_path / "home"),
        "NAS_CACHE": os.environ["NAS_CACHE"],
        "PYTHONPATH": str(source),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "SLURM_JOB_ID": number,
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_CPUS_PER_TASK": "1",
    }
    (tmp_path / "job.yaml").write_text(JOB)
    yield environment
    for left in folders(environment):
        shutil.rmtree(left, ignore_errors=True)


def folders(slurm: dict[str, str]) -> list[Path]:
    """What the nodes of the job have in /tmp."""
    return list(Path("/tmp").glob(f"ray-{slurm['SLURM_JOB_ID']}*"))


def batch(slurm: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPT), "job.yaml"],
        cwd=folder,
        env=slurm,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def gone(leader: int) -> bool:
    """Whether nothing is left of a session."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(600)  # Ray starts twice
def test_a_search_is_ended_by_its_time_and_gone_on_with_by_the_next(slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tuned.py").write_text(SLOW)
    job = batch(slurm, tmp_path)
    try:
        assert job.stdout is not None
        said = ""
        for line in job.stdout:
            said += line
            if "tune running" in line:
                break
        else:
            pytest.fail(said)
        (temporary,) = folders(slurm)
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o700
        assert len(temporary.name) > len(f"ray-{slurm['SLURM_JOB_ID']}-") + 5  # nobody has made it before
        job.send_signal(signal.SIGTERM)  # what Slurm does two minutes before the end
        said += job.communicate(timeout=240)[0]
        assert job.returncode == 130, said
        assert "interrupted" in said
    finally:
        stop(job)
    kept = tmp_path / ".cellwright" / "slurm" / slurm["SLURM_JOB_ID"]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert [path.name for path in kept.iterdir()] == ["search"]  # the token is gone
    (tmp_path / "tuned.py").write_text(QUICK)
    again = batch(slurm, tmp_path)
    try:
        said = again.communicate(timeout=240)[0]
        assert again.returncode == 0, said
        assert gone(again.pid)
        assert folders(slurm) == []
    finally:
        stop(again)
    listed = subprocess.run(["nas", "list", "--json"], env=slurm, capture_output=True, text=True, check=True).stdout
    assert listed.count('"search": "tune"') == 1
    assert '"state": "finished"' in listed


def stop(job: subprocess.Popen[str]) -> None:
    if not gone(job.pid):
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()
