"""LanguageNetwork: recurrent layers between an embedding and a decoder, and what is dropped where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.rnn.layer_families import recurrent_layer


@final
class LanguageNetwork(nn.Module):
    """Tokens (batch, steps), and each state (batch, size) -> logits (batch, steps, vocabulary), and each state.

    `sizes` has `embedding`, `hidden`, `layers`. With `tied`, the decoder's weights are the embedding's (Press & Wolf
    2017; Inan et al. 2017), behind a linear map without bias where the sizes differ. `dropouts`, probabilities to drop:
    `embedding` drops words, `input` what a layer reads, `hidden` what it carries on, `output` what the decoder reads;
    each the same at all steps (AWD-LSTM, Merity et al. 2018).
    """

    def __init__(
        self,
        vocabulary: int,
        sizes: Mapping[str, int],
        cell: Mapping[str, Any],
        tied: bool,
        dropouts: Mapping[str, float],
    ) -> None:
        super().__init__()
        width, hidden = sizes["embedding"], sizes["hidden"]
        self.dropouts = dict(dropouts)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.layers = nn.ModuleList(
            [
                recurrent_layer(cell, hidden if place else width, hidden, self.dropouts["hidden"])
                for place in range(sizes["layers"])
            ]
        )
        self.counts = [len(layer.state_sizes) for layer in self.layers]  # type: ignore[arg-type]
        self.state_count = sum(self.counts)
        self.projection = nn.Linear(hidden, width, bias=False) if tied and width != hidden else nn.Identity()
        self.decoder = None if tied else nn.Linear(hidden, vocabulary, bias=False)
        if self.decoder is not None:
            nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        values = functional.embedding(tokens, self._words())
        after: list[Tensor] = []
        for layer, count in zip(self.layers, self.counts, strict=True):
            own = state[len(after) : len(after) + count] if state else ()
            values, *carried = layer(self._dropped(values, "input"), *own)
            after += carried
        values = self.projection(self._dropped(values, "output"))
        weight = self.embedding.weight if self.decoder is None else self.decoder.weight
        return functional.linear(values, weight, self.bias), *after

    def _words(self) -> Tensor:
        """The embedding, without the words that are dropped."""
        weight, rate = self.embedding.weight, self.dropouts["embedding"]
        if not (self.training and rate):
            return weight
        return weight * functional.dropout(weight.new_ones(weight.shape[0], 1), rate)

    def _dropped(self, values: Tensor, place: str) -> Tensor:
        """(batch, steps, features) without the features that are dropped, the same at all steps."""
        if not (self.training and self.dropouts[place]):
            return values
        return values * functional.dropout(values.new_ones(values.shape[0], 1, values.shape[2]), self.dropouts[place])
