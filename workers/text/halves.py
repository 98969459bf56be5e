"""The halves of a network that writes texts, as they are handed over: one reads, one writes a token at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import torch
from torch import Tensor, nn

from workers.errors import UserError


class Written(Protocol):
    """Logits (batch, steps, vocabulary), the new state, and weights (batch, steps, length) where there is attention."""

    @property
    def logits(self) -> Tensor: ...
    @property
    def state(self) -> tuple[Tensor, ...]: ...
    @property
    def weights(self) -> Tensor | None: ...


class SequenceNetwork(Protocol):
    """What the task asks of a network besides `forward(source, target)`; all tensors have the batch first.

    `carries` names what `encode` gives: `state_count` tensors that change from step to step, then what does not.
    """

    carries: Sequence[str]
    state_count: int

    def encode(self, source: Tensor) -> tuple[Tensor, ...]: ...
    def decode(self, tokens: Tensor, source: Tensor, carried: tuple[Tensor, ...]) -> Written: ...
    def __call__(self, source: Tensor, target: Tensor) -> Tensor: ...


def writing(model: nn.Module) -> SequenceNetwork:
    """`model`, if it can write step by step."""
    lacking = [name for name in ("carries", "state_count", "encode", "decode") if not hasattr(model, name)]
    if lacking:
        raise UserError(
            f"{type(model).__name__} has no {lacking[0]}, but sequence_to_sequence writes step by step: give the "
            "network what workers.text.halves.SequenceNetwork asks for, or use space: seq2seq"
        )
    return model  # type: ignore[return-value]


@final
class Reader(nn.Module):
    """A text in, what the network carries out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        """What `encode` gives."""
        return writing(self.network).encode(source)


@final
class Writer(nn.Module):
    """The last token (batch,), the text and what is carried in; logits (batch, vocabulary) and the new state out.

    The text is left out where nothing but a state is carried, since it is not looked at then.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.looks_back = len(writing(network).carries) > writing(network).state_count

    def forward(self, token: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
        """Logits of the next token, and the state behind it."""
        source, carried = (carried[0], carried[1:]) if self.looks_back else (token[:, None], carried)
        written = writing(self.network).decode(token[:, None], source, carried)
        return (written.logits[:, 0], *written.state)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what it takes."""
        return ("token", *(("source",) if self.looks_back else ()), *writing(self.network).carries)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives."""
        network = writing(self.network)
        return ("logits", *(f"next_{name}" for name in network.carries[: network.state_count]))


def unfit(vocabulary: int, never: Sequence[int], device: torch.device) -> Tensor:
    """What is added to logits (vocabulary,), so that the tokens `never` are not written."""
    added = torch.zeros(vocabulary, device=device)
    added[list(never)] = -torch.inf
    return added
