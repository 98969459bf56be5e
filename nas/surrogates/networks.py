"""Networks: what candidates are once they are built, as numbers, and which of them are the same."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar, final
from zlib import crc32

import numpy as np

from nas.strategy import Setting
from nas.surrogates.codes import Codes
from nas.surrogates.looks import MIDDLE
from search_spaces.decisions import Candidate
from search_spaces.space import Description, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas.surrogates.codes import Rows
    from nas.surrogates.kernel import Matrix

Found = TypeVar("Found")
Looked: TypeAlias = Sequence[tuple[Candidate, Sequence[float]]]  # with the rank by each proxy

COUNTS = 2  # logarithms of parameters and of multiply-adds
LABELS = 64  # buckets for what vertices do, and for what they do with what
REMEMBERED = 20_000  # rows
_TYPICAL = 0.5  # the median distance of two random networks: half the range, as of a number
_REFERENCE = 64  # random networks that the unit of distances is taken from


@final
class Networks:
    """Reads rows of codes as networks of the setting's space.

    Its features are two vectors: how large the network is, and how often each label is met in its graphs, alone and
    after one round of refinement by the labels it is fed from (Weisfeiler & Lehman 1968; Ru et al. 2021), hashed into
    buckets. They are asked of spaces only that count without building: a network on the `meta` device takes too long.
    A third vector has what proxies said, as ranks, with the middle for networks that they were not asked about.
    """

    def __init__(self, codes: Codes, setting: Setting, looks: Looked = ()) -> None:
        self.codes = codes
        self._setting = setting
        self._keys: dict[bytes, Hashable] = {}
        self._forms: dict[bytes, Hashable] = {}
        self._features: dict[bytes, Matrix] = {}
        space = setting.space
        self.described = bool(space and setting.signature and type(space).describe is not Space.describe)
        self._proxies = len(looks[0][1]) if looks else 0
        self._looks = {self._network(candidate): ranks for candidate, ranks in looks}
        self._origin, self._units = np.zeros(COUNTS + LABELS), np.ones(COUNTS + LABELS)
        if self.described:
            drawn = self._raw(codes.sample(_REFERENCE, np.random.default_rng(0)))
            self._origin = drawn.mean(axis=0)  # so that distances are not differences of large numbers
            deviations = np.maximum(drawn[:, :COUNTS].std(axis=0), 1e-9)
            self._units[:COUNTS] = deviations * _unit(drawn[:, :COUNTS] / deviations)
            self._units[COUNTS:] = _unit(drawn[:, COUNTS:])

    def groups(self) -> tuple[NDArray[np.int64], ...]:
        """The columns of each vector in the rows that `seen` gives; none where nothing is known but the codes."""
        widths = ([COUNTS, LABELS] if self.described else []) + ([self._proxies] if self._proxies else [])
        ends = len(self.codes) + np.cumsum(widths, dtype=np.int64)
        return tuple(np.arange(end - width, end) for end, width in zip(ends, widths, strict=True))

    def seen(self, rows: Rows) -> Rows:
        """The rows with the features behind the codes: (n, decisions + features)."""
        found = [rows]
        if self.described:
            found.append((self._raw(rows) - self._origin) / self._units)
        if self._proxies:
            found.append(np.array([self._said(row) for row in rows]).reshape(len(rows), self._proxies))
        return np.concatenate(found, axis=1)

    def keys(self, rows: Rows) -> Iterator[Hashable]:
        """What rows share that stand for the same network with the same hyperparameters, each when it is asked for."""
        for row in rows:
            yield _known(self._keys, row, lambda one: self._setting.canonical(self.codes.candidate(one.tolist())))

    def _said(self, row: Rows) -> Sequence[float]:
        key = _known(self._forms, row, lambda one: self._network(self.codes.candidate(one.tolist())))
        return self._looks.get(key) or (MIDDLE,) * self._proxies

    def _network(self, candidate: Candidate) -> Hashable:
        """What candidates share of which a proxy says the same, whatever their hyperparameters are."""
        space = self._setting.space
        assert space is not None
        return space.canonical(candidate)

    def _raw(self, rows: Rows) -> Matrix:
        found = [_known(self._features, row, self._measured) for row in rows]
        return np.array(found).reshape(len(rows), COUNTS + LABELS)

    def _measured(self, row: Rows) -> Matrix:
        space, signature = self._setting.space, self._setting.signature
        assert space is not None
        assert signature is not None
        network = space.describe(self.codes.candidate(row.tolist()), signature)
        buckets = np.zeros(LABELS)
        total = 0
        for label, count in Counter(_labels(network)).items():
            buckets[crc32(label.encode()) % LABELS] += count
            total += count
        sizes = [math.log1p(network.parameters), math.log1p(network.multiply_adds)]
        return np.concatenate([sizes, buckets / max(1, total)])


def _labels(network: Description) -> Iterator[str]:
    """What every vertex of every graph does, then what it does with what it is fed from."""
    for part, graph in network.graphs.items():
        does = {node.name: node.label for node in graph.nodes}
        sources: dict[str, list[str]] = {name: [] for name in does}
        for source, target in graph.edges:
            sources[target].append(does[source])
        for name, label in does.items():
            yield f"{part}/{label}"
            yield f"{part}/{label}<{','.join(sorted(sources[name]))}"


def _unit(vectors: Matrix) -> float:
    """What distances of these are divided by, so that the median one is typical; 1 where all are equal."""
    squares = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    middle = float(np.median(np.sqrt(squares[np.triu_indices(len(vectors), 1)])))
    return middle / _TYPICAL if middle > 0.0 else 1.0


def _known(memory: dict[bytes, Found], row: Rows, of: Callable[[Rows], Found]) -> Found:
    """What was found of a row before, or is found now."""
    key = row.tobytes()
    if key not in memory:
        if len(memory) >= REMEMBERED:
            memory.clear()
        memory[key] = of(row)
    return memory[key]
