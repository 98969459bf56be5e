"""What a progressive space offers: all of it where that is few, else a random part, drawn from an owned generator."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from random import Random

from search_spaces.decisions import Candidate
from search_spaces.space import Space

MANY = 10_000  # smallest candidates; the published PNAS space has 136


def enumerable(space: Space) -> bool:
    """Whether the space has at most `MANY` smallest candidates."""
    return len(list(islice(space.smallest(), MANY + 1))) <= MANY


def smallest(space: Space, sizes: Collection[str], generator: Random) -> Iterator[Candidate]:
    """The smallest candidates in random order; of more than `MANY`, that many drawn, with repetitions.

    `sizes` are the decisions that say how large a candidate is.
    """
    found = list(islice(space.smallest(), MANY + 1))
    if len(found) <= MANY:
        generator.shuffle(found)
        yield from found
        return
    size = {name: value for name, value in found[0].items() if name in sizes}
    for _ in range(MANY):
        yield space.decisions.complete(size, generator)


def successors(
    space: Space, sizes: Collection[str], parent: Candidate, generator: Random, limit: int
) -> list[Candidate]:
    """What `grow` gives; of more than `limit`, that many drawn, with repetitions."""
    found = list(islice(space.grow(parent), limit + 1))
    if len(found) <= limit:
        return found
    grown = {**parent, **{name: value for name, value in found[0].items() if name in sizes}}
    return [space.decisions.complete(grown, generator) for _ in range(limit)]
