"""The text CNN as published: nothing of the network is left to choose."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import final

from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space
from search_spaces.text.text_cnn import CNN_RAND, TextCnnSpace


@final
@dataclass(frozen=True)
class PublishedCnn(Space):
    """Kim's (2014) CNN-rand: vectors of 300, 100 windows of 3, 4 and 5 words each, dropout 0.5."""

    @property
    def decisions(self) -> Decisions:
        return Decisions()

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        return TextCnnSpace().blueprint(Candidate(CNN_RAND), signature)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        return TextCnnSpace().describe(Candidate(CNN_RAND), signature)

    def check(self, signature: Signature) -> None:
        TextCnnSpace().check(signature)

    def canonical(self, candidate: Candidate) -> Hashable:
        return ()
