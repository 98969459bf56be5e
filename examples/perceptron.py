"""A space of your own: a table of decisions, and a way to build. `space: perceptron:Perceptron` in a job file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import nn

from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature, Space


@dataclass(frozen=True)
class Perceptron(Space):
    """Dense layers; `deepest` is an option of the job file."""

    deepest: int = 3

    @property
    def decisions(self) -> Decisions:
        table: dict[str, Choice | Range] = {"layers": Choice(tuple(range(1, self.deepest + 1)))}
        for layer in range(1, self.deepest + 1):
            table[f"width{layer}"] = Range(8, 256, log=True, integer=True, when=When.at_least("layers", layer))
        return Decisions(table)

    def build(self, candidate: Candidate, signature: Signature) -> nn.Module:
        width = prod(signature.inputs["image"])
        parts: list[nn.Module] = [nn.Flatten()]
        for layer in range(1, int(candidate["layers"]) + 1):
            wide = int(candidate[f"width{layer}"])
            parts += [nn.Linear(width, wide), nn.ReLU()]
            width = wide
        return nn.Sequential(*parts, nn.Linear(width, signature.outputs["logits"][0]))
