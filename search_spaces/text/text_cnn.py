"""Text CNN (Kim 2014): convolutions of several widths over word vectors, side by side, pooled over time.

| decision | value |
|---|---|
| `embedding` | numbers of a word's vector |
| `branches` | how many convolutions, one of the option `branches` |
| `width<n>` | words in a window of convolution n = 1, 2, ..., active when `branches` >= n |
| `filters` | of each convolution; two of one width are one with twice the filters |
| `activation`, `pooling` | behind a convolution; over time |
| `hidden` | units of a layer between pools and classifier, 0 for none |
| `dropout` | of what is pooled, and of those units |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, final

from search_spaces.decision import Choice, Decision, Value, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space
from search_spaces.text.options import ACTIVATIONS, check_texts, named, ordered, rising
from search_spaces.text.text_costs import TextCosts

POOLINGS = ("max", "mean", "both")
CNN_RAND: Mapping[str, Value] = MappingProxyType(
    {
        "embedding": 300,
        "branches": 3,
        "width1": 3,
        "width2": 4,
        "width3": 5,
        "filters": 100,
        "activation": "relu",
        "pooling": "max",
        "hidden": 0,
        "dropout": 0.5,
    }
)  # as published, without pretrained vectors


@final
@dataclass(frozen=True)
class TextCnnSpace(Space):
    """Options: what to choose from, for each decision.

    `embeddings`, `branches` (how many convolutions), `widths`, `filters`, `activations` (relu, tanh, elu, gelu),
    `poolings` (max, mean, both), `hidden` (0: no such layer) and `dropouts`.
    """

    embeddings: Sequence[int] = (50, 100, 200, 300)
    branches: Sequence[int] = (1, 2, 3, 4)
    widths: Sequence[int] = (1, 2, 3, 4, 5, 7)
    filters: Sequence[int] = (25, 50, 100, 200)
    activations: Sequence[str] = ("relu", "tanh", "elu")
    poolings: Sequence[str] = ("max", "both")
    hidden: Sequence[int] = (0, 50, 100)
    dropouts: Sequence[float] = (0.0, 0.25, 0.5)

    def __post_init__(self) -> None:
        for name in ("embeddings", "branches", "widths", "filters"):
            object.__setattr__(self, name, rising(name, getattr(self, name), 1))
        object.__setattr__(self, "hidden", rising("hidden", self.hidden, 0))
        object.__setattr__(self, "dropouts", rising("dropouts", self.dropouts, 0, 1))
        object.__setattr__(self, "activations", named("activations", self.activations, ACTIVATIONS))
        object.__setattr__(self, "poolings", named("poolings", self.poolings, POOLINGS))

    @cached_property
    def decisions(self) -> Decisions:
        table: dict[str, Decision] = {"embedding": ordered(self.embeddings), "branches": ordered(self.branches)}
        for number in range(1, self.branches[-1] + 1):
            when = When.at_least("branches", number) if number > self.branches[0] else None
            table[f"width{number}"] = ordered(self.widths, when)
        return Decisions(
            {
                **table,
                "filters": ordered(self.filters),
                "activation": Choice(tuple(self.activations)),
                "pooling": Choice(tuple(self.poolings)),
                "hidden": ordered(self.hidden),
                "dropout": ordered(self.dropouts),
            }
        )

    def widths_of(self, candidate: Mapping[str, Any]) -> list[list[int]]:
        """Width and filters of each convolution, by width."""
        found = Counter(candidate[f"width{number}"] for number in range(1, candidate["branches"] + 1))
        return [[width, count * candidate["filters"]] for width, count in sorted(found.items())]

    def canonical(self, candidate: Candidate) -> Hashable:
        others = ("embedding", "activation", "pooling", "hidden", "dropout")
        return tuple(map(tuple, self.widths_of(candidate))), *(candidate[name] for name in others)

    def check(self, signature: Signature) -> None:
        check_texts(self, signature, documents=False)

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        (classes,) = signature.outputs["logits"]
        arguments = {
            "sizes": [signature.vocabularies["tokens"], candidate["embedding"], classes],
            "widths": self.widths_of(candidate),
            **{name: candidate[name] for name in ("activation", "pooling", "hidden", "dropout")},
        }
        return Blueprint("search_spaces.text.text_cnn_network:TextCnnNetwork", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        given: Mapping[str, Any] = candidate
        (classes,), (length,) = signature.outputs["logits"], signature.inputs["tokens"]
        costs = TextCosts(signature.vocabularies["tokens"], given["embedding"], length)
        features, widths = 0, self.widths_of(candidate)
        for width, filters in widths:
            sizes, found = (given["embedding"], filters, width), filters * (2 if given["pooling"] == "both" else 1)
            costs.convolution(f"convolution{width}", sizes, length + width - 1, "embedding")
            costs.pool(f"pool{width}", given["pooling"], found, f"convolution{width}")
            features += found
        last = [f"pool{width}" for width, _ in widths]
        if given["hidden"]:
            costs.linear("hidden", (features, given["hidden"]), f"linear {given['hidden']}", *last)
            features, last = given["hidden"], ["hidden"]
        costs.linear("classifier", (features, classes), "classifier", *last)
        return costs.describe()
