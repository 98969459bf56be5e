"""MLflow: a run with the winner of a search, logged when the search ends."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final
from urllib.parse import urlsplit

from nas.deadline import within
from nas.history import History, TrialRecord
from nas.summary import best, counts
from nas.versions import versions
from nas.watcher import Watched, Watcher
from workers.errors import UserError
from workers.objectives import Objective
from workers.pool import Pool
from workers.trial import Json

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FOREIGN = re.compile(r"[^\w\-./ ]")  # what the names of metrics and parameters may not have
LONGEST = 500  # characters of a value, which every server takes
AT_ONCE = 100  # parameters that a server takes in one request
POINTS = 1000  # metrics that a server takes in one request
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nobody hears of a search but the server that was named
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # not 7, with minutes between them
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@final
class Mlflow(Watcher):
    """Logs a run to the tracking server at `uri` when the search ends, be it finished or not.

    Parameters are the decisions of the best trial; metrics are its metrics, those of the test set if it was read, the
    costs, and the best value so far of each objective (`best.METRIC`) over the trials told; tags are the search, its
    state, seed and versions; `artifacts.json` lists the files that are kept. Nothing else of the job is sent. Without
    `uri` the environment's MLFLOW_TRACKING_URI is taken, which may hold a password; after `patience` seconds the driver
    goes on. A search that goes on and ends again has a run for each ending.
    """

    def __init__(self, watched: Watched, uri: str = "", experiment: str = "cellwright", patience: float = 30.0) -> None:
        if find_spec("mlflow") is None:
            raise UserError("watch: mlflow needs mlflow: pip install 'cellwright[mlflow]'")
        self._watched = watched
        self.check({"uri": uri})
        self._uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not self._uri:
            raise UserError(
                "watch: mlflow needs the uri of a tracking server, or MLFLOW_TRACKING_URI in the environment"
            )
        self._experiment, self._patience = experiment, patience

    @classmethod
    def check(cls, options: Mapping[str, Json]) -> None:
        _refuse_password(options.get("uri", ""))

    def turn(self, history: History, pool: Pool) -> None:
        """Nothing is logged before the end."""

    def end(self, history: History, state: str, reason: str) -> None:
        within(self._patience, lambda: self._log(history, state, reason), "logging to MLflow")

    def _log(self, history: History, state: str, reason: str) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self._uri)
        run = client.create_run(
            _experiment(client, self._experiment),
            run_name=self._watched.search,
            tags=self._tags(history, state, reason),
        )
        number = run.info.run_id
        winners = best(history, self._watched.objectives)
        if winners:
            params = [Param(_named(key), _short(value)) for key, value in winners[0].trial.candidate.items()]
            for place in range(0, len(params), AT_ONCE):
                client.log_batch(number, params=params[place : place + AT_ONCE])
        metrics = [
            Metric(_named(name), value, round(1000 * at), step)
            for name, value, at, step in self._metrics(history, winners)
            if math.isfinite(value)
        ]
        for place in range(0, len(metrics), POINTS):
            client.log_batch(number, metrics=metrics[place : place + POINTS])
        client.log_dict(number, _artifacts(history), "artifacts.json")
        client.set_terminated(number, status="FAILED" if state == "failed" else "FINISHED")

    def _tags(self, history: History, state: str, reason: str) -> dict[str, str]:
        told = {"search": self._watched.search, "state": state, "reason": reason, "seed": self._watched.job.get("seed")}
        told |= counts(history.searched()) | {f"version.{name}": version for name, version in versions().items()}
        return {f"cellwright.{name}": _short(value) for name, value in told.items()}

    def _metrics(self, history: History, winners: list[TrialRecord]) -> Iterator[tuple[str, float, float, int]]:
        """Name, value, time and step of all that is logged as a number."""
        now = history.last_at or 0.0
        tests = [record for record in history.trials.values() if record.arm == "test" and record.completed]
        for record in (*winners[:1], *tests[-1:]):
            for name, value in record.result.metrics.items() if record.result else ():
                yield name, float(value), now, 0
        yield "seconds", history.worked, now, 0
        yield "device_seconds", sum(record.device_seconds for record in history.trials.values()), now, 0
        for objective in self._watched.objectives:
            yield from _course(history, objective)


def _course(history: History, objective: Objective) -> Iterator[tuple[str, float, float, int]]:
    """The best value so far at each trial that improved it, over the number of trials told."""
    reached = -math.inf
    ended = [record for record in history.searched() if record.result is not None]
    for step, record in enumerate(sorted(ended, key=lambda record: record.ended_at or 0.0), start=1):
        gains = record.gains((objective,)) if record.full else None
        if gains is not None and gains[0] > reached:
            reached = gains[0]
            yield f"best.{objective.metric}", objective.gain(reached), record.ended_at or 0.0, step


def _artifacts(history: History) -> dict[str, Json]:
    """The files that are kept, by trial and attempt."""
    kept = {key: body for key, body in history.artifacts.items() if not body.get("deleted")}
    listed = [
        {"trial": trial, "attempt": attempt, "name": name, "bytes": body.get("bytes"), "digest": body.get("digest")}
        for (trial, attempt, name), body in sorted(kept.items())
    ]
    return {"artifacts": listed}


def _experiment(client: MlflowClient, name: str) -> str:
    found: Any = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


def _named(name: str) -> str:
    return FOREIGN.sub("_", name)


def _short(value: Json) -> str:
    return str(value)[:LONGEST]


def _refuse_password(uri: str) -> None:
    """Raise UserError where `uri` holds a password: the job is in the journal, which others may read."""
    try:
        password = urlsplit(uri).password
    except ValueError:
        raise UserError("watch: mlflow's uri is none: write http://HOST:PORT, or sqlite:///PATH") from None
    if password:
        raise UserError(
            "watch: mlflow's uri holds a password, which the journal would keep: leave uri out, and set "
            "MLFLOW_TRACKING_URI for the driver"
        )
