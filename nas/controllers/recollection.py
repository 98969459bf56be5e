"""Recollection: what the replicas of a controller had learned after some of a history, as bytes and back."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from nas.controllers.batches import Key
from nas.controllers.lesson import pulled, written
from nas.kinds import finite, row, table, text, whole

if TYPE_CHECKING:
    from parameter_server.store import Pull


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
        """What `content` gave; anything else raises whatever it may: `verify` says whether it can be true."""
        said = table(json.loads(content))
        parameters = [pulled(one) for one in row(said["parameters"])]
        return cls(
            whole(said["driver"]),
            whole(said["turns"], 1),
            text(said["mark"]),
            base64.b64decode(said["image"], validate=True),
            [None if value is None else finite(value) for value in row(said["baselines"])],
            {(whole(replica), whole(number)): parameters[whole(place)] for replica, number, place in said["bases"]},
        )
