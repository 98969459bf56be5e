"""Encoder-decoder networks (Sutskever et al. 2014; Bahdanau et al. 2015; Luong et al. 2015; See et al. 2017).

| decision | value |
|---|---|
| `unit` | of encoder and decoder |
| `layers` | of each of them |
| `hidden` | features of a layer, both directions together |
| `embedding` | features of a token |
| `bidirectional` | whether the encoder reads in both directions, each half as wide |
| `attention` | how states of the source are scored for each token that is written, or `none` |
| `pointer` | whether tokens of the source can be copied; only where there is attention |
| `dropout` | the probability to drop a feature between layers, and of what they read and what is read from them |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, final

from search_spaces.decision import Choice, DecisionError, Value, When, growing
from search_spaces.decisions import Candidate, Decisions
from search_spaces.rnn.seq2seq_costs import costs, drawn
from search_spaces.space import Blueprint, Description, Signature, Space, UnfitError, require

ATTENTIONS = ("none", "additive", "dot", "general")
ALLOWED: dict[str, tuple[Value, ...]] = {
    "unit": ("rnn", "gru", "lstm"),
    "bidirectional": (False, True),
    "attention": ATTENTIONS,
    "pointer": (False, True),
}


@final
@dataclass(frozen=True)
class Seq2SeqSpace(Space):
    """Each option holds what to choose from for the decision of its name; one value settles it."""

    unit: Sequence[str] = ("rnn", "gru", "lstm")
    layers: Sequence[int] = (1, 2)
    hidden: Sequence[int] = (64, 128, 256)
    embedding: Sequence[int] = (32, 64, 128)
    bidirectional: Sequence[bool] = (False, True)
    attention: Sequence[str] = ATTENTIONS
    pointer: Sequence[bool] = (False, True)
    dropout: Sequence[float] = (0.0, 0.1, 0.2, 0.3)

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            values: Any = getattr(self, name)
            values = tuple(values) if isinstance(values, list | tuple) else (values,)
            object.__setattr__(self, name, values)
            allowed = ALLOWED.get(name)
            if allowed is not None:
                _among(name, values, allowed)
            elif not values or not growing(values):
                raise DecisionError(f"{name} is {list(values)}, but must be rising numbers, at least one")
        for name in ("layers", "hidden", "embedding"):
            if wrong := [one for one in getattr(self, name) if not isinstance(one, int) or one < 1]:
                raise DecisionError(f"{name} has {wrong[0]}, but must be whole numbers from 1 on")
        if True in self.bidirectional and (odd := [one for one in self.hidden if one % 2]):
            raise DecisionError(f"hidden has {odd[0]}, but must be even: each direction of the encoder gets half of it")
        if not 0 <= self.dropout[0] <= self.dropout[-1] < 1:
            raise DecisionError(f"dropout is {list(self.dropout)}, but must be at least 0 and below 1: it is dropped")
        if tuple(self.attention) == ("none",) and tuple(self.pointer) == (True,):
            raise DecisionError("pointer is true, but attention is none: what is copied is chosen by attention")

    @cached_property
    def decisions(self) -> Decisions:
        scores = [one for one in self.attention if one != "none"]
        when = When.among("attention", *scores) if len(scores) < len(self.attention) else None
        table = {
            "unit": Choice(tuple(self.unit)),
            "layers": Choice(tuple(self.layers), ordered=True),
            "hidden": Choice(tuple(self.hidden), ordered=True),
            "embedding": Choice(tuple(self.embedding), ordered=True),
            "bidirectional": Choice(tuple(self.bidirectional)),
            "attention": Choice(tuple(self.attention)),
            "dropout": Choice(tuple(self.dropout), ordered=True),
        }
        if scores:
            table["pointer"] = Choice(tuple(self.pointer), when)
        return Decisions(table)

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        arguments = {
            "vocabulary": signature.outputs["logits"][1],
            "unit": candidate["unit"],
            "sizes": {name: candidate[name] for name in ("layers", "hidden", "embedding")},
            "attention": candidate["attention"],
            "bidirectional": candidate["bidirectional"],
            "pointer": candidate.get("pointer", False),
            "dropout": candidate["dropout"],
        }
        return Blueprint("search_spaces.rnn.seq2seq_network:Seq2SeqNetwork", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        self.check(signature)
        parameters, multiply_adds, activations = costs(candidate, signature)
        return Description(parameters, multiply_adds, 4 * activations, {"network": drawn(candidate)})

    def check(self, signature: Signature) -> None:
        require(self, signature, "sequence_to_sequence", {"source": 1, "target": 1}, {"logits": 2})
        known = {signature.vocabularies.get(name) for name in ("source", "target")} | {signature.outputs["logits"][1]}
        if len(known) != 1:
            raise UnfitError(
                f"{type(self).__name__} writes with the vocabulary that it reads with, but the task has "
                f"{dict(signature.vocabularies)} and logits of {signature.outputs['logits'][1]}: choose another space "
                "or task, or one vocabulary"
            )


def _among(name: str, values: Sequence[Value], allowed: Sequence[Value]) -> None:
    """Raise unless `values` are some of `allowed`."""
    rule = Choice(tuple(allowed))
    if not values:
        raise DecisionError(f"{name} is empty, but must have at least {rule.rule}")
    for one in values:
        rule.check(name, one)
