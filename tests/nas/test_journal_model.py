"""Any sequence of asks, tells, losses, requests and crashes leaves a journal that a simple model agrees with."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tallying import Tally, answer, same, see_requests

from nas.history import History
from nas.home import open_log
from nas.journal import LOSSES, Journal
from workers.objectives import Outcome
from workers.trial import Attempt

BUDGET = 6
CHARGED = [Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE]


class JournalMachine(RuleBasedStateMachine):
    """What the model knows is what was committed (`told`, `attempts`, `losses`), and what this turn would add."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.log = open_log(str(self.folder))
        self.log.create("try", {}, {})
        self.running: dict[int, Attempt] = {}
        self.results: dict[int, Outcome] = {}
        self.committed: dict[int, Outcome] = {}
        self.losses: dict[int, int] = {}
        self.committed_losses: dict[int, int] = {}
        self.numbers: dict[int, int] = {}
        self.extended = 0
        self._start()

    def _start(self) -> None:
        self.strategy = Tally(BUDGET)
        self.journal = Journal(self.log, "try", self.log.acquire("try", force=True), pulse=None)
        self.journal.replay(self.strategy)

    @rule(free=st.integers(0, 3))
    def turn(self, free: int) -> None:
        attempts = self.journal.ask(self.strategy, free)
        self.committed, self.committed_losses = dict(self.results), dict(self.losses)
        assert len(attempts) <= free
        for attempt in attempts:
            trial = attempt.trial.id
            assert trial not in self.running
            assert trial not in self.results
            assert attempt.number == self.numbers.get(trial, 0) + 1
            self.numbers[trial] = attempt.number
            self.running[trial] = attempt

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from([*CHARGED, Outcome.LOST]))
    def ends(self, data: st.DataObject, outcome: Outcome) -> None:
        attempt = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        trial = attempt.trial.id
        self.journal.tell(self.strategy, answer(attempt, outcome))
        if outcome is Outcome.LOST:
            self.losses[trial] = self.losses.get(trial, 0) + 1
            if self.losses[trial] == LOSSES:
                self.results[trial] = Outcome.FAILED
        else:
            self.results[trial] = outcome

    @precondition(lambda self: self.numbers)
    @rule(data=st.data(), outcome=st.sampled_from(CHARGED))
    def ends_twice(self, data: st.DataObject, outcome: Outcome) -> None:
        trial = data.draw(st.sampled_from(sorted(self.numbers)))
        attempt = Attempt(self.journal.history.trials[trial].trial, self.numbers[trial])
        if trial not in self.running:
            self.journal.tell(self.strategy, answer(attempt, outcome))

    @rule(trials=st.integers(0, 2), seen=st.booleans())
    def extend(self, trials: int, seen: bool) -> None:
        self.log.request("try", "extend", {"trials": trials})
        self.extended += trials
        if seen:
            see_requests(self.journal, self.strategy)
            self.committed, self.committed_losses = dict(self.results), dict(self.losses)

    @rule()
    def crash(self) -> None:
        """The driver is gone, and with it what the turn had not committed; so are its workers."""
        self.journal.close()
        self.running.clear()
        self.results, self.losses = dict(self.committed), dict(self.committed_losses)
        self._start()
        assert self.strategy.budget == BUDGET + self.extended

    @invariant()
    def each_trial_has_one_result(self) -> None:
        told = [one[1] for one in self.strategy.heard if one[0] == "told"]
        assert {one[0]: one[1] for one in told if isinstance(one, tuple)} == self.results
        assert len(told) == len(self.results)
        records = self.journal.history.trials
        assert {trial: record.result.outcome for trial, record in records.items() if record.result} == self.results
        assert set(self.journal.history.running) == set(self.running)

    def teardown(self) -> None:
        """Whatever happened, the search can be brought to its end, and read back as it was lived."""
        see_requests(self.journal, self.strategy)
        while not self.journal.over(self.strategy):
            for attempt in self.journal.ask(self.strategy, 9):
                self.running[attempt.trial.id] = attempt
            for attempt in self.running.values():
                self.journal.tell(self.strategy, answer(attempt))
            self.running.clear()
        self.journal.commit()
        assert len(self.journal.history.trials) == max(self.strategy.budget, 0)
        assert not self.journal.history.waiting()
        assert same(self.journal.history, History.of(self.log.entries("try")))
        replayed = Tally(BUDGET)
        journal = Journal(self.log, "try", self.log.acquire("try", force=True), pulse=None)
        journal.replay(replayed)
        assert replayed.heard == self.strategy.heard
        self.log.close()
        shutil.rmtree(self.folder)


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
