"""Classifiers of texts by recurrent layers: what of the layers' outputs is read, and the logits of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from search_spaces.rnn.sequences import lengths_of, step_of, within
from search_spaces.rnn.stack import Stack
from search_spaces.rnn.stack_plan import StackPlan
from search_spaces.rnn.word_embedding import WordEmbedding


class StackClassifier(nn.Module, ABC):
    """Tokens (batch, length), 0 behind each text -> logits (batch, classes); `plan` has the fields of a `StackPlan`."""

    def __init__(self, vocabulary: int, classes: int, plan: Mapping[str, Any]) -> None:
        super().__init__()
        self.plan = StackPlan(**plan)
        self.embedding = WordEmbedding(vocabulary, self.plan.embedding, self.plan.embedding_dropout)
        self.stack = Stack(self.plan)
        self.classifier = nn.Linear(self.plan.outputs, classes)

    def encoded(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the last layer gives (batch, steps, outputs), and the lengths (batch,) in its steps."""
        found: tuple[Tensor, Tensor] = self.stack(self.embedding(tokens), lengths_of(tokens))
        return found

    @abstractmethod
    def summary(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """One vector (batch, outputs) of each text."""

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.summary(*self.encoded(tokens)))
        return logits


@final
class PoolingClassifier(StackClassifier):
    """Reads the `last` state (of the second direction the one at the first token), the `mean` or the `max`imum."""

    def __init__(self, vocabulary: int, classes: int, plan: Mapping[str, Any], readout: str) -> None:
        super().__init__(vocabulary, classes, plan)
        self.readout = readout

    def summary(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        if self.readout == "last":
            last, hidden = step_of(outputs, lengths - 1), self.plan.hidden
            return torch.cat([last[:, :hidden], outputs[:, 0, hidden:]], 1) if self.plan.bidirectional else last
        outside = ~within(lengths, outputs.shape[1]).unsqueeze(2)
        if self.readout == "max":
            return outputs.masked_fill(outside, float("-inf")).amax(dim=1)
        return outputs.masked_fill(outside, 0.0).sum(dim=1) / lengths.unsqueeze(1)


@final
class AttentiveClassifier(StackClassifier):
    """Reads the mean of the outputs h weighted by softmax(v . tanh(W h + b)), as Yang et al. (2016) attend to words."""

    def __init__(self, vocabulary: int, classes: int, plan: Mapping[str, Any]) -> None:
        super().__init__(vocabulary, classes, plan)
        self.key = nn.Linear(self.plan.outputs, self.plan.outputs)
        self.query = nn.Linear(self.plan.outputs, 1, bias=False)

    def weights(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """What each step counts, 0 behind a text: (batch, steps), in sum 1."""
        scores: Tensor = self.query(torch.tanh(self.key(outputs))).squeeze(2)
        return scores.masked_fill(~within(lengths, outputs.shape[1]), float("-inf")).softmax(dim=1)

    def summary(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        inside = outputs.masked_fill(~within(lengths, outputs.shape[1]).unsqueeze(2), 0.0)
        return (self.weights(outputs, lengths).unsqueeze(2) * inside).sum(dim=1)

    def attention(self, tokens: Tensor) -> Tensor:
        """What each token counts: (batch, length); tokens that became one step share its weight equally."""
        weights, steps = self.weights(*self.encoded(tokens)), tokens.shape[1]
        inside = within(lengths_of(tokens), steps)
        if not self.plan.pyramidal:
            return weights * inside
        width = 2 ** (self.plan.layers - 1)
        group = torch.arange(steps, device=tokens.device) // width
        sizes = inside.new_zeros(weights.shape, dtype=weights.dtype).index_add(1, group, inside.to(weights.dtype))
        return (weights / sizes.clamp(min=1.0))[:, group] * inside
