"""Corpus: a text as the numbers of its characters or words, in three parts, with the vocabulary of the first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from workers.errors import UserError
from workers.text.vocabulary import END, UNKNOWN, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]

CHARACTERS, WORDS = "characters", "words"
UNITS = (CHARACTERS, WORDS)
SPLITS = ("train", "validation", "test")


@final
@dataclass(frozen=True)
class Cut:
    """How texts become parts: of which `unit`, with which shares, and what counts as known.

    Of a text that comes whole, the last `test` of its tokens are the test part, and `validation` before these.
    A token is known if the training part has it `minimum_count` times and it is among the `vocabulary_size`
    commonest, `UNKNOWN` and `END` included; None: however many. The limits keep the first tokens of a part.
    """

    unit: str = CHARACTERS
    validation: float = 0.05
    test: float = 0.05
    minimum_count: int = 1
    vocabulary_size: int | None = None
    train_tokens: int | None = None
    validation_tokens: int | None = None


@final
@dataclass(frozen=True)
class Corpus:
    """Three parts `(tokens,)`, numbered by the vocabulary of the first."""

    train: Numbers
    validation: Numbers
    test: Numbers
    vocabulary: Vocabulary

    def part(self, split: str) -> Numbers:
        """The part called `train`, `validation` or `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


def corpus(texts: Sequence[str], cut: Cut) -> Corpus:
    """The numbers of a training, a validation and a test text, or of one text that is cut into these.

    The vocabulary is counted in the whole training part, also where only its first tokens are used.
    """
    parts = [tokens_of(text, cut.unit) for text in texts]
    if len(parts) == 1:
        parts = divided(parts[0], cut.validation, cut.test)
    special = (UNKNOWN,) if cut.unit == CHARACTERS else (UNKNOWN, END)
    most = None if cut.vocabulary_size is None else max(0, cut.vocabulary_size - len(special))
    vocabulary = Vocabulary.counted(parts[0], special, cut.minimum_count, most)
    if parts[0] and len(vocabulary) == len(special):
        raise UserError(
            f"minimum_count is {cut.minimum_count} and vocabulary_size {cut.vocabulary_size}, so that none of the "
            f"{cut.unit} is known and all are alike: set a smaller minimum_count or a larger vocabulary_size"
        )
    limits = (cut.train_tokens, cut.validation_tokens, None)
    used = [tokens[:limit] for tokens, limit in zip(parts, limits, strict=True)]
    for name, tokens in zip(SPLITS, used, strict=True):
        if len(tokens) < 2:
            raise UserError(
                f"the {name} part has {len(tokens)} {cut.unit}, but the next one is to be foreseen from at least one: "
                "give a longer text or larger shares"
            )
    train, validation, test = (numbered(tokens, vocabulary) for tokens in used)
    return Corpus(train, validation, test, vocabulary)


def require_tokens(corpus: Corpus, option: str, count: int) -> None:
    """Raise unless more tokens are there to learn from than `option` asks for at once."""
    if len(corpus.train) <= count:
        raise UserError(
            f"{option} is {count}, but the training part has only {len(corpus.train)} tokens: set a smaller one, or "
            "give a longer text"
        )


def tokens_of(text: str, unit: str) -> Sequence[str]:
    """The characters of a text, or its words as spaces separate them, with `END` behind every line."""
    if unit == CHARACTERS:
        return text
    lines = text.removesuffix("\n").split("\n")
    return list(itertools.chain.from_iterable((*line.split(), END) for line in lines))


def text_of(tokens: Sequence[str], unit: str) -> str:
    """What `tokens_of` had of a text, for people: a sign for an unknown character, new lines for `END`."""
    if unit == CHARACTERS:
        return "".join("\ufffd" if token == UNKNOWN else token for token in tokens)
    return " ".join("\n" if token == END else token for token in tokens).replace(" \n ", "\n")


def divided(tokens: Sequence[str], validation: float, test: float) -> list[Sequence[str]]:
    """A training, a validation and a test part, one behind the other."""
    held_out = [round(share * len(tokens)) for share in (validation + test, test)]
    first, second = (len(tokens) - count for count in held_out)
    return [tokens[:first], tokens[first:second], tokens[second:]]


def numbered(tokens: Sequence[str], vocabulary: Vocabulary) -> Numbers:
    """The tokens' numbers, with 4 bytes each also where they are made: a text may be long."""
    import numpy as np

    numbers, unknown = vocabulary.numbers, vocabulary.numbers[UNKNOWN]
    return np.fromiter((numbers.get(token, unknown) for token in tokens), np.int32, len(tokens))
