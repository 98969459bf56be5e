"""architecture.json: the candidate, its space and blueprint, what was measured, with which versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import final

from nas.architecture import FILE, Architecture
from nas.exporter import Exporter, Winner
from nas.jobfile.parts import spec
from nas.standalone.literal import compact
from workers.trial import Json


@final
class ArchitectureExporter(Exporter):
    """Writes `architecture.json`, which `nas.architecture.read_architecture` reads back."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        text = compact(json.loads(json.dumps(architecture(winner).json())))
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def architecture(winner: Winner) -> Architecture:
    """What is written of `winner`."""
    described = winner.description
    counts = {
        "parameters": sum(p.numel() for p in winner.model.parameters() if p.requires_grad),
        **({"multiply_adds": described.multiply_adds} if described else {}),
    }
    return Architecture(
        search=winner.search,
        trial=winner.record.trial.id,
        candidate=winner.candidate,
        signature=winner.task.signature,
        task=spec(winner.job["task"]),
        space=spec(winner.job["space"]) if winner.job.get("space") else None,
        blueprint=winner.blueprint,
        preprocessing=preprocessing(winner),
        metrics=dict(winner.metrics),
        counts=counts,
        costs=dict(winner.costs),
        seed=winner.record.trial.seed,
        versions=dict(winner.versions),
        training=dict(winner.training),
    )


def preprocessing(winner: Winner) -> dict[str, Json]:
    """How raw data become the model's inputs, where the task says so (`preprocessing`: a dataclass or a mapping)."""
    said = getattr(winner.task, "preprocessing", None)
    if is_dataclass(said) and not isinstance(said, type):
        return dict(json.loads(json.dumps(asdict(said))))
    return dict(said) if isinstance(said, Mapping) else {}
