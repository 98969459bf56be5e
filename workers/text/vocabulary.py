"""Vocabulary: tokens by their numbers, counted in a training text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<bos>", "<eos>"


@final
@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their numbers; an unknown token is `UNKNOWN` where the vocabulary has that."""

    tokens: tuple[str, ...]

    @classmethod
    def counted(
        cls, tokens: Iterable[str], special: Sequence[str] = (), minimum: int = 1, most: int | None = None
    ) -> Vocabulary:
        """`special` first, then what occurs `minimum` times, at most `most`, the commonest first, ties as sorted."""
        counts = Counter(tokens)
        known = sorted(
            (t for t, n in counts.items() if n >= minimum and t not in special), key=lambda t: (-counts[t], t)
        )
        return cls((*special, *known[:most]))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each token's number."""
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The tokens' numbers; KeyError for one that is not known where there is no `UNKNOWN`."""
        numbers, unknown = self.numbers, self.numbers.get(UNKNOWN)
        if unknown is None:
            return [numbers[token] for token in tokens]
        return [numbers.get(token, unknown) for token in tokens]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The tokens with these numbers."""
        return [self.tokens[number] for number in numbers]
