"""Reading: a language model over tokens, with the state that it carries from one window to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from workers.text.corpus import Numbers

IGNORED = -100  # the target of a place that only fills a row
Carried = tuple[Tensor, ...]


def read(model: nn.Module, tokens: Tensor, state: Carried) -> tuple[Tensor, Carried]:
    """Logits (batch, steps, tokens known) and the state behind `tokens` (batch, steps); no state: from the beginning.

    A model without a state may give its logits alone.
    """
    answer = model(tokens, *state)
    if isinstance(answer, Tensor):
        return answer, ()
    return answer[0], tuple(answer[1:])


@final
class Streams:
    """A text in `rows` pieces, one behind the other, that are read side by side: each token and the one after it.

    `whole` fills up the last rows, so that every token but the first is foreseen once; otherwise fewer tokens than
    there are rows are left out at the end, and all rows are equally long.
    """

    def __init__(self, numbers: Numbers, rows: int, device: torch.device, whole: bool) -> None:
        tokens, foreseen = torch.from_numpy(numbers).to(device), len(numbers) - 1
        rows = min(rows, foreseen)
        self.length = -(-foreseen // rows) if whole else foreseen // rows
        taken = min(foreseen, rows * self.length)
        fill = (0, rows * self.length - taken)
        self.inputs = functional.pad(tokens[:taken], fill).view(rows, self.length)
        self.targets = functional.pad(tokens[1 : taken + 1], fill, value=IGNORED).view(rows, self.length)
        self.foreseen = taken

    def window(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets (rows, stop - start) from place `start` of every row on."""
        return self.inputs[:, start:stop].long(), self.targets[:, start:stop].long()


def windows(length: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where windows of these `sizes`, one behind the other, begin and end in a row; the last ends with the row."""
    places, start = [], 0
    for size in sizes:
        if start < length:
            places.append((start, min(length, start + size)))
            start += size
    return places


@torch.no_grad()
def mean_loss(model: nn.Module, streams: Streams, steps: int) -> float:
    """The mean cross entropy in nats over every target of `streams`; the state is carried from window to window."""
    total = torch.zeros((), dtype=torch.float64, device=streams.inputs.device)
    state: Carried = ()
    for start in range(0, streams.length, steps):
        inputs, targets = streams.window(start, start + steps)
        logits, state = read(model, inputs, state)
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        total += losses.sum(dtype=torch.float64)
    return float(total) / streams.foreseen


@torch.no_grad()
def continued(
    model: nn.Module, prompt: Sequence[int], count: int, temperature: float, generator: torch.Generator, context: int
) -> list[int]:
    """`count` tokens behind `prompt`, each drawn from what the model foresees at `temperature`.

    A model without a state reads the last `context` tokens again for each.
    """
    device = next(model.parameters()).device
    seen = list(prompt)
    logits, state = read(model, torch.tensor([seen], device=device), ())
    for _ in range(count):
        chances = (logits[0, -1].double() / temperature).softmax(0).cpu()
        seen.append(int(torch.multinomial(chances, 1, generator=generator)))
        unread = seen[-1:] if state else seen[-context:]
        logits, state = read(model, torch.tensor([unread], device=device), state)
    return seen[len(prompt) :]


@torch.no_grad()
def next_step(model: nn.Module, numbers: Numbers, count: int, context: int) -> tuple[Tensor, ...]:
    """Inputs of `model` in the middle of a text: tokens (count, 1), and the states after up to `context` before them.

    The places are spread over the text. A model without a state gets the whole windows.
    """
    context = max(1, min(context, len(numbers) - 1))
    places = torch.linspace(0, len(numbers) - 1 - context, count).long()
    rows = torch.from_numpy(numbers)[places[:, None] + torch.arange(context + 1)].long()
    _, state = read(model, rows[:, :-1], ())
    return (rows[:, -1:], *(one.clone() for one in state)) if state else (rows[:, :-1],)
