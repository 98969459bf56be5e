"""Local search: every step is uphill, every top is proven, nothing waits and nothing is trained twice."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from progressive import ACCURACY, completed, simulate, trials_of

from nas.strategies.local_search import LocalSearch
from nas.strategy import Draw, Setting, Strategy
from nas.wrappers.constrain import Constrain
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Result, Trial

WORDS = Decisions({f"d{i}": Choice(("a", "b", "c")) for i in range(5)})
MIXED = Decisions(
    {
        "kind": Choice(("x", "y")),
        "size": Choice((8, 16, 32, 64), ordered=True),
        "rate": Range(0.0, 1.0, count=5),
        "layers": Range(1, 9, integer=True, when=When.equals("kind", "y")),
    }
)


def search(decisions: Decisions = WORDS, seed: int = 0, **options: Any) -> LocalSearch:
    return LocalSearch(Setting(decisions, (ACCURACY,), seed=seed), **{"starts": 1, **options})


def rugged(candidate: Candidate, salt: int = 0) -> float:
    """A landscape with many tops: every pair of letters beside each other has a value of its own."""
    letters = "".join(map(str, candidate.values()))
    return sum(Random(f"{salt}/{i}/{letters[i : i + 2]}").random() for i in range(len(letters) - 1))


def scored(value: Callable[[Candidate], float]) -> Callable[[Trial], Result]:
    return lambda trial: completed(trial, value(trial.candidate))


def around(candidate: Candidate) -> set[Candidate]:
    """All words that differ in one letter."""
    return {Candidate({**candidate, name: letter}) for name in candidate for letter in "abc"} - {candidate}


@pytest.mark.parametrize("step", ["first", "best"])
@pytest.mark.parametrize("salt", range(5))
def test_alone_it_climbs_step_by_step_and_proves_every_top(step: str, salt: int) -> None:
    trials = trials_of(simulate(search(step=step), scored(lambda c: rugged(c, salt)), trials=150))
    tried: dict[Candidate, float] = {}
    members: dict[int, list[Candidate]] = {}
    below: dict[int, Candidate] = {}
    for trial in trials:
        climb = trial.note.get("climb", trial.id)
        if climb == trial.id:  # another begins, so the one before has come to a top
            last = max(members, default=climb)
            ended = below.get(last, trials[last].candidate)
            for candidate in () if last == climb else (ended,) if step == "best" else members[last]:
                assert around(top(candidate, tried)) <= set(tried)
        else:
            centre = trials[trial.note["of"]].candidate
            before = below.get(climb, trials[climb].candidate)
            assert trial.candidate in around(centre)
            assert trial.candidate not in tried
            assert tried[centre] >= tried[before], "a climb goes up"
            if step == "first":
                assert tried[centre] >= max(tried[one] for one in members[climb])
            elif centre != before:
                assert around(before) <= set(tried), "the best step is known when all are"
            below[climb] = centre
        members.setdefault(climb, []).append(trial.candidate)
        tried.setdefault(trial.candidate, rugged(trial.candidate, salt))
    assert len(members) > 3


def top(candidate: Candidate, tried: dict[Candidate, float]) -> Candidate:
    """Where the steepest way up from `candidate` ends, over what has been tried."""
    best = max((one for one in around(candidate) if one in tried), key=tried.__getitem__, default=candidate)
    return candidate if tried[best] <= tried[candidate] else top(best, tried)


def test_the_best_of_the_starts_is_climbed_from_first() -> None:
    trials = trials_of(simulate(search(starts=8), scored(rugged), trials=9))
    assert all("of" not in trial.note for trial in trials[:8])
    assert trials[8].note["of"] == max(trials[:8], key=lambda trial: rugged(trial.candidate)).id


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    slots=st.integers(1, 6),
    cut=st.integers(0, 120),
    step=st.sampled_from(["first", "best"]),
    mixed=st.booleans(),
)
def test_is_restored_anywhere(seed: int, slots: int, cut: int, step: str, mixed: bool) -> None:
    """Over the tops of many climbs, with failures, and refused neighbours."""

    def make() -> Strategy:
        inner = search(MIXED if mixed else WORDS, seed, step=step, starts=2)
        return Deduplicate(Constrain(inner, {"parameters": 2}, lambda c: {"parameters": hash_of(c) % 4}))

    def hash_of(candidate: Candidate) -> int:
        return Random(str(sorted(candidate.items()))).randrange(100)

    def answer(trial: Trial) -> Result:
        outcome = (Outcome.FAILED, Outcome.INFEASIBLE)[trial.id % 2] if hash_of(trial.candidate) % 9 == 0 else None
        metrics = {} if outcome else {"accuracy": rugged(trial.candidate, seed)}
        return Result(trial.id, 1, outcome or Outcome.COMPLETED, metrics)

    events = simulate(make(), answer, slots, trials=100, shuffle=seed)
    restored = make()
    for event in events[:cut]:
        if isinstance(event, Trial):
            restored.hear(event)
        elif event is not None:
            restored.tell(event)
    for event in events[cut:]:
        if isinstance(event, Result):
            restored.tell(event)
        elif event is not None:
            assert restored.ask() == event


def test_no_slot_waits() -> None:
    events = simulate(search(starts=3), scored(rugged), slots=40, trials=200)
    assert None not in events
    neighbours = [trial for trial in trials_of(events) if "of" in trial.note]
    assert len({trial.candidate for trial in neighbours}) == len(neighbours)


def test_finds_everything_through_the_wrapper_that_drops_duplicates() -> None:
    strategy = Deduplicate(search())
    trials = trials_of(simulate(strategy, scored(rugged), slots=3))
    assert len({trial.candidate for trial in trials}) == len(trials) == 3**5


def test_numbers_move_by_steps_and_what_a_change_switches_on_is_drawn() -> None:
    peak = Candidate({"kind": "y", "size": 32, "rate": 0.75, "layers": 6})

    def near(candidate: Candidate) -> float:
        layers = abs(int(candidate["layers"]) - 6) / 9 if "layers" in candidate else 5
        return -abs(float(candidate["rate"]) - 0.75) - abs(int(candidate["size"]) - 32) / 64 - layers

    trials = trials_of(simulate(search(MIXED), scored(near), trials=80))
    for trial in trials:
        assert MIXED.candidate(trial.candidate) == trial.candidate
    best = max(trials, key=lambda trial: near(trial.candidate))
    assert near(best.candidate) > near(peak) - 0.05


def test_a_candidate_of_the_users_is_a_start() -> None:
    strategy = search(starts=1)
    top = max(map(Candidate, ({**word} for word in words())), key=rugged)
    strategy.hear(Trial(0, top, note={"arm": "enqueued"}))
    strategy.tell(completed(Trial(0, top), rugged(top)))
    trials = trials_of(simulate(strategy, scored(rugged), trials=10))
    assert {trial.note["of"] for trial in trials} == {0}
    assert {trial.candidate for trial in trials} == around(top)


def test_each_climb_is_looked_at_once_though_a_thousand_proposals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = search(starts=3)
    simulate(strategy, scored(rugged), trials=5)
    looked: list[int] = []
    view = LocalSearch._view

    def counted(self: LocalSearch, climb: int) -> object:
        looked.append(climb)
        return view(self, climb)

    monkeypatch.setattr(LocalSearch, "_view", counted)
    for proposal in range(1000):
        strategy.propose(Draw(0, strategy.next_id, proposal))
    assert len(looked) == len(set(looked)) > 1


def words() -> list[Candidate]:
    generator = Random(1)
    return [WORDS.sample(generator) for _ in range(3000)]


def test_a_climb_whose_neighbours_are_all_refused_is_given_up() -> None:
    """What is refused is offered again only until something else is asked."""
    starts = 3
    strategy = Constrain(search(starts=starts), {"parameters": 0}, lambda c: {"parameters": c["d0"] == "a"})
    trials = trials_of(simulate(strategy, scored(lambda c: rugged(c) + 10 * (c["d1"] == "a")), trials=120))
    assert all(trial.candidate["d0"] != "a" for trial in trials)
    over = [climb for trial in trials for climb in trial.note.get("over", [])]
    assert len(over) == len(set(over)) > 2
    begun = [trial.id for trial in trials if "of" not in trial.note]
    assert set(over) <= set(begun)


def test_what_failed_is_neither_climbed_from_nor_to() -> None:
    strategy = search()
    trials = trials_of(simulate(strategy, lambda t: Result(t.id, 1, Outcome.FAILED), slots=2, trials=30))
    assert all("of" not in trial.note for trial in trials)


def test_does_as_well_as_a_plain_loop() -> None:
    """First-improvement climbs with random restarts on 60 landscapes; wide enough for one seed in 10,000."""

    def plain(salt: int) -> float:
        generator, seen = Random(f"plain/{salt}"), dict[Candidate, float]()

        def look(candidate: Candidate) -> float:
            return seen.setdefault(candidate, rugged(candidate, salt))

        while len(seen) < 60:
            centre = WORDS.sample(generator)
            look(centre)
            moved = True
            while moved and len(seen) < 60:
                ring = sorted(around(centre), key=lambda one: str(one.json()))
                generator.shuffle(ring)
                moved = False
                for one in ring:
                    if len(seen) < 60 and look(one) > look(centre):
                        centre, moved = one, True
                        break
        return max(seen.values())

    def ours(salt: int) -> float:
        trials = trials_of(simulate(Deduplicate(search(seed=salt)), scored(lambda c: rugged(c, salt)), trials=60))
        return max(rugged(trial.candidate, salt) for trial in trials)

    differences = [ours(salt) - plain(salt) for salt in range(60)]
    assert abs(fmean(differences)) < 4 * stdev(differences) / len(differences) ** 0.5


@pytest.mark.parametrize(
    ("options", "message"), [({"starts": 0}, "starts is 0"), ({"step": "second"}, "knows first and best")]
)
def test_refuses_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        search(**options)
