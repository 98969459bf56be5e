"""StackLanguageModel: the logits of the next token from recurrent layers, whose state is carried on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.rnn.stack import Stack
from search_spaces.rnn.stack_plan import StackPlan
from search_spaces.rnn.word_embedding import WordEmbedding


@final
class StackLanguageModel(nn.Module):
    """Tokens (batch, steps), and each state (batch, size), none for zeros -> logits (batch, steps, V), and each state.

    `plan` has the fields of a `StackPlan` in one direction. `tied`: the logits are products with the embeddings
    themselves (Press & Wolf 2017), of outputs projected to their size where it is another.
    """

    def __init__(self, vocabulary: int, plan: Mapping[str, Any], tied: bool) -> None:
        super().__init__()
        one = StackPlan(**plan)
        self.embedding = WordEmbedding(vocabulary, one.embedding, one.embedding_dropout)
        self.stack = Stack(one)
        self.state_count = len(self.stack.state_sizes)
        if tied:
            same = one.outputs == one.embedding
            self.projection = nn.Identity() if same else nn.Linear(one.outputs, one.embedding, bias=False)
            self.bias = nn.Parameter(torch.zeros(vocabulary))
            nn.init.uniform_(self.embedding.table.weight, -0.1, 0.1)  # Merity et al. 2018: else logits begin too large
        else:
            self.classifier = nn.Linear(one.outputs, vocabulary)
        self.tied = tied

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        outputs, *behind = self.stack.carry(self.embedding(tokens), *state)
        if self.tied:
            return functional.linear(self.projection(outputs), self.embedding.table.weight, self.bias), *behind
        return self.classifier(outputs), *behind
