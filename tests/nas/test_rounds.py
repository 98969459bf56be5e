"""PNAS on a space that does not grow: rounds of what the surrogate ranks highest."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import pytest
from progressive import ACCURACY, RATES, Chain, completed, simulate, trials_of

from nas.strategies.pnas import Pnas
from nas.strategy import Setting
from nas.surrogates.vocabulary import Vocabulary
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

EDGES = Decisions({f"edge{number}": Choice(("none", "skip", "pool", "conv")) for number in range(6)})
WORTH = {"none": 0.0, "skip": 1.0, "pool": 0.5, "conv": 0.7}


def worth(candidate: Candidate) -> float:
    """The order matters: the same operation is worth more on a later edge, and `skip` less than nothing on the last."""
    total = sum((place + 1) * WORTH[str(value)] for place, value in enumerate(candidate.values()))
    return (total - 12 * (candidate["edge5"] == "skip")) / 21


def number(n: int) -> Candidate:
    """Candidate `n` of the 4,096."""
    return EDGES.from_tokens([(n >> 2 * edge) & 3 for edge in range(6)])


def answer(trial: Trial) -> Result:
    return completed(trial, worth(trial.candidate))


def table(objective: Objective = ACCURACY, seed: int = 0) -> Setting:
    return Setting(EDGES, (objective,), seed=seed)


@pytest.mark.parametrize("slots", [1, 8])
def test_rounds_follow_a_random_one_and_no_slot_waits(slots: int) -> None:
    events = simulate(Pnas(table(), beam=5, first_level=12, members=2), answer, slots, trials=40)
    trials = trials_of(events)
    assert None not in events
    assert Counter(trial.note["level"] for trial in trials) == {1: 12, 2: 5, 3: 5, 4: 5, 5: 5, 6: 5, 7: 3}
    assert len({trial.candidate for trial in trials[12:]}) == 28, "none is tried twice"
    for level in range(2, 8):
        predicted = [trial.note["predicted"] for trial in trials if trial.note["level"] == level]
        assert predicted == sorted(predicted, reverse=True)


@pytest.mark.parametrize("direction", Direction)
def test_learns_what_is_good_which_way_ever_that_is(direction: Direction) -> None:
    sign = 1 if direction is Direction.MAXIMIZE else -1
    late = []
    for seed in range(2):
        strategy = Pnas(table(Objective("accuracy", direction), seed), members=2)
        trials = trials_of(simulate(strategy, answer, trials=64))
        late.append(fmean(sign * worth(trial.candidate) for trial in trials[-16:]))
    every = [sign * worth(number(n)) for n in range(4**6)]
    assert fmean(late) > fmean(every) + 0.6 * (max(every) - fmean(every))


def test_knows_which_decision_is_which() -> None:
    """Names that differ in a number are one family where a space grows, and nothing alike in any other table."""
    vocabulary = Vocabulary(EDGES, by_family=False)
    assert len(set(vocabulary.slots)) == 6
    assert len(set(vocabulary.embeddings)) == 25, "24 values and the padding"
    assert len(set(Vocabulary(EDGES).slots)) == 1


def test_reads_how_many_there_are_of_something() -> None:
    """A number that switches others on says more than they do: 1 and 2 switch on nothing here."""
    decisions = Decisions({"depth": Choice((1, 2, 3)), "skip": Choice((0, 1), When.at_least("depth", 3))})
    vocabulary = Vocabulary(decisions, by_family=False)
    sequences = {vocabulary.sequence(Candidate({"depth": depth})) for depth in (1, 2)}
    assert len(sequences) == 2
    assert Vocabulary(decisions).names == ("skip",)


def test_hyperparameters_beside_a_space_are_ranked_too() -> None:
    class Fixed(Chain):
        @property
        def progressive(self) -> bool:
            return False

    space = Fixed(3)
    decisions = space.decisions | RATES

    def by_rate(trial: Trial) -> Result:
        return completed(trial, 1.0 - float(trial.candidate["rate"]))

    strategy = Pnas(Setting(decisions, (ACCURACY,), space=space), first_level=20, members=2)
    trials = trials_of(simulate(strategy, by_rate, trials=60))
    assert fmean(float(trial.candidate["rate"]) for trial in trials[-20:]) < 0.5 * fmean(
        float(trial.candidate["rate"]) for trial in trials[:20]
    )


def test_begins_to_predict_when_there_is_something_to_learn_from() -> None:
    def late(trial: Trial) -> Result:
        return Result(trial.id, 1, Outcome.FAILED) if trial.id < 12 else answer(trial)

    trials = trials_of(simulate(Pnas(table(), beam=4, first_level=4, members=2), late, trials=32))
    predicted = ["predicted" in trial.note for trial in trials]
    assert not any(predicted[:16])
    assert all(predicted[16:])


def test_a_small_table_is_tried_to_its_end() -> None:
    decisions = Decisions({"x": Choice(tuple(range(6))), "y": Range(0, 4, integer=True)})
    strategy = Deduplicate(Pnas(Setting(decisions, (ACCURACY,)), members=2))
    trials = trials_of(simulate(strategy, lambda trial: completed(trial, float(trial.candidate["x"]))))
    assert len(trials) == len({trial.candidate for trial in trials}) == 30
    assert strategy.exhausted


def test_what_others_tried_teaches_and_is_not_tried_again() -> None:
    strategy = Pnas(table(), beam=8, first_level=1, members=2)
    known = [number(61 * n) for n in range(64)]
    for place, candidate in enumerate(known):
        trial = Trial(-1 - place, candidate, note={"arm": "earlier"})
        strategy.hear(trial)
        strategy.tell(answer(trial))
    trials = trials_of(simulate(strategy, answer, trials=17))
    assert not set(known) & {trial.candidate for trial in trials[1:]}
    assert fmean(worth(trial.candidate) for trial in trials[1:]) > fmean(map(worth, known)) + 0.2


def test_rungs_of_others_are_no_results() -> None:
    strategy, untouched = (Pnas(table(), first_level=4, beam=2, members=2) for _ in range(2))
    strategy.hear(Trial(-1, EDGES.from_tokens([1] * 6), epochs=1, horizon=9))
    strategy.tell(Result(-1, 1, Outcome.COMPLETED, {"accuracy": 99.0}))
    assert simulate(strategy, answer, trials=8) == simulate(untouched, answer, trials=8)
