"""Seq2SeqNetwork: an encoder that reads a text, and a decoder that writes another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from search_spaces.rnn.attention import Attention, copied
from search_spaces.rnn.sequence_encoder import SequenceEncoder, layer_of
from search_spaces.rnn.sequences import lengths_of, within

TINY = 1e-30  # keeps the logarithm of a token that cannot be copied finite


@final
@dataclass(frozen=True)
class Written:
    """What a decoder says: logits (batch, steps, vocabulary), its new state, weights (batch, steps, length) if any."""

    logits: Tensor
    state: tuple[Tensor, ...]
    weights: Tensor | None


@final
class Seq2SeqNetwork(nn.Module):
    """Reads `source`, then writes token by token (Sutskever et al. 2014; one embedding for both sides).

    The state that each layer of the encoder ended with is the one with which that of the decoder begins.
    With `attention` the states of the source, weighted by how they fit the decoder's last layer, are read before a
    token is written (Luong et al. 2015: behind the recurrent layers, so that a whole target is computed at once). With
    `pointer` a token is written or copied from the source, as a gate says (See et al. 2017); the logits are then
    logarithms of the mixed probabilities. Token 0 is padding, only behind a text, and never changes the answer.
    """

    def __init__(
        self,
        vocabulary: int,
        unit: str,
        sizes: dict[str, int],
        attention: str,
        bidirectional: bool,
        pointer: bool,
        dropout: float,
    ) -> None:
        """`sizes` has `layers`, `hidden` and `embedding`; `attention` may be `none`."""
        super().__init__()
        layers, hidden, embedding = sizes["layers"], sizes["hidden"], sizes["embedding"]
        self.vocabulary = vocabulary
        self.state_count = 2 if unit == "lstm" else 1
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.encoder = SequenceEncoder(unit, (embedding, hidden, layers), bidirectional, dropout)
        self.decoder = nn.ModuleList(
            layer_of(unit, hidden if number else embedding, hidden) for number in range(layers)
        )
        self.attention = None if attention == "none" else Attention(attention, hidden)
        self.combine = None if attention == "none" else nn.Linear(2 * hidden, hidden)
        self.gate = nn.Linear(2 * hidden + embedding, 1) if pointer else None
        self.output = nn.Linear(hidden, vocabulary)
        self.dropout = nn.Dropout(dropout)

    @property
    def carries(self) -> tuple[str, ...]:
        """The names of what `encode` gives: first the state, then what stays the same for a whole text."""
        memory = () if self.attention is None else ("memory",)
        keys = ("keys",) if self.attention is not None and self.attention.score == "additive" else ()
        return ("hidden", "cell")[: self.state_count] + memory + keys

    def encode(self, source: Tensor) -> tuple[Tensor, ...]:
        """The tensors `carries` names, of texts (batch, length): states (batch, layers, hidden), memory and keys."""
        lengths = lengths_of(source)
        outputs, ends = self.encoder(self.dropout(self.embedding(source)), lengths)
        state = [torch.stack([end[kind] for end in ends], 1) for kind in range(self.state_count)]
        if self.attention is None:
            return tuple(state)
        memory = [outputs, self.attention.keys(outputs)] if self.attention.score == "additive" else [outputs]
        return (*state, *memory)

    def decode(self, tokens: Tensor, source: Tensor, carried: tuple[Tensor, ...]) -> Written:
        """What follows each of `tokens` (batch, steps), the first of them read in the state of `carried`."""
        embedded = self.dropout(self.embedding(tokens))
        outputs, state = self._recur(embedded, carried[: self.state_count])
        if self.attention is None or self.combine is None:
            return Written(self.output(self.dropout(outputs)), state, None)
        memory, keys = carried[self.state_count], carried[-1]
        known = within(lengths_of(source), source.shape[1])
        weights = self.attention(outputs, keys, known)
        read = torch.cat((weights @ memory, outputs), 2)
        logits = self.output(self.dropout(torch.tanh(self.combine(read))))
        if self.gate is not None:
            gate = self.gate(torch.cat((read, embedded), 2))
            copies = copied(weights, source, self.vocabulary).clamp(min=TINY).log()
            writes = nn.functional.logsigmoid(gate) + logits.log_softmax(2)
            logits = torch.logaddexp(writes, nn.functional.logsigmoid(-gate) + copies)
        return Written(logits, state, weights)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (batch, steps, vocabulary) of what follows each token of `target`, which are all given."""
        return self.decode(target, source, self.encode(source)).logits

    def weights(self, source: Tensor, target: Tensor) -> Tensor | None:
        """How much each token written behind one of `target` looks at `source`: (batch, steps, length)."""
        return self.decode(target, source, self.encode(source)).weights

    def _recur(self, embedded: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The last layer's outputs, and the state after the last token."""
        outputs, after = embedded, []
        for number, layer in enumerate(self.decoder):
            begun = tuple(one[:, number].unsqueeze(0).contiguous() for one in state)
            outputs = self.dropout(outputs) if number else outputs
            outputs, ended = layer(outputs, begun if len(begun) == 2 else begun[0])
            after.append(ended if isinstance(ended, tuple) else (ended,))
        return outputs, tuple(torch.stack([one[kind][0] for one in after], 1) for kind in range(len(state)))
