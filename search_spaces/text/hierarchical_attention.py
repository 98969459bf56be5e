"""Hierarchical attention (Yang et al. 2016): words to sentences, sentences to a document, each by attention.

| decision | value |
|---|---|
| `embedding` | numbers of a word's vector |
| `unit` | of both recurrent layers, which read in both directions |
| `words`, `sentences` | units of the layer over words, over sentences, in one direction |
| `keys` | size of what is compared with the queries of the attention |
| `dropout` | of word vectors, of sentences and of the document |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, final

from search_spaces.decision import Choice, Value
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space
from search_spaces.text.options import check_texts, named, ordered, rising
from search_spaces.text.text_costs import GATES, TextCosts

PUBLISHED: Mapping[str, Value] = MappingProxyType(
    {"embedding": 200, "unit": "gru", "words": 50, "sentences": 50, "keys": 100, "dropout": 0.0}
)


@final
@dataclass(frozen=True)
class HierarchicalAttentionSpace(Space):
    """Options, what to choose from: `embeddings`, `units` (gru, lstm, rnn), `words`, `sentences`, `keys`, `dropouts`.

    A task gives documents: `text_classification` with `sentences: true`.
    """

    embeddings: Sequence[int] = (50, 100, 200)
    units: Sequence[str] = ("gru", "lstm")
    words: Sequence[int] = (25, 50, 100)
    sentences: Sequence[int] = (25, 50, 100)
    keys: Sequence[int] = (50, 100)
    dropouts: Sequence[float] = (0.0, 0.25, 0.5)

    def __post_init__(self) -> None:
        for name in ("embeddings", "words", "sentences", "keys"):
            object.__setattr__(self, name, rising(name, getattr(self, name), 1))
        object.__setattr__(self, "dropouts", rising("dropouts", self.dropouts, 0, 1))
        object.__setattr__(self, "units", named("units", self.units, tuple(GATES)))

    @cached_property
    def decisions(self) -> Decisions:
        return Decisions(
            {
                "embedding": ordered(self.embeddings),
                "unit": Choice(tuple(self.units)),
                "words": ordered(self.words),
                "sentences": ordered(self.sentences),
                "keys": ordered(self.keys),
                "dropout": ordered(self.dropouts),
            }
        )

    def check(self, signature: Signature) -> None:
        check_texts(self, signature, documents=True)

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        (classes,) = signature.outputs["logits"]
        arguments = {
            "sizes": [signature.vocabularies["tokens"], candidate["embedding"], classes],
            **{name: candidate[name] for name in ("unit", "words", "sentences", "keys", "dropout")},
        }
        return Blueprint("search_spaces.text.hierarchical_network:HierarchicalNetwork", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        given: Mapping[str, Any] = candidate
        (classes,), (sentences, words) = signature.outputs["logits"], signature.inputs["tokens"]
        costs = TextCosts(signature.vocabularies["tokens"], given["embedding"], sentences * words)
        inputs, steps, before = given["embedding"], sentences * words, "embedding"
        for level in ("words", "sentences"):
            hidden = given[level]
            for way in ("forwards", "backwards"):
                costs.recurrent(f"{level} {way}", given["unit"], (inputs, hidden), steps, before)
            costs.weigh((2 * hidden, given["keys"]), steps)
            costs.weigh((given["keys"], 1), steps, bias=False)
            costs.multiply_adds += steps * 2 * hidden  # the weighted sum
            costs.kept += steps
            costs.node(f"{level} attention", "attention", f"{level} forwards", f"{level} backwards")
            inputs, steps, before = 2 * hidden, sentences, f"{level} attention"
        costs.linear("classifier", (inputs, classes), "classifier", before)
        return costs.describe()
