"""Every space has an example, and each runs to an export and a report, with less of everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import nas
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
ATTENDS = {"hierarchical_attention"}
SHOWS = {
    "image_generation",
    "image_translation",
    "language_model",
    "reconstruction",
    "sequence_to_sequence",
}  # tasks whose trainings leave something to look at


def name_of(plugin: Any) -> str:
    return str(plugin["name"] if isinstance(plugin, dict) else plugin)


def lessened(job: dict[str, Any]) -> dict[str, Any]:
    """Two trials of one epoch on a little of the data."""
    task = job["task"] if isinstance(job["task"], dict) else {"name": job["task"]}
    task = {**task, **LESS.get(task["name"], {}), "epochs": 1}
    less = {"budget": {"trials": 2}, "baseline": 0.5, "final": {"top": 1, "epochs": 1}}
    return {**job, **less, "task": task, "folder": str(ROOT / "examples"), "pool": {"name": "local", "slots": 1}}


def test_every_space_has_an_example() -> None:
    assert set(available("search_spaces", Space)) <= {name_of(job["space"]) for job in SEARCHED.values()}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(set(SEARCHED) - ELSEWHERE))
def test_it_searches_exports_and_reports(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    with nas.run(lessened(SEARCHED[name])) as search:
        folder, report = search.export(tmp_path / "export"), search.report(tmp_path / "report.html")
    files = {path.name for path in folder.iterdir()}
    assert {"architecture.json", "weights.safetensors", "README.md", "parity.json"} <= files
    assert ("model.py" in files) == ("perceptron" not in str(SEARCHED[name]["space"]))  # which builds in its own way
    assert {path.suffix for path in map(Path, files)} >= {".pt2", ".onnx"}, (folder / "README.md").read_text()
    found = json.loads((folder / "parity.json").read_text())["forms"]
    assert all(isinstance(batch, dict) for batches in found.values() for batch in batches.values()), found
    task = name_of(SEARCHED[name]["task"])
    assert ("What it makes" in report.read_text()) == (task in SHOWS or name in ATTENDS)
