"""Belief: a Gaussian process of what was told, its parameters fitted now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, final

from nas.surrogates.evidence import BELIEVED, LEARNED, Evidence, learnt_from, posterior

if TYPE_CHECKING:
    from nas.surrogates.codes import Rows
    from nas.surrogates.gaussian_process import GaussianProcess, Posterior
    from nas.surrogates.kernel import Matrix


@final
class Belief:
    """Parameters are those fitted to a beginning of a history, which is expected to go on where it was.

    `part` is how much of the evidence the process can digest in the time there is.
    """

    def __init__(self, process: GaussianProcess, part: float) -> None:
        self.process = process
        self.learned, self.believed = round(part * LEARNED), round(part * BELIEVED)
        self._fit: tuple[int, Matrix] | None = None

    def posterior(
        self,
        evidence: Callable[[int], Evidence],
        told: int,
        pending: Rows,
        seen: Callable[[Rows], Rows] = lambda rows: rows,
    ) -> Posterior:
        """What is believed after `told` results, `evidence` being what the first so many give, of rows as `seen`."""
        count = learnt_from(told)
        if self._fit is None or self._fit[0] != count:
            learned = evidence(count).bounded(self.learned)
            some = len(learned) > 0
            found = self.process.fitted(seen(learned.rows), learned.targets) if some else self.process.start
            self._fit = count, found
        known = evidence(told).bounded(self.believed)
        return posterior(self.process, self._fit[1], Evidence(seen(known.rows), known.targets), seen(pending))
