"""TextData: labelled texts as numbers, divided, with the vocabulary of the training part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, TypeAlias, final

from workers.errors import UserError
from workers.image_data import Division
from workers.text.labelled import Labelled, TextSource
from workers.text.tokenizing import sentences_of, tokens_of
from workers.text.vocabulary import PAD, UNKNOWN, Vocabulary

SPECIAL = (PAD, UNKNOWN)
FOREIGN = SPECIAL.index(UNKNOWN)
Numbers: TypeAlias = tuple[tuple[int, ...], ...]  # the tokens of a text, by sentences; a text that has none is ()


@final
@dataclass(frozen=True)
class Reading:
    """How texts become numbers: `length` is the most tokens of a sentence, of which a text has at most `sentences`.

    Where `sentences` is 0 a text is one sentence. The vocabulary holds what occurs `minimum` times, at most `most`.
    """

    tokens: str = "words"
    minimum: int = 1
    most: int | None = None
    length: int = 100
    sentences: int = 0

    def cut(self, text: str) -> list[list[str]]:
        """The tokens of `text` by sentences, those without any left out."""
        parts = sentences_of(text) if self.sentences else [text]
        found = [tokens for part in parts if (tokens := tokens_of(part, self.tokens)[: self.length])]
        return found[: self.sentences or 1]


@final
@dataclass(frozen=True)
class TextPart:
    """Some texts, and the number of each one's class."""

    texts: Sequence[Numbers]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.texts)


@final
@dataclass(frozen=True)
class TextData:
    """The three parts of a data set; `shape` is that of its longest training text, within what `Reading` allows.

    All texts are cut there, so that what is scored is what an exported network can be given.
    """

    train: TextPart
    validation: TextPart
    test: TextPart
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    shape: tuple[int, ...]
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # tensors for later trials

    def part(self, split: str) -> TextPart:
        """The part called `train`, `validation` or `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]


def text_data(source: TextSource, division: Division, reading: Reading) -> TextData:
    """The texts of `source`, divided and read; once per process, as long as they do not change."""
    return _loaded(source, source.stamp(), division, reading)


@lru_cache(maxsize=4)
def _loaded(source: TextSource, stamp: str, division: Division, reading: Reading) -> TextData:
    labelled = source.read()
    classes = labelled.classes(source.place)
    numbers = {name: number for number, name in enumerate(classes)}
    rows = divide(labelled, division, source.place)
    cut = [[reading.cut(labelled.texts[row]) for row in part] for part in rows]
    vocabulary = _vocabulary(cut[0], reading, source.place)
    most = max(map(len, cut[0]))
    longest = max(len(sentence) for text in cut[0] for sentence in text)
    train, validation, test = (
        TextPart(
            [tuple(_numbered(sentence[:longest], vocabulary) for sentence in text[:most]) for text in texts],
            [numbers[labelled.labels[row]] for row in part],
        )
        for part, texts in zip(rows, cut, strict=True)
    )
    shape = (most, longest) if reading.sentences else (longest,)
    return TextData(train, validation, test, classes, vocabulary, shape)


def _vocabulary(texts: Iterable[Iterable[Iterable[str]]], reading: Reading, place: str) -> Vocabulary:
    """What is known of the training texts; raise where that is nothing."""
    tokens = (token for text in texts for sentence in text for token in sentence)
    vocabulary = Vocabulary.counted(tokens, SPECIAL, reading.minimum, reading.most)
    if len(vocabulary) == len(SPECIAL):
        raise UserError(
            f"vocabulary_minimum is {reading.minimum}, but the training texts of {place} have no token (tokens: "
            f"{reading.tokens}) that often: set a smaller one, or name the text_column that holds the texts"
        )
    return vocabulary


def _numbered(tokens: Sequence[str], vocabulary: Vocabulary) -> tuple[int, ...]:
    """The tokens' numbers; one that is written as padding is unknown."""
    return tuple(max(one, FOREIGN) for one in vocabulary.encode(tokens))


def divide(labelled: Labelled, division: Division, place: str) -> tuple[list[int], list[int], list[int]]:
    """The texts for training, validation and test, in the source's order; equal seeds divide equally anywhere.

    What has a part stays there. From the rest a test part is drawn where there is none, and from what is then
    left for training a validation part where there is none, with every class in (nearly) its share; neither takes the
    last text of a class.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, part in enumerate(labelled.parts):
        rows[part].append(row)
    generator = Random(f"division/{division.seed}")
    free = generator.sample(rows[""], len(rows[""]))
    test = rows["test"]
    if not test:
        test, free = _drawn(labelled.labels, free, round(division.test * len(free)), spared=1)
    train, validation = rows["train"] + free, rows["validation"]
    if not validation:
        mixed = generator.sample(train, len(train))
        validation, train = _drawn(labelled.labels, mixed, round(division.validation * len(mixed)), spared=1)
    train = _limited(labelled.labels, train, division.train_examples, generator)
    validation = _limited(labelled.labels, validation, division.validation_examples, generator)
    for name, found in (("training", train), ("validation", validation), ("test", test)):
        if not found:
            raise UserError(
                f"no text of {place} is left for the {name} part of {len(labelled.texts)}: set larger shares, or "
                "give more texts, or some that are in no part yet, from which it is drawn"
            )
    return sorted(train), sorted(validation), sorted(test)


def _drawn(labels: Sequence[str], rows: Sequence[int], count: int, spared: int = 0) -> tuple[list[int], list[int]]:
    """The first `count` of `rows` with each class in its share (largest remainders), and the others.

    Of a class at least `spared` are left among the others, however few are drawn then.
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_class[labels[row]].append(row)
    shares = {name: count * len(by_class[name]) / len(rows) for name in sorted(by_class)}
    quota = {name: int(share) for name, share in shares.items()}
    roomy = [name for name in shares if quota[name] + spared < len(by_class[name])]
    for name in sorted(roomy, key=lambda name: quota[name] - shares[name])[: count - sum(quota.values())]:
        quota[name] += 1
    taken = _union(by_class[name][: quota[name]] for name in quota)
    return [row for row in rows if row in taken], [row for row in rows if row not in taken]


def _limited(labels: Sequence[str], rows: list[int], limit: int | None, generator: Random) -> list[int]:
    if limit is None or limit >= len(rows):
        return rows
    return _drawn(labels, generator.sample(rows, len(rows)), limit)[0]


def _union(parts: Iterable[Iterable[int]]) -> set[int]:
    return {row for part in parts for row in part}
