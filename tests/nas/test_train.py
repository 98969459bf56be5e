"""`nas train`: several processes train an exported network; some die, all die, and every batch counts once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from nas.architecture import FILE, Architecture, read_architecture
from nas.cli.app import application
from nas.exporters.parity import loaded
from nas.train import WORK, Wanted, train
from parameter_server.opened import running
from search_spaces.decisions import Candidate
from search_spaces.gan.autoencoder import AutoencoderSpace
from search_spaces.space import Signature
from workers.data_parallel.tally import Tally
from workers.plugins import Spec
from workers.tasks.reconstruction import Reconstruction

SPACE = Spec("layers", {"depths": [2], "kernels": [3], "filters": [8, 16], "skip_connections": False})
LAYERS = {f"layer{n}_{side}": 3 for n in (1, 2) for side in ("height", "width")}
TASK = {"dataset": "digits", "device": "cpu", "batch_size": 64, "learning_rate": 0.1, "gradient_clipping": 0.0}


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A folder as `nas export` leaves it, as far as training reads it."""
    return written(tmp_path / "winner")


def written(folder: Path, **changes: Any) -> Path:
    candidate = Candidate({"depth": 2, "layer1_filters": 8, "layer2_filters": 16, **LAYERS})
    signature = Signature("image_classification", {"image": (1, 8, 8)}, {"logits": (10,)})
    task = Spec("image_classification", TASK)
    known: dict[str, Any] = {"space": SPACE, "seed": 7, "training": {"epochs": 2}, **changes}
    folder.mkdir()
    record = Architecture("digits", 3, candidate, signature, task, **known).json()
    (folder / FILE).write_text(json.dumps(record))
    return folder


def nas(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "300", "TERMINAL_WIDTH": "300"}
    return CliRunner().invoke(application(), ["train", *map(str, arguments)], env=environment)


def learners() -> list[int]:
    """The numbers of this process's worker processes."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"workers.data_parallel.process" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def deals(work: Path) -> list[int]:
    """The batches that were handed out, as the journal has them."""
    lines = (work / "journal.jsonl").read_text().splitlines()
    return [entry["batch"] for entry in map(json.loads, lines) if "batch" in entry]


@pytest.mark.slow
def test_an_export_is_trained_and_exported_again(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "trained"
    said = nas(exported, "--out", target, "--workers", "2", "--json", "--set", "momentum=0.5")
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    record = read_architecture(target)
    assert record.training["pushes"] == 2 * 21 == sum(record.training["staleness"].values())
    assert record.training["examples"] == 2 * 1294
    assert record.task.options["momentum"] == 0.5
    assert found["test_accuracy"] == record.metrics["test_accuracy"] > 0.3
    assert not (target / WORK).exists()
    assert "2 workers, mode async, 42 gradients" in (target / "README.md").read_text()
    parity = json.loads((target / "parity.json").read_text())
    assert parity["test"]["recomputed"] == parity["test"]["recorded"]
    assert "--output" in nas(exported, "--out", target).stderr  # an export is not written over
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| `nas train` |"))
    assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == set(found)

    again = nas(target, "--out", tmp_path / "more", "--workers", "2", "--continue", "--epochs", "1", "-q")
    assert again.exit_code == 0, again.output
    losses = [read_architecture(folder).training["losses"] for folder in (target, tmp_path / "more")]
    assert losses[1][0] < losses[0][0]  # it began where the other ended


def test_a_worker_that_is_killed_is_replaced_and_every_batch_counts_once(exported: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(tally: Tally) -> None:
        if len(tally.learned) > 5 + 20 * len(killed) and len(killed) < 2:
            killed.append(learners()[0])
            os.kill(killed[-1], signal.SIGKILL)

    winner = train(exported, tmp_path / "trained", Wanted(workers=2, epochs=3), kill)
    assert len(killed) == 2
    assert winner.training["replaced"] == 2
    assert winner.training["pushes"] == 63
    assert winner.training["examples"] == 3 * 1294
    assert winner.metrics["test_accuracy"] > 0.3
    assert read_architecture(tmp_path / "trained").metrics == winner.metrics


@contextlib.contextmanager
def begun(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "nas", "train", *map(str, arguments), "-q"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_training_goes_on_after_everything_was_killed_as_if_nothing_had_happened(
    exported: Path, tmp_path: Path
) -> None:
    target, work = tmp_path / "trained", tmp_path / "trained" / WORK
    settings = ("--out", target, "--workers", "2", "--mode", "sync", "--epochs", "4")
    for share in (0.2, 0.6):
        with begun(exported, *settings):
            _wait(lambda share=share: (work / "journal.jsonl").is_file() and len(deals(work)) > share * 168)
        store = running(work / "store")
        if share > 0.5 and store is not None:  # the store dies as well; before, it waits to be adopted
            for number in (store.supervisor, *store.processes):
                if number is not None:
                    os.kill(number, signal.SIGKILL)
    refused = nas(exported, *settings, "--workers", "3")
    assert refused.exit_code == 2
    assert "begun with workers 2, not 3" in refused.stderr
    assert nas(exported, *settings, "-q").exit_code == 0
    assert nas(exported, *settings[2:], "--out", tmp_path / "unbroken", "-q").exit_code == 0
    ends = [load_file(folder / "weights.safetensors") for folder in (target, tmp_path / "unbroken")]
    assert read_architecture(target).training["pushes"] == 168
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    assert not loaded(target).training


def _wait(seen: Any) -> None:
    limit = time.monotonic() + 120
    while not seen():
        assert time.monotonic() < limit, "nothing was trained in two minutes"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("winner --workers 0", 2, "--workers"),
        ("winner --mode fast", 2, "--mode"),
        ("winner --staleness -1 --mode bounded", 2, "--staleness"),
        ("winner --backup 1", 2, "backup workers are for mode sync"),
        ("winner --epochs 0", 2, "--epochs"),
        ("winner --shards 0", 2, "--shards"),
        ("winner --set learning_rat=1", 2, "learning_rate"),
        ("winner --set momentum", 2, "KEY=VALUE"),
        ("winner --set optimizer=adam", 2, "schedule=constant"),
        ("winner --set optimizer=adamw", 2, "optimizer=adam"),
        ("winner --continue", 3, "leave out --continue"),
        ("winner --workers 40 --mode sync", 2, "too few for 40 workers"),
        ("winner --out winner", 2, "the export itself"),
        ("winner --out full", 2, "not empty"),
        ("winner --out winner/architecture.json", 2, "is a file"),
        ("nowhere", 3, "nas export"),
        ("tuned", 2, "no search space"),
        ("winner --data nowhere/data.npz --set dataset=npz", 3, "nowhere"),
    ],
)
def test_a_mistake_gets_one_message(
    arguments: str, code: int, said: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("...")
    written(tmp_path / "tuned", space=None)
    found = nas(*arguments.split())
    assert found.exit_code == code, found.output
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "winner-trained").exists()


def test_a_task_that_trains_in_one_piece_is_refused_with_a_remedy(tmp_path: Path) -> None:
    space, task = AutoencoderSpace(), Reconstruction(dataset="digits", device="cpu")
    candidate = space.decisions.sample(Random(0))
    known = (task.signature, Spec("reconstruction", {"dataset": "digits", "device": "cpu"}), Spec("autoencoder"))
    record = Architecture("codes", 1, candidate, *known, training={"epochs": 2}).json()
    (tmp_path / FILE).write_text(json.dumps(record))
    found = nas(tmp_path, "--out", tmp_path / "again")
    assert found.exit_code == 2, found.output
    assert "Reconstruction trains in one piece" in found.stderr
    assert "set final: {epochs: ...} in its job, and run that again" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "again").exists()


def test_an_architecture_without_a_training_is_read_as_before(exported: Path) -> None:
    record = json.loads((exported / FILE).read_text())
    del record["training"]
    assert dict(Architecture.from_json(record).training) == {}
