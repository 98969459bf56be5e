"""A small progressive space with known scores, and a search without machines."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from nas.strategy import Setting, Strategy
from search_spaces.decision import Choice, Decision, Range, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
Score: TypeAlias = Callable[[Candidate], float]
Event: TypeAlias = Trial | Result | None


@dataclass(frozen=True)
class Chain(Space):
    """A sequence of letters whose order makes no difference, one letter longer at each level."""

    length: int = 3
    letters: str = "abcd"

    @property
    def decisions(self) -> Decisions:
        table: dict[str, Decision] = {"length": Choice(tuple(range(1, self.length + 1)))}
        for step in range(1, self.length + 1):
            table[f"step{step}"] = Choice(tuple(self.letters), When.at_least("length", step) if step > 1 else None)
        return Decisions(table)

    @property
    def progressive(self) -> bool:
        return True

    def smallest(self) -> Iterator[Candidate]:
        for letter in self.letters:
            yield Candidate({"length": 1, "step1": letter})

    def grow(self, candidate: Candidate) -> Iterator[Candidate]:
        longer = int(candidate["length"]) + 1
        for letter in self.letters if longer <= self.length else "":
            yield Candidate({**candidate, "length": longer, f"step{longer}": letter})

    def canonical(self, candidate: Candidate) -> Hashable:
        return tuple(sorted(letters(candidate)))

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        raise NotImplementedError

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        raise NotImplementedError


RATES = Decisions({"rate": Range(0.001, 0.1, log=True)})


def letters(candidate: Candidate) -> str:
    """The letters of a chain, in order."""
    return "".join(str(candidate[f"step{i + 1}"]) for i in range(int(candidate["length"])))


def letter_score(candidate: Candidate) -> float:
    """Later letters are better: 0 to 1."""
    found = letters(candidate)
    return sum("abcdefgh".index(letter) for letter in found) / (7 * len(found))


def setting(space: Space, further: Decisions | None = None, seed: int = 0) -> Setting:
    """A search of `space` for accuracy."""
    return Setting(space.decisions | (further or Decisions()), (ACCURACY,), space=space, seed=seed)


def completed(trial: Trial, score: float) -> Result:
    """A result with this accuracy."""
    return Result(trial.id, 1, Outcome.COMPLETED, {"accuracy": score})


def simulate(
    strategy: Strategy,
    answer: Callable[[Trial], Result],
    slots: int = 1,
    trials: int = 10_000,
    shuffle: int = 0,
) -> list[Event]:
    """Everything asked (None too) and told, with `slots` at once that finish in an order drawn from `shuffle`."""
    events: list[Event] = []
    running: list[Trial] = []
    generator = Random(shuffle)
    asked = 0
    while True:
        while len(running) < slots and asked < trials:
            trial = strategy.ask()
            events.append(trial)
            if trial is None:
                break
            running.append(trial)
            asked += 1
        if not running:
            return events
        result = answer(running.pop(generator.randrange(len(running))))
        strategy.tell(result)
        events.append(result)


def trials_of(events: list[Event]) -> list[Trial]:
    """What was asked."""
    return [event for event in events if isinstance(event, Trial)]
