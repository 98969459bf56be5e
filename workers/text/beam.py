"""Beam search: the most probable continuations that a model can write, kept side by side; a beam of 1 is greedy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

import torch
from torch import Tensor

Carried: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[[Tensor, Carried, Carried], tuple[Tensor, Carried]]
Scorer: TypeAlias = Callable[[Sequence[int]], float]  # the logarithm of a text's probability, its end included


@final
@dataclass(frozen=True)
class Hypothesis:
    """What could be written, and ln of its probability; the end is the last token, unless it grew too long."""

    tokens: tuple[int, ...]
    log_probability: float


@final
@dataclass(frozen=True)
class Beam:
    """How many hypotheses are kept side by side, the most tokens of one, and the numbers of begin and end."""

    size: int
    longest: int
    begin: int
    end: int


@final
@dataclass(frozen=True)
class Ranking:
    """What decides between hypotheses: (ln p(model) + `weight` ln p(`scorer`)) / length to the power of `penalty`."""

    penalty: float = 0.0
    scorer: Scorer | None = None
    weight: float = 0.0

    def value(self, hypothesis: Hypothesis) -> float:
        """Larger is better."""
        found = hypothesis.log_probability
        if self.scorer is not None and self.weight:
            found += self.weight * self.scorer(hypothesis.tokens)
        return found / math.pow(len(hypothesis.tokens), self.penalty)

    def best(self, hypotheses: Sequence[Hypothesis]) -> Hypothesis:
        """The one with the largest value; the earlier of equals."""
        return max(hypotheses, key=self.value)


def search(step: Step, state: Carried, fixed: Carried, beam: Beam) -> list[list[Hypothesis]]:
    """Per text what the beam holds at the end, from the most probable on, and what greedy search finds.

    `state` and `fixed` hold a row per text, and the latter does not change. `step` is given the last tokens (rows,) and
    both, and gives logarithms of probabilities (rows, vocabulary) and the new state. Greedy's answer is always among
    the hypotheses, so that no beam ends below it; one of vocabulary^longest finds all there are.
    """
    greedy = _kept(step, state, fixed, Beam(1, beam.longest, beam.begin, beam.end))
    if beam.size == 1:
        return greedy
    wide = _kept(step, _repeated(state, beam.size), _repeated(fixed, beam.size), beam)
    known = [{one.tokens for one in many} for many in wide]
    return [
        [*many, *(one for one in single if one.tokens not in seen)]
        for many, single, seen in zip(wide, greedy, known, strict=True)
    ]


def _kept(step: Step, state: Carried, fixed: Carried, beam: Beam) -> list[list[Hypothesis]]:
    """What a beam holds at the end; `state` has `beam.size` rows per text."""
    rows, size = len(state[0]), beam.size
    texts, device = rows // size, state[0].device
    scores = torch.full((texts, size), -math.inf, dtype=torch.float64, device=device)
    scores[:, 0] = 0.0  # all lanes begin alike: only the first of them counts
    written = torch.empty(texts, size, 0, dtype=torch.int64, device=device)
    ended = torch.zeros(texts, size, dtype=torch.bool, device=device)
    last = torch.full((rows,), beam.begin, dtype=torch.int64, device=device)
    first = torch.arange(texts, device=device)[:, None] * size
    for _ in range(beam.longest):
        chances, state = step(last, state, fixed)
        chances = chances.view(texts, size, -1).double()
        over = torch.full_like(chances[0, 0], -math.inf)
        over[beam.end] = 0.0  # what has ended stays as it is
        chances = torch.where(ended[:, :, None], over, chances)
        scores, places = (scores[:, :, None] + chances).flatten(1).topk(size)
        parents, tokens = places // chances.shape[2], places % chances.shape[2]
        written = torch.cat((written.gather(1, parents[:, :, None].expand_as(written)), tokens[:, :, None]), 2)
        ended = ended.gather(1, parents) | (tokens == beam.end)
        if bool((ended | scores.isneginf()).all()):
            break
        chosen, last = (first + parents).flatten(), tokens.flatten()
        state = tuple(one[chosen] for one in state)
    return [
        [_cut(tokens, score, beam.end) for tokens, score in zip(*lane, strict=True) if score > -math.inf]
        for lane in zip(written.tolist(), scores.tolist(), strict=True)
    ]


def _cut(tokens: list[int], score: float, end: int) -> Hypothesis:
    """The hypothesis without what repeats its end."""
    behind = tokens.index(end) + 1 if end in tokens else len(tokens)
    return Hypothesis(tuple(tokens[:behind]), score)


def _repeated(tensors: Carried, times: int) -> Carried:
    return tuple(one.repeat_interleave(times, 0) for one in tensors)
