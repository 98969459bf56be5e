"""Search, run, resume: the command line's moves, in Python."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

from nas.history import History, TrialRecord
from nas.home import open_log
from nas.log import Header
from nas.summary import objectives
from workers.errors import NotFoundError, UserError
from workers.objectives import Objective
from workers.trial import Json

if TYPE_CHECKING:
    from nas.search import Observer


@final
class Search:
    """A search that runs or has run, as its journal says now, whoever drives it."""

    def __init__(self, search: str, journal: str | None = None) -> None:
        self.id = search
        self._log = open_log(journal)
        try:
            self._log.header(search)
        except UserError:
            self._log.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal. May be called twice."""
        self._log.close()

    @property
    def header(self) -> Header:
        """The job, the versions, and how the search stands."""
        return self._log.header(self.id)

    @property
    def state(self) -> str:
        """`created`, `running`, `interrupted`, `stopped`, `finished` or `failed`."""
        return self.header.state

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is optimised, the most important first."""
        return objectives(self.header.job)

    @property
    def history(self) -> History:
        """All trials so far."""
        return History.of(self._log.entries(self.id))

    def trials(self) -> list[TrialRecord]:
        """All trials so far, in the order they were asked."""
        return list(self.history.trials.values())

    def best(self, count: int = 1) -> list[TrialRecord]:
        """The `count` best fully trained ones; with several objectives, the first of the Pareto front."""
        history, objectives = self.history, self.objectives
        if len(objectives) > 1:
            return history.front(objectives)[:count]
        return history.best(objectives[0], count)

    def winner(self) -> TrialRecord:
        """The trial whose network is handed over; `NotFoundError` while no trial has completed.

        After the final retraining it is the one that was chosen on validation, before that the best of the search.
        """
        found = winner(self.history, self.objectives)
        if found is None:
            raise NotFoundError(f"no trial of {self.id} has completed so far: there is nothing to hand over")
        return found

    def test(self) -> Mapping[str, float]:
        """The winner's metrics on the test set; empty where it was not read (yet)."""
        from nas.winner import tested

        test = tested(self.history)
        return dict(test.result.metrics) if test is not None and test.result is not None else {}

    def export(self, folder: str | Path, trial: int | None = None) -> Path:
        """Write the winner, or `trial`, to `folder`: architecture, PyTorch source, weights, ONNX, drawing, README."""
        from nas.export import export

        return export(self._log, self.id, Path(folder), trial)

    def report(self, path: str | Path) -> Path:
        """Write one self-contained HTML file about the search."""
        from nas.reports.report import report

        return report(self._log, self.id, Path(path))

    def stop(self) -> None:
        """Ask the driver, wherever it is, to finish what runs and stop; one that has not begun will not.

        `UserError` where there is nothing to stop.
        """
        from nas.stopping import stop

        stop(self.id, self._log)

    def enqueue(self, candidate: Mapping[str, Json]) -> None:
        """Have this candidate tried next."""
        from nas.recorded import current_plan

        checked = current_plan(self._log, self.id).decisions.candidate(candidate)
        self._log.request(self.id, "enqueue", {"candidate": checked.json()})


def run(job: str | Path | Mapping[str, Json], observer: Observer | None = None) -> Search:
    """Run the search that a job file or a mapping describes, and wait for its end; `UserError` says what is wrong."""
    from nas.driver import drive, start
    from nas.job import Job

    parsed = Job.parse(job) if isinstance(job, Mapping) else Job.load(job)
    with closing(open_log(parsed.place)) as log:
        search = start(parsed, log)
        drive(search, log, observer, after=0)
    return Search(search, parsed.place)


def submit(job: str | Path | Mapping[str, Json], address: str, environment: Mapping[str, str] | None = None) -> Search:
    """Start the search on the Ray cluster whose job server is at `address` (`http://HEAD:8265`), with the job's files.

    Returns once its driver there has begun, or the cluster lets it wait; `environment` are variables for its processes.
    `UserError` says what is wrong: then the search, if there is one, has failed for that reason.
    """
    from nas.job import Job
    from nas.remote.job_server import JobServer
    from nas.remote.submission import Destination, await_driver, begin, failing, prepare, send, store

    parsed = Job.parse(job) if isinstance(job, Mapping) else Job.load(job)
    server = JobServer(address)
    prepared = prepare(parsed, server.address, parsed.place)
    with closing(open_log(parsed.place)) as log:
        search = begin(prepared, log)
        store(prepared, log, search)
        with failing(log, search):
            await_driver(send(search, log, Destination(server, parsed.place, environment or {})), log, server)
    return Search(search, parsed.place)


def resume(
    search: str,
    overrides: Mapping[str, Json] | None = None,
    journal: str | None = None,
    observer: Observer | None = None,
) -> Search:
    """Go on with a search; `overrides` may change its budget, pool and final: `{"budget": {"trials": 100}}`."""
    from nas import driver

    with closing(open_log(journal)) as log:
        driver.resume(search, log, overrides, observer)
    return Search(search, journal)


def winner(history: History, objectives: tuple[Objective, ...]) -> TrialRecord | None:
    """The tested trial, else the best retrained one, else the best of the search; None where none has completed."""
    tests = [r for r in history.trials.values() if r.arm == "test" and r.trial.parent in history.trials]
    if tests and tests[-1].trial.parent is not None:
        return history.trials[tests[-1].trial.parent]
    finals = [(gains, r) for r in history.trials.values() if r.arm == "final" and (gains := r.gains(objectives[:1]))]
    if finals:
        return max(finals, key=lambda pair: pair[0])[1]
    return next(iter(history.best(objectives[0])), None)
