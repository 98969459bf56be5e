"""A plain random forest on one-hot features that ranks mutations of the best: what an afternoon's work gives."""

from __future__ import annotations

from collections.abc import Container, Sequence
from random import Random

from rivals.problem import Problem
from search_spaces.decisions import Candidate

PACKAGE = "scikit-learn"
START = 10  # random trials before the first forest
TREES = 100
PARENTS, CHILDREN = 5, 40  # the best so far, and the mutations of each that are ranked
STRANGERS = 100  # random candidates ranked beside them


def search(problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
    """After ten random trials, each next one is the untried candidate that the forest predicts to be best."""
    from sklearn.ensemble import RandomForestRegressor

    generator = Random(seed)
    encode = problem.decisions.encode
    tried: list[Candidate] = []
    gains: dict[Candidate, float] = {}
    while len(tried) < trials:
        best = sorted(gains, key=gains.__getitem__, reverse=True)
        pool = _pool(problem, best[:PARENTS], set(tried), generator)
        if len(tried) >= START and len(gains) > 1 and pool:
            forest = RandomForestRegressor(TREES, random_state=generator.randrange(2**32))
            forest.fit([encode(one) for one in gains], list(gains.values()))
            predicted = forest.predict([encode(one) for one in pool]).tolist()
            candidate = pool[predicted.index(max(predicted))]
        else:
            candidate = problem.decisions.sample(generator)
        tried.append(candidate)
        value = problem.value(candidate)
        if value is not None:
            gains[candidate] = -value if problem.minimize else value
    return tried


def _pool(
    problem: Problem, best: Sequence[Candidate], tried: Container[Candidate], generator: Random
) -> list[Candidate]:
    """Mutations of one or two steps of the best, and random candidates; none that was tried."""
    mutate = problem.decisions.mutate
    children = [mutate(one, generator) for one in best for _ in range(CHILDREN)]
    further = [mutate(one, generator) for one in children]
    strangers = [problem.decisions.sample(generator) for _ in range(STRANGERS)]
    return [one for one in dict.fromkeys([*children, *further, *strangers]) if one not in tried]
