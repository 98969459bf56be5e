"""Regularized evolution against closed forms, and against a plain loop written beside it."""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise
from random import Random
from statistics import fmean, stdev

import pytest
from progressive import ACCURACY, completed, simulate, trials_of
from scipy.stats import chisquare

from nas.strategies.evolution import PATIENCE, Evolution
from nas.strategy import Draw, Setting, Strategy
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

LENGTH, LETTERS = 10, "abcd"
DECISIONS = Decisions({f"d{i}": Choice(tuple(LETTERS)) for i in range(LENGTH)})
LOSS = Objective("loss", Direction.MINIMIZE)


def evolution(population: int = 4, sample: int = 2, *objectives: Objective) -> Evolution:
    return Evolution(Setting(DECISIONS, objectives or (ACCURACY,), seed=3), population, sample)


def word(text: str) -> Candidate:
    return Candidate({f"d{i}": letter for i, letter in enumerate(text)})


WORDS = [word(text) for text in ("aaaaabbbbb", "bbbbbccccc", "cccccddddd", "dddddaaaaa", "abcdabcdab", "dcbadcbadc")]


def hear(strategy: Strategy, trial: int, candidate: Candidate, **metrics: float) -> None:
    strategy.hear(Trial(trial, candidate))
    strategy.tell(Result(trial, 1, Outcome.COMPLETED, metrics))


def parents(strategy: Strategy, draws: int = 2000) -> Counter[int]:
    """Which of the words the next children descend from: they differ from it in one letter."""
    found: Counter[int] = Counter()
    for trial in range(1000, 1000 + draws):
        child = strategy.propose(Draw(0, trial))
        assert child is not None
        near = [i for i, one in enumerate(WORDS) if sum(one[n] != child.candidate[n] for n in one) == 1]
        assert len(near) == 1, "a child has one letter changed"
        found[near[0]] += 1
    return found


def test_the_best_of_a_tournament_is_the_parent() -> None:
    strategy = evolution(population=4, sample=3)
    for i, gain in enumerate((0.3, 0.9, 0.1, 0.5)):
        hear(strategy, i, WORDS[i], accuracy=gain)
    found, ranks = parents(strategy), (3, 1, 4, 2)
    expected = [2000 * ((5 - rank) ** 3 - (4 - rank) ** 3) / 4**3 for rank in ranks]
    assert chisquare([found[i] for i in range(4)], expected).pvalue > 1e-3


def test_the_oldest_dies_however_good_it_was() -> None:
    strategy = evolution(population=4, sample=4)
    for i, gain in enumerate((0.99, 0.98, 0.1, 0.2, 0.3, 0.4)):
        hear(strategy, i, WORDS[i], accuracy=gain)
    assert set(parents(strategy)) == {2, 3, 4, 5}


def test_age_counts_from_the_end_of_training() -> None:
    strategy = evolution(population=4, sample=4)
    for i in range(6):
        strategy.hear(Trial(i, WORDS[i]))
    for i in (4, 5, 0, 1, 2, 3):
        strategy.tell(Result(i, 1, Outcome.COMPLETED, {"accuracy": 0.5}))
    assert set(parents(strategy)) == {0, 1, 2, 3}


def test_every_letter_is_as_likely_to_change() -> None:
    strategy = evolution(population=1, sample=1)
    hear(strategy, 0, WORDS[0], accuracy=1.0)
    changes: Counter[tuple[str, object]] = Counter()
    for trial in range(1, 6001):
        child = strategy.propose(Draw(0, trial)).candidate
        changes.update((name, child[name]) for name in child if child[name] != WORDS[0][name])
    assert len(changes) == LENGTH * (len(LETTERS) - 1)
    assert chisquare(list(changes.values())).pvalue > 1e-3


def test_begins_at_random_and_never_waits() -> None:
    strategy = evolution(population=4, sample=2)
    drawn = [strategy.ask() for _ in range(9)]
    candidates = [trial.candidate for trial in drawn if trial]
    assert len(set(candidates)) == 9, "100 slots are no reason to wait for the first result"
    assert all(sum(a[n] != b[n] for n in a) > 2 for a, b in pairwise(candidates))
    told = candidates[:2]
    nearest = []
    for i in range(2):
        strategy.tell(Result(i, 1, Outcome.COMPLETED, {"accuracy": 0.5}))
        trial = strategy.ask()
        assert trial is not None
        nearest.append(min(sum(trial.candidate[n] != known[n] for n in known) for known in told))
    assert nearest[0] > 1, "a tournament of two needs two"
    assert nearest[1] == 1


def test_what_failed_loses_and_what_is_infeasible_has_no_children() -> None:
    strategy = evolution(population=4, sample=2)
    for i, gain in enumerate((-5.0, -7.0)):
        hear(strategy, i, WORDS[i], accuracy=gain)
    for i, outcome in ((2, Outcome.FAILED), (3, Outcome.INFEASIBLE)):
        strategy.hear(Trial(i, WORDS[i]))
        strategy.tell(Result(i, 1, outcome))
    found = parents(strategy)
    assert set(found) == {0, 1, 2}
    assert chisquare([found[i] for i in range(3)], [2000 * part / 9 for part in (5, 3, 1)]).pvalue > 1e-3


def test_the_last_metrics_of_a_trial_over_its_time_count() -> None:
    strategy = evolution(population=1, sample=1)
    hear(strategy, 0, WORDS[0], accuracy=0.1)
    strategy.hear(Trial(1, WORDS[1]))
    strategy.tell(Result(1, 1, Outcome.FAILED, {"accuracy": 0.5}))
    assert set(parents(strategy, 20)) == {1}


def test_several_objectives_by_front_then_by_solitude() -> None:
    strategy = evolution(5, 5, ACCURACY, LOSS)
    values = [(0.9, 0.9), (0.1, 0.1), (0.5, 0.5), (0.55, 0.6), (0.05, 0.2)]
    for i, (accuracy, loss) in enumerate(values):
        hear(strategy, i, WORDS[i], accuracy=accuracy, loss=loss)
    # Both ends come first, then 2 (its neighbours 1 and 3 are further apart), then 3; 4 is beaten by 1.
    found = parents(strategy)
    expected = [2000 * ((5 - rank) ** 5 - (4 - rank) ** 5) / 5**5 for rank in range(5)]
    observed = [found[i] for i in range(3)]
    assert chisquare([*observed, 2000 - sum(observed)], [*expected[:3], sum(expected[3:])]).pvalue > 1e-3
    assert observed[2] > found[3] > found[4]


def test_is_the_same_upside_down() -> None:
    up, down = evolution(), evolution(4, 2, LOSS)
    rise = simulate(up, lambda trial: completed(trial, Random(trial.id).random()), slots=3, trials=60)
    fall = simulate(
        down,
        lambda trial: Result(trial.id, 1, Outcome.COMPLETED, {"loss": -Random(trial.id).random()}),
        slots=3,
        trials=60,
    )
    assert trials_of(rise) == trials_of(fall)


def test_leaves_a_neighbourhood_where_everything_is_known() -> None:
    decisions = Decisions({name: Choice((0, 1, 2, 3)) for name in "abcd"})
    strategy = Deduplicate(Evolution(Setting(decisions, (ACCURACY,)), population=2, sample=2))
    trials = trials_of(simulate(strategy, lambda trial: completed(trial, -trial.id), trials=400))
    assert len({trial.candidate for trial in trials}) == len(trials) == 256


def test_does_as_well_as_a_plain_loop() -> None:
    """On a rugged landscape of 4**10 words: twice 200 searches of 80 trials; wide enough for one seed in 10,000."""

    def value(candidate: Candidate) -> float:
        letters = "".join(map(str, candidate.values()))
        return sum(Random(letters[i : i + 3]).random() for i in range(LENGTH - 2)) / LENGTH

    def plain(seed: int) -> float:
        generator = Random(f"plain/{seed}")
        population: deque[tuple[float, list[str]]] = deque()
        best = 0.0
        for number in range(80):
            if number < 10:
                letters = [generator.choice(LETTERS) for _ in range(LENGTH)]
            else:
                letters = list(max(generator.choices(list(population), k=5))[1])
                place = generator.randrange(LENGTH)
                letters[place] = generator.choice([one for one in LETTERS if one != letters[place]])
            score = value(word("".join(letters)))
            best = max(best, score)
            population.append((score, letters))
            if len(population) > 10:
                population.popleft()
        return best

    def ours(seed: int) -> float:
        strategy = Evolution(Setting(DECISIONS, (ACCURACY,), seed=seed))
        found: list[float] = []
        for _ in range(80):
            trial = strategy.ask()
            assert trial is not None
            found.append(value(trial.candidate))
            strategy.tell(completed(trial, found[-1]))
        return max(found)

    runs = [[search(seed) for seed in range(200)] for search in (plain, ours)]
    error = sum(stdev(run) ** 2 / len(run) for run in runs) ** 0.5
    assert abs(fmean(runs[0]) - fmean(runs[1])) < 4 * error


@pytest.mark.parametrize(
    ("population", "sample", "message"),
    [(0, 1, "population is 0"), (4, 0, "sample is 0"), (4, 5, "sample is 5, but cannot be larger than the population")],
)
def test_refuses_what_cannot_be(population: int, sample: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evolution(population, sample)


def test_a_child_refused_for_every_decision_is_drawn_anywhere() -> None:
    """Of two options an odd number of mutations always gives the other one."""
    strategy = Evolution(Setting(Decisions({"d": Choice(("a", "b"))}), (ACCURACY,)), population=1, sample=1)
    hear(strategy, 0, Candidate({"d": "a"}), accuracy=0.5)
    for refused, found in ((0, {"b"}), (2 * PATIENCE, {"a", "b"})):
        assert {strategy.propose(Draw(0, trial, refused)).candidate["d"] for trial in range(50)} == found
