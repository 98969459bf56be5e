"""Regularized evolution as a plain loop, written from Real et al. (2019), apart from the strategy `evolution`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from random import Random

from rivals.problem import Problem
from search_spaces.decision import Value
from search_spaces.decisions import Candidate

PACKAGE = ""
POPULATION, SAMPLE = 10, 5


def search(problem: Problem, trials: int, seed: int) -> Sequence[Candidate]:
    """Population 10: the best of 5 drawn members has a child with one choice changed, and the oldest member dies."""
    generator = Random(seed)
    choices = problem.choices
    alive: deque[tuple[float, dict[str, Value]]] = deque(maxlen=POPULATION)
    tried: list[Candidate] = []
    while len(tried) < trials:
        if len(tried) < POPULATION:
            child = {name: generator.choice(choice.options) for name, choice in choices.items()}
        else:
            _, parent = max(generator.sample(list(alive), SAMPLE), key=lambda member: member[0])
            child = dict(parent)
            name = generator.choice([name for name, choice in choices.items() if len(choice.options) > 1])
            child[name] = generator.choice([one for one in choices[name].options if one != parent[name]])
        candidate = problem.decisions.candidate(child)
        value = problem.value(candidate)
        fitness = -math.inf if value is None else -value if problem.minimize else value
        tried.append(candidate)
        alive.append((fitness, child))
    return tried
