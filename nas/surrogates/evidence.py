"""Evidence: what was told of rows, as much of it as a Gaussian process can digest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from nas.surrogates.gaussian_process import GaussianProcess, Posterior

if TYPE_CHECKING:
    from nas.surrogates.codes import Rows
    from nas.surrogates.kernel import Matrix

LEARNED = 120  # rows that parameters are fitted to
BELIEVED = 300  # rows that a posterior is computed from
LIGHT = 5.0  # effort of a kernel up to which this many are digested
_GROWTH = 1.1  # of the evidence, from one fit of the parameters to the next


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """Rows in the order they were told, each with its target."""

    rows: Rows
    targets: Matrix

    def __len__(self) -> int:
        return len(self.targets)

    def bounded(self, most: int) -> Evidence:
        """At most so many: half of them the best, the others evenly spread over the order in which they were told."""
        if len(self) <= most:
            return self
        order = np.argsort(-self.targets, kind="stable")
        rest = np.sort(order[most // 2 :])
        spread = rest[np.linspace(0, len(rest) - 1, most - most // 2).astype(np.int64)]
        kept = np.sort(np.concatenate([order[: most // 2], spread]))
        return Evidence(self.rows[kept], self.targets[kept])

    def and_(self, rows: Rows, targets: Matrix) -> Evidence:
        """With more behind it."""
        return Evidence(np.concatenate([self.rows, rows]), np.concatenate([self.targets, targets]))


def learnt_from(count: int) -> int:
    """How many of `count` told the parameters are fitted to: the largest number on a fixed ladder.

    So they follow from the history alone, and are not fitted afresh at every ask.
    """
    step = 4
    while (following := max(step + 1, int(step * _GROWTH))) <= count:
        step = following
    return min(step, count)


def share(effort: float) -> float:
    """How much of the rows, and of the candidates, a kernel of this effort can digest in the time there is."""
    return min(1.0, math.sqrt(LIGHT / max(1.0, effort)))


def posterior(process: GaussianProcess, parameters: Matrix, evidence: Evidence, pending: Rows) -> Posterior:
    """What is believed after `evidence`, and of `pending` rows that they give what is expected of them."""
    found = process.posterior(parameters, evidence.rows, evidence.targets)
    if not len(pending):
        return found
    more = evidence.and_(pending, found.expected(pending))
    return process.posterior(parameters, more.rows, more.targets)
