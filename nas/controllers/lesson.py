"""Lesson: what one batch of children asks of the parameters; plain data, which travels to where it is computed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from nas.controllers.lstm import Array
from parameter_server.store import Pull
from search_spaces.decisions import Candidate
from workers.trial import Json

DTYPES: Final = ("float32", "float64")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Children, and how much better each was than expected; the `number`-th lesson (from 0) of a client of the store.

    With `base` the gradient is that at the parameters which sampled the batch. Without, it is that at the parameters
    there are when it is computed, weighed by how likely they make each child by then.
    """

    client: str
    number: int
    candidates: Sequence[Candidate]
    log_probabilities: Sequence[float]
    advantages: Sequence[float]
    base: Pull | None = None

    def json(self) -> dict[str, Json]:
        """As JSON; tensors are the base64 of their bytes."""
        return {
            "client": self.client,
            "number": self.number,
            "candidates": [candidate.json() for candidate in self.candidates],
            "log_probabilities": list(self.log_probabilities),
            "advantages": list(self.advantages),
            "base": None if self.base is None else written(self.base),
        }

    @classmethod
    def from_json(cls, data: Json) -> Lesson:
        """What `json` gave; raises `ValueError` where a tensor is not whole."""
        return cls(
            data["client"],
            data["number"],
            [Candidate(values) for values in data["candidates"]],
            data["log_probabilities"],
            data["advantages"],
            None if data["base"] is None else pulled(data["base"]),
        )


def written(base: Pull) -> dict[str, Json]:
    """Parameters as JSON; tensors are the base64 of their bytes."""
    tensors = [
        [name, value.dtype.name, list(value.shape), base64.b64encode(value.tobytes()).decode()]
        for name, value in base.tensors.items()
    ]
    return {"version": list(base.version), "tensors": tensors}


def pulled(data: Json) -> Pull:
    """What `written` gave; raises `ValueError` where a tensor is not whole."""
    return Pull(tuple(data["version"]), {name: _read(*rest) for name, *rest in data["tensors"]})


def _read(dtype: str, shape: Sequence[int], text: str) -> Array:
    if dtype not in DTYPES:
        raise ValueError(f"a tensor of {dtype} came, but parameters are {' or '.join(DTYPES)}")
    return np.frombuffer(base64.b64decode(text, validate=True), dtype).reshape(shape)
