"""Searches that never ran: journals with the entries that a search with known scores would have written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from random import Random
from typing import final

from nas.history import Entry, History
from nas.log import Header
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

JOB: Mapping[str, Json] = {
    "name": "cells",
    "task": {"name": "image_classification", "dataset": "digits", "epochs": 3},
    "space": {"name": "pnas", "blocks": 3, "operations": ["separable_3x3", "max_pool_3x3", "identity", "dilated_3x3"]},
    "strategy": {"name": "pnas"},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    "budget": {"trials": 100},
    "pool": "local",
    "baseline": 0.2,
    "seed": 7,
}
OPERATIONS = ("separable_3x3", "max_pool_3x3", "identity", "dilated_3x3")


@final
@dataclass
class Invented:
    """A search of `trials` trials, a fifth of them random, of which one in `failing` fails."""

    trials: int = 60
    baseline: bool = True
    failing: int = 15
    tested: bool = True
    seed: int = 3

    def header(self, job: Mapping[str, Json] = JOB) -> Header:
        return Header("cells-7", 1.79e9, job, {"cellwright": "0.1.0", "torch": "2.13.0"}, 1, "finished")

    def history(self) -> History:
        return History.of(self.entries())

    def entries(self) -> Iterator[Entry]:
        random, now = Random(self.seed), 1.79e9
        yield Entry(1, now, "driver", None, {"epoch": 1, "host": "here", "pid": 1, "versions": {}})
        best, found = -1, 0.0
        for number in range(self.trials):
            arm = "baseline" if self.baseline and number % 5 == 4 else "strategy"
            level = 1 + 3 * number // self.trials
            trial = Trial(number, self._candidate(random, level), 3, 3, note=self._note(arm, level, random))
            score = 0.96 - 0.25 * random.random() ** 2 * exp(-(0 if arm == "baseline" else number / self.trials))
            now += 1 + random.random() * 3
            if self.failing and number % self.failing == self.failing - 1:
                result = Result(
                    number, 1, Outcome.FAILED, {}, 1, 1.5, 1.4, error=f"DivergedError: loss became nan at {number}"
                )
            else:
                size = float(int(2000 + 40000 * random.random() ** 2))
                metrics = {"accuracy": score, "loss": 1 - score, "parameters": size, "multiply_adds": size * 60}
                result = Result(
                    number,
                    1,
                    Outcome.COMPLETED,
                    metrics,
                    3,
                    3.1,
                    3.0,
                    checkpoint="checkpoint.safetensors",
                    device="CPU (of a test)",
                )
                if score > found:
                    best, found = number, score
            yield from self._run(trial, result, now)
        if self.tested:
            yield from self._finale(best, now)
        yield Entry(10**6, now + 20, "state", None, {"state": "finished", "reason": "the budget is spent"})

    def _note(self, arm: str, level: int, random: Random) -> dict[str, Json]:
        if arm == "baseline":
            return {"arm": "baseline"}
        return {"level": level, **({"predicted": 0.8 + 0.1 * random.random(), "fitted": 0.6} if level > 1 else {})}

    def _candidate(self, random: Random, blocks: int) -> Candidate:
        values: dict[str, str | int | float | bool] = {"blocks": blocks}
        for block in range(1, blocks + 1):
            for side in (1, 2):
                values[f"block{block}_input{side}"] = random.randrange(block + 1)
                values[f"block{block}_operation{side}"] = random.choice(OPERATIONS)
        return Candidate(values)

    def _run(self, trial: Trial, result: Result, now: float) -> Iterator[Entry]:
        yield Entry(1, now - 3.2, "ask", trial.id, trial.json())
        yield Entry(1, now - 3.1, "attempt", trial.id, {"number": 1})
        yield Entry(1, now, "tell", trial.id, result.json())

    def _finale(self, best: int, now: float) -> Iterator[Entry]:
        candidate = self._candidate(Random(9), 3)
        final = Trial(self.trials, candidate, 10, 10, note={"arm": "final", "of": best, "rank": 1, "repeat": 1}, seed=9)
        metrics = {"accuracy": 0.975, "loss": 0.1, "parameters": 30000.0, "multiply_adds": 1.8e6}
        kept = Result(final.id, 1, Outcome.COMPLETED, metrics, 10, 11.0, 10.5, checkpoint="checkpoint.safetensors")
        yield from self._run(final, kept, now + 12)
        test = Trial(final.id + 1, candidate, 0, 10, parent=final.id, note={"arm": "test"}, seed=9, split="test")
        scores = {"test_accuracy": 0.9611, "test_loss": 0.2, "test_correct": 346.0, "test_total": 360.0}
        yield from self._run(test, Result(test.id, 1, Outcome.COMPLETED, scores, 0, 0.3, 0.2), now + 13)
