"""RCNN (Lai et al. 2015): each word with its left and right context, a convolution, the maximum over time.

| decision | value |
|---|---|
| `embedding` | numbers of a word's vector |
| `unit`, `context` | of the recurrent layers that read the words before and behind, and their size |
| `width`, `features` | words that the convolution reads at once (published: 1), and its filters |
| `activation`, `dropout` | behind the convolution; before the classifier |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, final

from search_spaces.decision import Choice, DecisionError, Value
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space
from search_spaces.text.options import ACTIVATIONS, check_texts, named, ordered, rising
from search_spaces.text.text_costs import GATES, TextCosts

PUBLISHED: Mapping[str, Value] = MappingProxyType(
    {
        "embedding": 50,
        "unit": "rnn",
        "context": 50,
        "width": 1,
        "features": 100,
        "activation": "tanh",
        "dropout": 0.0,
    }
)


@final
@dataclass(frozen=True)
class RcnnSpace(Space):
    """Options: what to choose from, for each decision.

    `embeddings`, `units` (rnn, gru, lstm), `contexts`, `widths` (odd), `features`, `activations` (relu, tanh, elu,
    gelu) and `dropouts`.
    """

    embeddings: Sequence[int] = (50, 100, 200)
    units: Sequence[str] = ("rnn", "gru", "lstm")
    contexts: Sequence[int] = (25, 50, 100)
    widths: Sequence[int] = (1, 3, 5)
    features: Sequence[int] = (50, 100, 200)
    activations: Sequence[str] = ("tanh", "relu")
    dropouts: Sequence[float] = (0.0, 0.25, 0.5)

    def __post_init__(self) -> None:
        for name in ("embeddings", "contexts", "widths", "features"):
            object.__setattr__(self, name, rising(name, getattr(self, name), 1))
        if even := [width for width in self.widths if width % 2 == 0]:
            raise DecisionError(f"widths has {even[0]}, but a width is odd, so that a window has a word in its middle")
        object.__setattr__(self, "dropouts", rising("dropouts", self.dropouts, 0, 1))
        object.__setattr__(self, "units", named("units", self.units, tuple(GATES)))
        object.__setattr__(self, "activations", named("activations", self.activations, ACTIVATIONS))

    @cached_property
    def decisions(self) -> Decisions:
        return Decisions(
            {
                "embedding": ordered(self.embeddings),
                "unit": Choice(tuple(self.units)),
                "context": ordered(self.contexts),
                "width": ordered(self.widths),
                "features": ordered(self.features),
                "activation": Choice(tuple(self.activations)),
                "dropout": ordered(self.dropouts),
            }
        )

    def check(self, signature: Signature) -> None:
        check_texts(self, signature, documents=False)

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        (classes,) = signature.outputs["logits"]
        names = ("unit", "context", "features", "width", "activation", "dropout")
        arguments = {
            "sizes": [signature.vocabularies["tokens"], candidate["embedding"], classes],
            **{name: candidate[name] for name in names},
        }
        return Blueprint("search_spaces.text.rcnn_network:RcnnNetwork", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        given: Mapping[str, Any] = candidate
        (classes,), (length,) = signature.outputs["logits"], signature.inputs["tokens"]
        embedding, context, features = given["embedding"], given["context"], given["features"]
        costs = TextCosts(signature.vocabularies["tokens"], embedding, length)
        for side in ("left", "right"):
            costs.recurrent(side, given["unit"], (embedding, context), length, "embedding")
            costs.parameters += context  # what stands before the first word
        costs.node("word", "concat", "left", "embedding", "right")
        costs.kept += length * (embedding + 2 * context)
        costs.convolution("convolution", (embedding + 2 * context, features, given["width"]), length, "word")
        costs.pool("pool", "max", features, "convolution")
        costs.linear("classifier", (features, classes), "classifier", "pool")
        return costs.describe()
