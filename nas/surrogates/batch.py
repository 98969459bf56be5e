"""What to try at once: each candidate is chosen as if those before it had given what is expected of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np

from nas.surrogates.acquisition import log_expected_improvement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nas.surrogates.codes import Rows
    from nas.surrogates.gaussian_process import Posterior
    from nas.surrogates.kernel import Matrix

LARGEST = np.finfo(np.float64).max
EXPLORED = 0.15  # of the asks: a sample of the posterior decides instead of the expected improvement


@final
class Outlook:
    """What a posterior says of fixed rows, and would say if some of them were seen to be as it expects.

    That leaves every mean, and takes away doubt about what is near (Ginsbourger et al. 2010 call it a believer;
    Desautels et al. 2014 bound what it costs). `most` rows can be foreseen.
    """

    def __init__(self, posterior: Posterior, rows: Rows, most: int) -> None:
        self.mean, self._left, self._covariance = posterior.joint(rows)
        self._variance, self._noise = posterior.variance, posterior.noise_share
        self._foreseen: Matrix = np.zeros((len(rows), most))
        self._count = 0

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def deviation(self) -> Matrix:
        """Of the noiseless value of each row."""
        return np.asarray(np.sqrt(self._variance * np.maximum(self._left, 1e-9)))

    def foresee(self, place: int) -> None:
        """The row there will be seen."""
        before = self._foreseen[:, : self._count]
        column = self._covariance[:, place] - before @ before[place]
        column /= np.sqrt(max(self._left[place], 1e-9) + self._noise)
        self._foreseen[:, self._count] = column
        self._left -= column * column
        self._count += 1


def chosen(
    outlook: Outlook, best: float, doubt: Matrix, count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """The places of `count` different rows, the most promising first.

    `best` is what is to be improved on, `doubt` the logarithm of each row's chance to be feasible.
    """
    picked: list[int] = []
    while len(picked) < min(count, len(outlook)):
        deviation = outlook.deviation
        if generator.random() < EXPLORED:
            scores = outlook.mean + deviation * generator.standard_normal(len(deviation))
        else:
            scores = log_expected_improvement(outlook.mean, deviation, best)
        scores = np.maximum(scores + doubt, -LARGEST)  # even what is hopeless comes before what was picked
        scores[picked] = -np.inf
        picked.append(int(np.argmax(scores)))
        outlook.foresee(picked[-1])
    return np.array(picked, dtype=np.int64)
