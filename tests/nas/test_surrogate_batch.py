"""What surrogate tries at once: different candidates, each chosen as if those before it had been told."""

from __future__ import annotations

import numpy as np
import pytest
from test_surrogate_search import MIXED, ended, loss, setting

from nas.strategies.random import RandomSearch
from nas.strategies.surrogate import AT_ONCE, SurrogateSearch
from nas.strategy import Strategy
from nas.surrogates.advisor import PENDING, Advisor, Told
from nas.surrogates.batch import Outlook, chosen
from nas.surrogates.codes import Codes
from nas.surrogates.gaussian_process import GaussianProcess
from nas.surrogates.kernel import Kernel
from workers.trial import Trial


def in_batches(strategy: Strategy, size: int, rounds: int) -> list[list[Trial]]:
    found = []
    for _ in range(rounds):
        strategy.expect(size)
        asked = [trial for _ in range(size) if (trial := strategy.ask()) is not None]
        for trial in asked:
            strategy.tell(ended(trial, loss(trial.candidate)))
        found.append(asked)
    return found


def outlook(count: int, most: int = 8) -> Outlook:
    codes = Codes(MIXED)
    generator = np.random.default_rng(3)
    process = GaussianProcess(Kernel(codes))
    seen, rows = codes.sample(12, generator), codes.sample(count, generator)
    return Outlook(process.posterior(process.start, seen, generator.standard_normal(12)), rows, most)


def test_what_is_foreseen_is_doubted_as_if_it_had_been_seen() -> None:
    codes, process = Codes(MIXED), GaussianProcess(Kernel(Codes(MIXED)))
    generator = np.random.default_rng(3)
    seen, rows, targets = codes.sample(12, generator), codes.sample(9, generator), generator.standard_normal(12)
    before = process.posterior(process.start, seen, targets)
    ours = Outlook(before, rows, 2)
    ours.foresee(4)
    ours.foresee(7)
    more = np.concatenate([targets, before.expected(rows[[4, 7]])])
    after = process.posterior(process.start, np.concatenate([seen, rows[[4, 7]]]), more)
    theirs = after.predict(rows)[1] / np.sqrt(after.variance)
    assert ours.deviation / np.sqrt(before.variance) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("doubt", [0.0, -1e300, -np.inf])
def test_a_batch_has_every_row_once(doubt: float) -> None:
    picked = chosen(outlook(20, 30), 0.0, np.full(20, doubt), 30, np.random.default_rng(0))
    assert sorted(picked.tolist()) == list(range(20))


def test_what_is_hardly_feasible_comes_last() -> None:
    doubt = np.where(np.arange(20) % 2, 0.0, -1e3)
    picked = chosen(outlook(20, 20), 0.0, doubt, 20, np.random.default_rng(0))
    assert {place % 2 for place in picked[:10].tolist()} == {1}


@pytest.mark.parametrize("size", [2, 30, AT_ONCE + 10])
def test_all_candidates_of_a_batch_are_different(size: int) -> None:
    found = in_batches(SurrogateSearch(setting()), size, max(2, 20 // size))
    candidates = [trial.candidate for asked in found for trial in asked]
    assert len(set(candidates)) == len(candidates)


def test_batches_find_what_chance_does_not() -> None:
    for seed in range(3):
        ours = in_batches(SurrogateSearch(setting(seed=seed)), 20, 4)
        chance = in_batches(RandomSearch(setting(seed=seed)), 800, 1)
        best, luck = (min(loss(trial.candidate) for asked in one for trial in asked) for one in (ours, chance))
        assert best < luck


def test_thousands_may_run() -> None:
    """Of so many only some count as seen: the newest, and of these the most promising."""
    codes, generator = Codes(MIXED), np.random.default_rng(0)
    rows = codes.sample(3_000, generator)
    candidates = {number: codes.candidate(row.tolist()) for number, row in enumerate(rows)}
    told = Told(candidates, {number: float(number % 7) for number in range(50)}, range(50, 3_000))
    advisor = Advisor(setting(), 300)
    assert len(advisor._view(told).pending) == PENDING
    assert not {advisor.batch(told, generator, 9)[place] for place in range(9)} & set(candidates.values())
