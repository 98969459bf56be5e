"""NGram: a language model in closed form, counted in texts (Witten & Bell 1991, interpolated)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import final

Context = tuple[int, ...]


@final
class NGram:
    """p(w | h) = (c(hw) + d(h) p(w | h')) / (c(h) + d(h)): d(h) different tokens were seen behind h; h' is h less one.

    Below the empty context all `size` tokens are equally likely. `begin` stands before a text as often as is needed;
    a text ends with a token of its own.
    """

    def __init__(self, texts: Iterable[Sequence[int]], order: int, size: int, begin: int) -> None:
        self.order, self.size, self.begin = order, size, begin
        self.counts: dict[Context, Counter[int]] = defaultdict(Counter)
        for text in texts:
            for context, token in self._steps(text):
                for start in range(order):
                    self.counts[context[start:]][token] += 1
        self.totals = {context: seen.total() for context, seen in self.counts.items()}  # adding up takes a while

    def probability(self, token: int, context: Context) -> float:
        """Of `token` behind the last `order` - 1 tokens; over all tokens of the vocabulary it sums to 1."""
        lower = self.probability(token, context[1:]) if context else 1 / self.size
        seen = self.counts.get(context)
        if not seen:
            return lower
        return (seen[token] + len(seen) * lower) / (self.totals[context] + len(seen))

    def __call__(self, text: Sequence[int]) -> float:
        """The logarithm of the probability of a whole text."""
        return math.fsum(math.log(self.probability(token, context)) for context, token in self._steps(text))

    def _steps(self, text: Sequence[int]) -> Iterable[tuple[Context, int]]:
        """Each token with the `order` - 1 tokens before it."""
        whole = (self.begin,) * (self.order - 1) + tuple(text)
        for place in range(len(text)):
            yield whole[place : place + self.order - 1], whole[place + self.order - 1]
