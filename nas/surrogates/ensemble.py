"""Ensemble: several surrogate networks, each trained on its own part of the data, that answer with their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import torch

from nas.surrogates.losses import LOSSES
from nas.surrogates.lstm import Lstm
from nas.surrogates.mlp import Mlp
from nas.surrogates.network import Network
from nas.surrogates.surrogate import Surrogate
from nas.surrogates.threads import on_one_thread
from nas.surrogates.vocabulary import Tokens, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

NETWORKS: dict[str, type[Network]] = {"lstm": Lstm, "mlp": Mlp}
_FIRST_RATE, _LATER_RATE = 0.01, 0.002  # Adam's, as published
_OFFSET = 1.8  # of the sigmoid's argument, as published: networks begin by predicting a good accuracy
_STEPS = 100  # of Adam per fit
_BATCH = 256  # sequences per step


@final
class Ensemble(Surrogate):
    """`members` networks (`lstm`, `mlp`), each on all but its own 1/`members` of the data.

    With the loss `l1` a sigmoid stands at the end, and scores that are no shares of 1 are scaled to lie between 0 and
    1; the ranking losses (`list_mle`, `pairwise_hinge`) leave the networks' outputs free, which are then scaled to the
    unit of the scores. All randomness comes from `seed`. Fits take one thread, `expand` as many as torch is set to.
    """

    def __init__(
        self, vocabulary: Vocabulary, network: str = "lstm", loss: str = "list_mle", members: int = 5, seed: int = 0
    ) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._bounded = loss == "l1"
        self._loss = LOSSES[loss]
        self._members = members
        offset = _OFFSET if self._bounded else 0.0
        self._network = NETWORKS[network](vocabulary, members, offset, self._generator)
        self._fits = 0
        self._slope, self._shift = 1.0, 0.0  # from a network's output to the unit of the scores

    def fit(self, sequences: Sequence[Tokens], scores: Sequence[float]) -> None:
        told = np.asarray(scores, dtype=np.float64)
        slope, shift = _scale(told)
        targets = torch.from_numpy(((told - shift) / slope).clip(-1.0, 2.0)).float()
        if self._bounded:
            targets.clamp_(0.0, 1.0)
        ids = _padded(sequences)
        self._train(ids, targets, _LATER_RATE if self._fits else _FIRST_RATE)
        self._fits += 1
        self._slope, self._shift = slope, shift
        if not self._bounded:
            said_slope, said_shift = _spread(self._say(ids))
            self._slope = slope / said_slope
            self._shift = shift - said_shift * self._slope

    @on_one_thread()
    def _train(self, ids: torch.Tensor, targets: torch.Tensor, rate: float) -> None:
        count = len(targets)
        fold = count // self._members if self._members > 1 else 0
        shuffled = torch.randperm(count, generator=self._generator)
        parts = torch.stack([shuffled.roll(-fold * member)[fold:] for member in range(self._members)])
        optimizer = torch.optim.Adam(self._network.parameters, lr=rate)
        for _ in range(_STEPS):
            drawn = torch.rand(parts.shape, generator=self._generator).argsort(1)[:, :_BATCH]
            rows = parts.gather(1, drawn)
            said = self._network.forward(ids[rows])
            loss = self._loss(torch.sigmoid(said) if self._bounded else said, targets[rows]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    @on_one_thread()
    def predict(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        return self._say(_padded(sequences)) * self._slope + self._shift

    @torch.no_grad()
    def _say(self, ids: torch.Tensor) -> NDArray[np.float64]:
        return self._mean(self._network.forward(ids.expand(self._members, -1, -1)))

    def expand(
        self, parents: Sequence[Tokens], owners: NDArray[np.int64], suffixes: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        said = self._network.expansions(_padded(parents), torch.from_numpy(owners), torch.from_numpy(suffixes))
        return self._mean(said) * self._slope + self._shift

    def _mean(self, said: torch.Tensor) -> NDArray[np.float64]:
        answers = torch.sigmoid(said) if self._bounded else said
        mean: NDArray[np.float64] = answers.double().mean(0).numpy()
        return mean


def _padded(sequences: Sequence[Tokens]) -> torch.Tensor:
    """(n, longest), zeros on the left."""
    longest = max(map(len, sequences))
    return torch.tensor([[0] * (longest - len(one)) + list(one) for one in sequences], dtype=torch.long)


def _scale(scores: NDArray[np.float64]) -> tuple[float, float]:
    """The slope and shift that take [0, 1] to the scores, but for the extreme ones; none where all are shares of 1."""
    if scores.min() >= 0.0 and scores.max() <= 1.0:
        return 1.0, 0.0
    slope, shift = _spread(scores)
    return slope / 0.8, shift - slope / 8  # the inner nine tenths come to lie between 0.1 and 0.9


def _spread(values: NDArray[np.float64]) -> tuple[float, float]:
    """Width and beginning of the range that the inner nine tenths of the values take."""
    low, high = np.quantile(values, [0.05, 0.95])
    width = float(high - low)
    return (width if math.isfinite(width) and width > 0 else 1.0), float(low)
