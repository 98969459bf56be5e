"""Architecture: what was found, as a file that can be read back (`architecture.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Signature
from workers.errors import NotFoundError, UserError
from workers.plugins import Spec
from workers.trial import Json

FILE = "architecture.json"
FORMAT = "cellwright-architecture"
SCHEMA = 1
LATER = ("training",)  # what the first files of the schema lack


@final
@dataclass(frozen=True)
class Architecture:
    """A candidate with all that is needed to build it again, and what is known of it.

    `space` is None where only hyperparameters were searched, `blueprint` where the space builds in its own way.
    `training` says for how many `epochs` the weights were trained, and how, where several workers did it.
    """

    search: str
    trial: int
    candidate: Candidate
    signature: Signature
    task: Spec
    space: Spec | None = None
    blueprint: Blueprint | None = None
    preprocessing: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Json] = field(default_factory=dict)

    def json(self) -> dict[str, Json]:
        """Everything as plain JSON, the format's name and version first."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            **vars(self),
            "candidate": self.candidate.json(),
            "signature": signature_json(self.signature),
            "task": self.task.json(),
            "space": self.space and self.space.json(),
            "blueprint": self.blueprint and {**vars(self.blueprint), "arguments": dict(self.blueprint.arguments)},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Json], name: str = "the file") -> Architecture:
        """The architecture that `json` gave; UserError where it is something else, or of a later version."""
        if not isinstance(record, Mapping) or record.get("format") != FORMAT:
            raise UserError(f"{name} is no architecture: its format must be {FORMAT!r}; `nas export` writes such files")
        version = record.get("schema")
        if not isinstance(version, int) or not 1 <= version <= SCHEMA:
            raise UserError(f"{name} has schema {version!r}, but this version reads 1 to {SCHEMA}: update Cellwright")
        try:
            space, blueprint = record["space"], record["blueprint"]
            known = {key: record[key] for key in cls.__dataclass_fields__ if key not in LATER or key in record}
            return cls(
                **{
                    **known,
                    "candidate": Candidate(record["candidate"]),
                    "signature": signature_from(record["signature"]),
                    "task": Spec.from_json(record["task"]),
                    "space": space and Spec.from_json(space),
                    "blueprint": blueprint and Blueprint(**blueprint),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{name} is damaged: {error} is missing or malformed; export the search again") from error


def signature_json(signature: Signature) -> dict[str, Json]:
    """A signature as plain JSON."""
    shapes = ({name: list(shape) for name, shape in side.items()} for side in (signature.inputs, signature.outputs))
    further = {"vocabularies": dict(signature.vocabularies)} if signature.vocabularies else {}
    return {"kind": signature.kind, **dict(zip(("inputs", "outputs"), shapes, strict=True)), **further}


def signature_from(record: Mapping[str, Json]) -> Signature:
    """The signature that `signature_json` gave."""
    inputs, outputs = ({name: tuple(shape) for name, shape in record[side].items()} for side in ("inputs", "outputs"))
    return Signature(record["kind"], inputs, outputs, record.get("vocabularies", {}))


def read_architecture(path: str | Path) -> Architecture:
    """The architecture in a file, or in the `architecture.json` of an exported folder; UserError says what is wrong."""
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"there is no {file}: `nas export SEARCH FOLDER` writes one") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error
    return Architecture.from_json(record, str(file))
