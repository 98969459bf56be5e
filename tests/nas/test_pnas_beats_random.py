"""The mean of what PNAS chooses beats as many random expansions of the same beam, at every level."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean

import pytest
from progressive import completed, setting, simulate, trials_of
from scipy.stats import ttest_rel

from nas.strategies.pnas import Pnas
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from workers.trial import Result, Trial

SEEDS, BEAM, NOISE = 10, 16, 0.01
PAIRS = [("mlp", "list_mle"), ("mlp", "pairwise_hinge"), ("lstm", "l1")]  # the default, a rival, and as published
SPACE = PnasSpace(blocks=4, operations=("identity", "separable_3x3", "max_pool_3x3", "average_pool_3x3"))


class World:
    """Known accuracies of cells: operations differ, fit each other well or badly, and like some states more."""

    def __init__(self, seed: int) -> None:
        generator = Random(f"world {seed}")
        operations = SPACE.operations
        self.alone = {operation: generator.gauss(0, 1) for operation in operations}
        self.pair = {(one, two): generator.gauss(0, 0.5) for one in operations for two in operations}
        self.state = {(one, state): generator.gauss(0, 0.4) for one in operations for state in range(6)}

    def accuracy(self, cell: Candidate) -> float:
        """Between 0.6 and 0.95."""
        total, blocks = 0.0, int(cell["blocks"])
        for block in range(1, blocks + 1):
            one, two = str(cell[f"block{block}_operation1"]), str(cell[f"block{block}_operation2"])
            total += self.alone[one] + self.alone[two] + self.pair[one, two] + self.pair[two, one]
            for half, operation in ((1, one), (2, two)):
                state = int(cell[f"block{block}_input{half}"])
                total += self.state[operation, state]
                if state >= 2:  # an operation is good after some blocks, and bad after others
                    total += 0.5 * self.pair[operation, str(cell[f"block{state - 1}_operation1"])]
        logit = total / blocks**0.5 / 2.5
        return 0.6 + 0.35 / (1 + math.exp(-logit))


def means_by_level(seed: int, surrogate: str, loss: str) -> dict[int, tuple[float, float]]:
    """For each level after the first the mean true accuracy of what was chosen, and of as many random expansions."""
    world, generator = World(seed), Random(seed)
    told: dict[int, float] = {}

    def noisy(trial: Trial) -> Result:
        told[trial.id] = world.accuracy(trial.candidate) + generator.gauss(0, NOISE)
        return completed(trial, told[trial.id])

    strategy = Pnas(setting(SPACE, seed=seed), beam=BEAM, surrogate=surrogate, loss=loss)
    levels: dict[int, list[Trial]] = {}
    for trial in trials_of(simulate(strategy, noisy)):
        levels.setdefault(trial.note["level"], []).append(trial)
    means = {}
    for level in range(2, len(levels) + 1):
        beam = sorted(levels[level - 1], key=lambda trial: -told[trial.id])[:BEAM]
        every = [child for parent in beam for child in SPACE.grow(parent.candidate)]
        random = generator.sample(every, BEAM)
        means[level] = (
            fmean(world.accuracy(trial.candidate) for trial in levels[level]),
            fmean(world.accuracy(child) for child in random),
        )
    return means


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("surrogate", "loss"), PAIRS)
def test_chosen_expansions_beat_random_ones_at_every_level(surrogate: str, loss: str) -> None:
    runs = [means_by_level(seed, surrogate, loss) for seed in range(SEEDS)]
    for level in (2, 3, 4):
        chosen, random = zip(*(run[level] for run in runs), strict=True)
        assert ttest_rel(chosen, random, alternative="greater").pvalue < 0.01, f"level {level}"
