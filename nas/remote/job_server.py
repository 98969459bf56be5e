"""JobServer: Ray's job API at a cluster's dashboard, its errors in a person's words."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final
from urllib.parse import urlsplit

from nas.remote.reach import address_of
from nas.remote.token import headers
from workers.errors import UserError
from workers.trial import Json

PATIENCE = 10.0  # seconds to wait for somebody who listens
BEGINNING = 60.0  # seconds that a head may take from its first answer to its first job
NO_AGENT = "No available agent"
TAKEN = "already exists"
BEHIND = (502, 503, 504)  # what stands before the head, and does not reach it
NAMED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # which Ray would prefer to the address that it is given


class AwayError(UserError):
    """The job server answers no more; what it was asked for may happen all the same."""


@final
class JobServer:
    """The job server at `address`; `UserError` where none answers, or it does not let us in."""

    def __init__(self, address: str) -> None:
        self.address = address_of(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        parts = urlsplit(self.address)
        try:
            socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=PATIENCE).close()
        except OSError as error:
            raise UserError(
                f"nothing answers at {self.address} ({error}): give the address of Ray's dashboard, such as "
                "http://HEAD:8265; the head needs ray[default], and --dashboard-host=0.0.0.0 to be seen from elsewhere"
            ) from error
        with self._explained():
            self._client = _client(self.address)

    def submit(self, name: str, entrypoint: str, runtime_env: Mapping[str, Json], metadata: Mapping[str, str]) -> str:
        """Have the cluster run `entrypoint`; the id of the job, `name` or a variation that is not taken yet."""
        with self._explained():
            given = {"runtime_env": dict(runtime_env), "metadata": dict(metadata)}
            taken: set[str] = set()
            while True:
                taken |= {job.submission_id for job in self._client.list_jobs()}
                number = next(number for number in range(1, len(taken) + 2) if _numbered(name, number) not in taken)
                try:
                    return self._accepted(entrypoint, _numbered(name, number), given)
                except RuntimeError as error:
                    if TAKEN not in str(error):
                        raise
                    taken.add(_numbered(name, number))  # somebody else was faster

    def _accepted(self, entrypoint: str, name: str, given: Mapping[str, Json]) -> str:
        """Submit; a head that has only just begun takes no jobs until its agent is there, which is waited for."""
        until = time.monotonic() + BEGINNING
        while True:
            try:
                submitted: str = self._client.submit_job(entrypoint=entrypoint, submission_id=name, **given)
            except RuntimeError as error:
                if NO_AGENT not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(1.0)
            else:
                return submitted

    def ended(self, job: str) -> bool:
        """Whether the job is over, well or not."""
        with self._explained():
            return bool(self._client.get_job_status(job).is_terminal())

    def pending(self, job: str) -> bool:
        """Whether the job waits for its turn, or for what it needs to be unpacked."""
        with self._explained():
            return str(self._client.get_job_status(job).value) == "PENDING"

    def message(self, job: str) -> str:
        """What Ray says of the job."""
        with self._explained():
            return str(self._client.get_job_info(job).message or "")

    def logs(self, job: str) -> str:
        """What the job has printed."""
        with self._explained():
            return str(self._client.get_job_logs(job))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # of Ray, of requests, of what answers in its place
            raise _explanation(self.address, error) from error


def _client(address: str) -> Any:
    """Ray's own client."""
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UserError(f"submitting needs {error.name or 'ray'}: pip install 'cellwright[cluster]'") from error
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(name).setLevel(logging.WARNING)
    before = {name: os.environ.pop(name) for name in NAMED if name in os.environ}
    try:
        return JobSubmissionClient(address, headers=headers())
    finally:
        os.environ.update(before)


def _explanation(address: str, error: Exception) -> UserError:
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind == "AuthenticationError" or "status code 401" in text or "status code 403" in text:
        return UserError(
            f"the cluster at {address} lets nobody in without its token, or with another one: put it into "
            "RAY_AUTH_TOKEN, into a file that RAY_AUTH_TOKEN_PATH names, or into ~/.ray/auth_token "
            "(on the head, `ray get-auth-token` shows it)"
        )
    if "ray[default]" in text:
        return UserError("submitting needs ray[default]: pip install 'cellwright[cluster]'")
    if "Connection" in kind or "Timeout" in kind or any(f"status code {code}" in text for code in BEHIND):
        return AwayError(
            f"the cluster at {address} does not answer any more, and may have taken the job (`nas status` says whether "
            f"the search runs): {text[:300]}"
        )
    return UserError(f"what answers at {address} does not do as a job server of Ray ({kind}: {text[:300]})")


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
