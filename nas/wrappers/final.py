"""Finale, Final: train the best of a search again, choose one on validation, and let it alone see the test set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import final

from nas.ranking import gains, ranked
from nas.strategy import Draw, Strategy
from nas.wrapper import Wrapper
from nas.wrappers.rescore import last_round
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

SEED_OFFSET = 2  # the search trains with the job's seed, its random baseline with the next one


@final
@dataclass(frozen=True, slots=True)
class Finale:
    """Train the `top` best candidates `seeds` times each for `epochs`, from scratch; then one test.

    With `top` 0 nothing is trained again, and the best trial of the search is tested. `tested` is False where the
    task has no test set.
    """

    top: int = 1
    seeds: int = 1
    epochs: int = 1
    tested: bool = True


@final
class Final(Wrapper):
    """The search in `inner` first; when that is exhausted and all told, the retraining; at last one test trial.

    Among several objectives the first K of the Pareto front are trained again. The test set is read once for one
    winner: a search that was extended reads it again only when another candidate has won.
    """

    def __init__(self, inner: Strategy, finale: Finale) -> None:
        super().__init__(inner)
        self.finale = finale
        self._searched: dict[int, Trial] = {}
        self._finals: dict[int, Trial] = {}
        self._tests: dict[int, Trial] = {}
        self._open: set[int] = set()
        self._results: dict[int, Result] = {}
        self._failures: dict[int, Result] = {}
        self._planned: list[Trial] | None = None  # a cache, until the next result

    @property
    def searching(self) -> bool:
        """Whether the search proper goes on, or some of its trials run still."""
        return not self.inner.exhausted or any(trial in self._searched for trial in self._open)

    @property
    def exhausted(self) -> bool:
        return self.inner.exhausted and not self._open and self._next(-1) is None

    def propose(self, draw: Draw) -> Trial | None:
        if not self.inner.exhausted:
            trial = self.inner.propose(draw)
            if trial is not None or not self.inner.exhausted:
                return trial
        return None if self.searching else self._next(draw.trial)

    def asked(self, trial: Trial) -> None:
        self._open.add(trial.id)
        arm = trial.note.get("arm")
        if arm == "final":
            self._finals[trial.id] = trial
        elif arm == "test":
            self._tests[trial.id] = trial
        else:
            self._searched[trial.id] = trial
            super().asked(trial)

    def told(self, result: Result) -> None:
        self._open.discard(result.trial_id)
        self._planned = None
        self._results.pop(result.trial_id, None)  # what `inner` could not digest is told again as failed
        kept = self._results if result.outcome is Outcome.COMPLETED else self._failures
        kept[result.trial_id] = result
        if result.trial_id in self._searched:
            super().told(result)

    @property
    def failure(self) -> str:
        """What of the end did not succeed, in words; empty while all is well."""
        if self._finals and not any(trial in self._results for trial in self._finals):
            return f"none of {len(self._finals)} retrainings completed{self._error(self._finals)}"
        if self._tests and not any(trial in self._results for trial in self._tests):
            return f"the winner could not be tested{self._error(self._tests)}"
        return ""

    def _error(self, trials: Mapping[int, Trial]) -> str:
        errors = [self._failures[trial].error for trial in trials if trial in self._failures]
        return f"; the last error: {errors[-1]}" if errors and errors[-1] else ""

    def extend(self, body: Mapping[str, Json]) -> None:
        if "final" in body:
            from nas.jobfile.parts import Retraining

            now = Retraining.model_validate({"top": self.finale.top, "seeds": self.finale.seeds, **body["final"]})
            self.finale = replace(self.finale, top=now.top, seeds=now.seeds, epochs=now.epochs or self.finale.epochs)
            self._planned = None
        super().extend(body)

    def winner(self) -> Trial | None:
        """The trial whose network is handed over, once every retraining has ended; None while there is none."""
        if self.finale.top == 0:
            return next(iter(self._best()), None)
        groups: dict[int, list[Trial]] = {}
        for trial in self._retrained():
            if trial.id in self._results:
                groups.setdefault(trial.note["of"], []).append(trial)
        means = {of: self._mean(trials) for of, trials in groups.items()}
        if not means:
            return None
        best = max(means, key=lambda of: means[of])
        return max(groups[best], key=lambda trial: self._gain(trial))

    def _next(self, trial_id: int) -> Trial | None:
        """What is left to do after the search, as a trial with this id."""
        done = {_training(trial) for trial in self._finals.values()}
        for planned in self._plan():
            if _training(planned) not in done:
                return replace(planned, id=trial_id)
        if self._open or not self.finale.tested:
            return None
        winner = self.winner()
        last = next(reversed(self._tests.values()), None)
        if winner is None or (last is not None and last.parent == winner.id):
            return None
        note = {"arm": "test", "of": winner.note.get("of", winner.id)}
        if self._tests:
            note["reading"] = len(self._tests) + 1
        return replace(winner, id=trial_id, epochs=0, parent=winner.id, split="test", note=note)

    def _plan(self) -> list[Trial]:
        """Every retraining that the search so far calls for."""
        if self._planned is None:
            self._planned = list(self._retrainings())
        return self._planned

    def _retrainings(self) -> Iterator[Trial]:
        finale = self.finale
        if finale.top == 0:
            return
        for rank, chosen in enumerate(self._best(finale.top), start=1):
            for repeat in range(finale.seeds):
                note = {"arm": "final", "of": chosen.note.get("of", chosen.id), "rank": rank, "repeat": repeat + 1}
                seed = self.setting.seed + SEED_OFFSET + repeat
                yield Trial(-1, chosen.candidate, finale.epochs, finale.epochs, note=note, seed=seed)

    def _best(self, count: int = 1) -> list[Trial]:
        """The best of the trials that were trained for longest, isomorphic candidates counted once.

        These are the full ones; where a search ended before its first, the highest rung; with shared weights those that
        were scored again at the end.
        """
        completed = [trial for trial in self._searched.values() if trial.id in self._results]
        longest = last_round(completed) or [trial for trial in completed if not trial.look]
        most = max((trial.epochs for trial in longest), default=0)
        longest = [trial for trial in longest if trial.epochs == most]
        best: dict[object, Trial] = {}
        for trial in ranked(longest, lambda t: self._results[t.id].metrics, self.setting.objectives):
            best.setdefault(self.setting.canonical(trial.candidate), trial)
            if len(best) == count:
                break
        return list(best.values())

    def _retrained(self) -> list[Trial]:
        planned = {_training(trial) for trial in self._plan()}
        return [trial for trial in self._finals.values() if _training(trial) in planned]

    def _gain(self, trial: Trial) -> float:
        found = gains(self._results[trial.id].metrics, self.setting.objectives[:1])
        return found[0] if found else float("-inf")

    def _mean(self, trials: list[Trial]) -> float:
        return fmean(self._gain(trial) for trial in trials)


def _training(trial: Trial) -> tuple[object, ...]:
    return (trial.candidate, trial.epochs, trial.seed)
