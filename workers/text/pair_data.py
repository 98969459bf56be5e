"""PairData: pairs of texts as numbers, with one vocabulary for both sides, counted in the training part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, final

from workers.errors import UserError
from workers.text.pairs import Pair, PairSource, Shares
from workers.text.vocabulary import BEGIN, END, PAD, UNKNOWN, Vocabulary

SPECIAL = (PAD, BEGIN, END, UNKNOWN)
PADDED, BEGUN, ENDED, FOREIGN = range(4)  # their numbers
UNITS = ("characters", "words")


@final
@dataclass(frozen=True)
class Spelling:
    """What texts are cut into: characters, or words, which blanks separate; `length` is the most tokens of a text.

    The vocabulary holds what occurs `minimum` times, at most `most`.
    """

    unit: str = "characters"
    minimum: int = 1
    most: int | None = None
    length: int = 200

    def tokens(self, text: str) -> list[str]:
        """All tokens of `text`."""
        return list(text) if self.unit == "characters" else text.split()

    def text(self, tokens: Iterable[str]) -> str:
        """The text that these tokens are."""
        return ("" if self.unit == "characters" else " ").join(tokens)


@final
@dataclass(frozen=True)
class PairPart:
    """Some pairs: numbers of what is read, which `ENDED` ends, and of what is written, without begin and end.

    Both are cut where they are longer than `Spelling` allows; `wanted` are the whole texts that are to be written.
    """

    sources: Sequence[tuple[int, ...]]
    targets: Sequence[tuple[int, ...]]
    wanted: Sequence[str]

    def __len__(self) -> int:
        return len(self.sources)


@final
@dataclass(frozen=True)
class PairData:
    """The three parts of a data set; `shape` is the length of the longest source, with its end, and of the targets."""

    train: PairPart
    validation: PairPart
    test: PairPart
    spelling: Spelling
    vocabulary: Vocabulary
    shape: tuple[int, int]
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # tensors for later trials

    def part(self, split: str) -> PairPart:
        """The part called `train`, `validation` or `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    def text(self, numbers: Iterable[int]) -> str:
        """The text that these numbers are, up to the end if that is there."""
        tokens = []
        for number in numbers:
            if number == ENDED:
                break
            tokens.append(self.vocabulary.tokens[number])
        return self.spelling.text(tokens)


def pair_data(source: PairSource, shares: Shares, spelling: Spelling) -> PairData:
    """The pairs of `source`, divided and in numbers; once per process, as long as they do not change."""
    return _loaded(source, source.stamp(), shares, spelling)


@lru_cache(maxsize=4)
def _loaded(source: PairSource, stamp: str, shares: Shares, spelling: Spelling) -> PairData:
    pairs = source.read(shares)
    train = [pair for pair in pairs.train if max(len(spelling.tokens(side)) for side in pair) <= spelling.length]
    if not train:
        raise UserError(f"every training pair has more than {spelling.length} tokens on a side: set a larger length")
    counted = (token for pair in train for side in pair for token in spelling.tokens(side))
    vocabulary = Vocabulary.counted(counted, SPECIAL, spelling.minimum, spelling.most)
    if len(vocabulary) == len(SPECIAL):
        raise UserError(
            f"vocabulary_minimum is {spelling.minimum}, but the training pairs have none of the {spelling.unit} that "
            "often, so that nothing could be written: set a smaller one, or name the columns that hold the texts"
        )
    learned, validation, test = (
        _numbered(part, spelling, vocabulary) for part in (train, pairs.validation, pairs.test)
    )
    longest_source = max(len(one) for part in (learned, validation, test) for one in part.sources)
    longest_target = max(len(one) for part in (learned, validation, test) for one in part.targets)
    return PairData(learned, validation, test, spelling, vocabulary, (longest_source, longest_target + 1))


def _numbered(pairs: Sequence[Pair], spelling: Spelling, vocabulary: Vocabulary) -> PairPart:
    """The pairs in numbers; a token that is written as a special one is unknown."""

    def numbers(text: str) -> list[int]:
        return [max(one, FOREIGN) for one in vocabulary.encode(spelling.tokens(text)[: spelling.length])]

    return PairPart(
        [(*numbers(source), ENDED) for source, _ in pairs],
        [tuple(numbers(target)) for _, target in pairs],
        [spelling.text(spelling.tokens(target)) for _, target in pairs],
    )
