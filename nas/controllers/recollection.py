"""Recollection: what the replicas of a controller had learned after some of a history, as bytes and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

from nas.controllers.lesson import pulled, written

if TYPE_CHECKING:
    from parameter_server.store import Pull

Key: TypeAlias = tuple[int, int]  # a replica, and the number of a batch of its


@final
@dataclass(frozen=True, slots=True)
class Recollection:
    """After so many `turns` of the batches: an image of the store, each replica's baseline, what open batches sample.

    `mark` stands for all that was heard until then, and for the settings; `driver` learned it, and to the store no
    earlier one's pushes count.
    """

    driver: int
    turns: int
    mark: str
    image: bytes
    baselines: Sequence[float | None]
    bases: Mapping[Key, Pull]

    def content(self) -> bytes:
        """As JSON; parameters that several batches sample are there once."""
        different = {base.version: base for base in self.bases.values()}
        places = {version: place for place, version in enumerate(different)}
        said = {
            "driver": self.driver,
            "turns": self.turns,
            "mark": self.mark,
            "image": base64.b64encode(self.image).decode(),
            "baselines": list(self.baselines),
            "parameters": [written(base) for base in different.values()],
            "bases": [[*key, places[base.version]] for key, base in self.bases.items()],
        }
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def of(cls, content: bytes) -> Recollection:
        """What `content` gave; raises `ValueError`, `KeyError`, `TypeError` or `IndexError` for anything else."""
        said = json.loads(content)
        parameters = [pulled(one) for one in said["parameters"]]
        return cls(
            int(said["driver"]),
            int(said["turns"]),
            str(said["mark"]),
            base64.b64decode(said["image"], validate=True),
            [None if value is None else float(value) for value in said["baselines"]],
            {(int(replica), int(number)): parameters[place] for replica, number, place in said["bases"]},
        )
