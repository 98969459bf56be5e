"""Every space has an example, and each runs to an export and a report, with less of everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.space import Space
from workers.plugins import available

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "examples").glob("*.yaml"))}
SEARCHED = {name: job for name, job in EXAMPLES.items() if "space" in job}
ELSEWHERE = {"cifar10", "demo"}  # without its data; as `make demo`
LESS: dict[str, dict[str, Any]] = {  # by task
    "image_classification": {"train_examples": 100, "validation_examples": 50},
    "image_generation": {"train_examples": 100, "validation_examples": 50, "evaluated": 50},
    "image_translation": {"train_examples": 60, "validation_examples": 40},
    "language_model": {"train_tokens": 3000, "validation_tokens": 500, "sample_tokens": 20},
    "reconstruction": {"train_examples": 100, "validation_examples": 50},
    "sequence_to_sequence": {"examples": 200},
    "text_classification": {"train_examples": 100, "validation_examples": 50, "length": 20},
}
SHOWS = {
    "image_generation",
    "image_translation",
    "language_model",
    "reconstruction",
    "sequence_to_sequence",
}  # tasks whose trainings leave something to look at


def name_of(plugin: Any) -> str:
    return str(plugin["name"] if isinstance(plugin, dict) else plugin)


def called(folder: Path, *command: str) -> None:
    environment = {**os.environ, "NAS_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "nas", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_space_has_an_example() -> None:
    assert set(available("search_spaces", Space)) <= {name_of(job["space"]) for job in SEARCHED.values()}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(set(SEARCHED) - ELSEWHERE))
def test_it_searches_exports_and_reports(name: str, tmp_path: Path) -> None:
    job, task = SEARCHED[name], name_of(SEARCHED[name]["task"])
    less = {"budget.trials": 2, "baseline": 0.5, "pool": "local", "task.epochs": 1, "final.top": 1, "final.epochs": 1}
    less |= {f"task.{option}": value for option, value in LESS.get(task, {}).items()}
    settings = [part for key, value in less.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    called(tmp_path, "run", f"examples/{name}.yaml", "--quiet", *settings)
    called(tmp_path, "export", job["name"], "-o", str(tmp_path / "export"))
    files = {path.name for path in (tmp_path / "export").iterdir()}
    assert {"architecture.json", "weights.safetensors", "README.md", "parity.json"} <= files
    assert "model.py" in files or name == "perceptron"  # which builds in its own way
    assert {path.suffix for path in map(Path, files)} >= {".pt2", ".onnx"}, (tmp_path / "export/README.md").read_text()
    found = json.loads((tmp_path / "export" / "parity.json").read_text())["forms"]
    assert all(isinstance(batch, dict) for batches in found.values() for batch in batches.values()), found
    called(tmp_path, "report", job["name"], "-o", str(tmp_path / "report.html"))
    assert ("What it makes" in (tmp_path / "report.html").read_text()) == (task in SHOWS)
