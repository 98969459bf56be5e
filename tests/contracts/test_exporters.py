"""What every exporter in the folder promises, and that the exported folder stands alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import site
import subprocess
import sys
import venv
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.torch import load as unpack
from safetensors.torch import load_file, save_file
from signatures import fitting

from nas.architecture import read_architecture
from nas.export import chosen, export
from nas.exporter import FOLDER, Exporter, LeftOut, Winner
from nas.exporters.source import model_source
from nas.history import Entry
from nas.logs.sqlite import SqliteLog
from nas.plan import Plan
from nas.standalone.running import run
from nas.winner import find_winner
from search_spaces.decisions import Candidate
from search_spaces.space import Space
from workers.artifacts import Artifacts
from workers.objectives import Outcome
from workers.plugins import available, load
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

NAMES = sorted(available(FOLDER, Exporter))
PROMISED = {
    "architecture.json",
    "model.py",
    "weights.safetensors",
    "model.onnx",
    "model.pt2",
    "cell.svg",
    "README.md",
    "parity.json",
}
CANDIDATE = Candidate(
    {
        "blocks": 2,
        "block1_input1": 0,
        "block1_operation1": "separable_3x3",
        "block1_input2": 1,
        "block1_operation2": "max_pool_3x3",
        "block2_input1": 2,
        "block2_operation1": "convolution_3x3",
        "block2_input2": 0,
        "block2_operation2": "identity",
        "activation": "silu",
    }
)


class Searched:
    """A search as its workers would have left it: two trials trained on the digits, one of them tested."""

    def __init__(self, home: Path) -> None:
        self.home, self.search = home, "cells"
        self.log = SqliteLog(home)
        operations = ["separable_3x3", "max_pool_3x3", "identity", "convolution_3x3"]
        job = {
            "name": self.search,
            "task": {
                "name": "image_classification",
                "dataset": "digits",
                "epochs": 2,
                "activation": {"choice": ["relu", "silu"]},
            },
            "space": {"name": "pnas", "blocks": 2, "cells": 1, "filters": 8, "operations": operations},
            "strategy": "random",
            "journal": str(home),
        }
        plan = Plan.of(job, self.search)
        self.log.create(self.search, plan.job.json(), {"cellwright": "0.1.0"})
        self.epoch = self.log.acquire(self.search)
        self.workshop = Workshop(plan.setup)
        kept = Trial(0, CANDIDATE, 2, 2, note={"arm": "final"}, seed=4)
        other = Trial(1, Candidate({**CANDIDATE, "activation": "relu"}), 1, 1)
        self.result = self.run(Attempt(kept))
        self.run(Attempt(other))
        test = Trial(2, CANDIDATE, 0, 2, parent=0, note={"arm": "test"}, seed=4, split="test")
        self.tested = self.run(Attempt(test, 1, Attempt(kept)))
        self.answers = unpack(Artifacts.open(plan.artifacts).get(self.search, 2, 1, "examples.safetensors"))

    def run(self, attempt: Attempt) -> Result:
        result = self.workshop.run(attempt, lambda progress: None)
        assert result.outcome is Outcome.COMPLETED, result.error
        trial = attempt.trial
        rows = [("ask", trial.json()), ("attempt", {"number": 1}), ("tell", result.json())]
        self.log.append(self.search, self.epoch, [Entry(0, 1e9, kind, trial.id, body) for kind, body in rows])
        return result


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_HOME", str(tmp_path_factory.mktemp("cache")))
        found = Searched(tmp_path_factory.mktemp("home"))
        yield found
        found.log.close()


@pytest.fixture(scope="module")
def folder(searched: Searched, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole export."""
    return export(searched.log, searched.search, tmp_path_factory.mktemp("exports") / "best")


@pytest.fixture(scope="module")
def winner(searched: Searched) -> Winner:
    return find_winner(searched.log, searched.search)


@pytest.mark.parametrize("name", NAMES)
def test_every_exporter_is_found_says_what_it_reads_and_needs_only_a_folder(name: str) -> None:
    exporter = chosen([name])[name]
    assert set(exporter.after) < set(NAMES)
    assert (exporter.__doc__ or "").startswith("Writes")
    assert isinstance(exporter, Exporter)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("onnx", "pt2")])
def test_every_exporter_alone_writes_files_or_says_why_not(name: str, winner: Winner, tmp_path: Path) -> None:
    written = chosen([name])[name]
    with contextlib.suppress(LeftOut):
        written.export(winner, tmp_path, {})
        assert list(tmp_path.iterdir())


def test_the_folder_holds_what_was_promised(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names >= PROMISED
    assert all(path.stat().st_size for path in folder.iterdir())
    assert all(os.stat(path).st_mode & 0o044 for path in folder.iterdir())


def test_the_architecture_is_read_back(folder: Path, searched: Searched) -> None:
    read = read_architecture(folder)
    assert read.candidate == CANDIDATE
    assert read.trial == 0
    assert read.blueprint is not None
    assert read.blueprint.activation == "silu"
    network = read.blueprint.build()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    with torch.no_grad():
        found = network.eval()(searched.answers["input/image"])
    torch.testing.assert_close(found, searched.answers["output/logits"], rtol=1e-4, atol=1e-5)


def test_the_weights_have_trained_batch_norm_statistics(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    means = [tensor for name, tensor in weights.items() if name.endswith("running_mean")]
    assert means
    assert all(mean.abs().sum() > 0 for mean in means)


def test_parity_says_how_equal_the_forms_are(folder: Path, searched: Searched) -> None:
    record = json.loads((folder / "parity.json").read_text())
    assert set(record["forms"]) == {"model.py", "model.pt2", "model.onnx"}
    for batches in record["forms"].values():
        assert set(batches) == {"batch 1", "batch 3"}
        assert all(found["relative"] < 1e-4 for found in batches.values())
    correct = searched.tested.metrics["test_correct"]
    assert record["test"] == {"checked": True, "recorded": correct, "recomputed": correct, "total": 359}


def test_the_readme_tells_the_numbers(folder: Path, searched: Searched) -> None:
    text = (folder / "README.md").read_text()
    correct = int(searched.tested.metrics["test_correct"])
    parameters = sum(p.numel() for p in find_winner(searched.log, searched.search).model.parameters())
    for said in (
        f"{correct} of 359",
        f"{correct / 359:.2%}",
        f"{parameters:,}",
        "Seed 4",
        "on CPU (",
        "Apache-2.0",
        "mean `[0.30",
    ):
        assert said in text
    code = text.split("```python\n")[1].split("```")[0].strip().splitlines()
    assert len(code) <= 4


def test_the_drawing_is_an_svg(folder: Path) -> None:
    assert ElementTree.parse(folder / "cell.svg").getroot().tag.endswith("svg")


def test_the_source_is_formatted_and_has_nothing_unused(folder: Path) -> None:
    ruff = shutil.which("ruff") or str(Path(sys.executable).with_name("ruff"))
    if not Path(ruff).is_file():
        pytest.skip("ruff is not installed")
    checks = (
        ["check", "--isolated", "--select", "E,F,W,I,UP", "--line-length", "120"],
        ["format", "--isolated", "--check", "--line-length", "120"],
    )
    for arguments in checks:
        done = subprocess.run(
            [ruff, *arguments, "--no-cache", str(folder / "model.py")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


ALONE = """
import json, sys
import numpy, onnxruntime, torch
from safetensors.torch import load_file

for name in ("nas", "search_spaces", "workers"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported here")
sys.path.insert(0, FOLDER)
import model

found = {}
network = model.load()
given = load_file(GIVEN)
images, logits = given["input/image"], given["output/logits"]
session = onnxruntime.InferenceSession(FOLDER + "/model.onnx", providers=["CPUExecutionProvider"])
program = torch.export.load(FOLDER + "/model.pt2").module()
forms = {
    "model.py": network,
    "model.pt2": program,
    "model.onnx": lambda x: torch.from_numpy(session.run(["logits"], {"image": x.numpy()})[0]),
}
with torch.no_grad():
    for name, form in forms.items():
        for size in (1, 3):
            apart = (form(images[:size]) - logits[:size]).abs().max() / logits[:size].abs().max()
            found[f"{name} {size}"] = float(apart)
    about = json.load(open(FOLDER + "/architecture.json"))["preprocessing"]
    arrays = numpy.load(ARRAYS)
    mean, std = (torch.tensor(about[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    pixels = (torch.from_numpy(arrays["x"]).float() / 255 - mean) / std
    found["correct"] = int((network(pixels).argmax(1) == torch.from_numpy(arrays["y"])).sum())
print(json.dumps(found))
"""


def proof(searched: Searched, folder: Path, work: Path) -> Path:
    """A script that knows the folder, stored examples and test arrays, and nothing of this package."""
    save_file({name: tensor.contiguous() for name, tensor in searched.answers.items()}, work / "given.safetensors")
    part = searched.workshop.task.images.test  # type: ignore[attr-defined]
    np.savez(work / "arrays.npz", x=np.asarray(part.pixels[part.rows]), y=np.asarray(part.labels[part.rows]))
    script = work / "alone.py"
    named = {"FOLDER": folder, "GIVEN": work / "given.safetensors", "ARRAYS": work / "arrays.npz"}
    script.write_text("".join(f"{name} = {str(path)!r}\n" for name, path in named.items()) + ALONE)
    return script


def checked(command: list[str], searched: Searched) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("correct") == searched.tested.metrics["test_correct"]
    assert len(found) == 6
    assert max(found.values()) < 1e-4, found


def test_the_folder_stands_alone(searched: Searched, folder: Path, tmp_path: Path) -> None:
    """In a process that has the libraries but not this package (-S: no path file leads to it)."""
    copied = shutil.copytree(folder, tmp_path / "taken")
    script = proof(searched, copied, tmp_path)
    script.write_text(f"import sys\nsys.path.append({site.getsitepackages()[0]!r})\n" + script.read_text())
    checked([sys.executable, "-I", "-S", str(script)], searched)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_folder_stands_alone_in_a_fresh_environment(
    searched: Searched, folder: Path, tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    python = str(tmp_path / "fresh" / "bin" / "python")
    wanted = [f"{name}=={version(name)}" for name in ("torch", "safetensors", "numpy", "onnxruntime")]
    # a local version of torch (+cpu) is only found where it came from; the public one is as good here
    wanted = [one.partition("+")[0] for one in wanted]
    done = subprocess.run([python, "-m", "pip", "install", "-q", *wanted], capture_output=True, text=True, check=False)
    require("pip", done.returncode == 0, f"pip cannot install {', '.join(wanted)}: {done.stderr.strip()[-200:]}")
    checked([python, str(proof(searched, folder, tmp_path))], searched)


@pytest.mark.parametrize("name", sorted(available("search_spaces", Space)))
@pytest.mark.parametrize("seed", [0, 1])
def test_the_source_of_every_space_is_its_network(name: str, seed: int) -> None:
    space: Space = load("search_spaces", name, Space)()
    plan = space.blueprint(space.decisions.sample(Random(seed)), fitting(space)[-1])
    with torch.device("meta"):
        network = plan.build()
        alone = run(model_source(plan, "A test.")).build()
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    assert {key: tensor.shape for key, tensor in alone.state_dict().items()} == shapes
    assert str(alone) == str(network)


def test_any_trial_with_a_checkpoint_is_exported(searched: Searched, tmp_path: Path) -> None:
    made = export(
        searched.log, searched.search, tmp_path / "other", trial=1, formats=["source", "safetensors", "readme"]
    )
    assert "not measured: this trial was not chosen for the test" in (made / "README.md").read_text()
    assert "replace_relu" not in (made / "model.py").read_text()
    assert read_architecture(made).trial == 1
