"""The job server of a head that has only just begun."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from nas.remote import job_server
from nas.remote.job_server import AwayError, JobServer
from workers.errors import UserError

NO_AGENT = "No available agent to submit job, please try again later.."


class Beginning:
    """Ray's client: a head that refuses the first `refusals` jobs with the words of Ray 2.60."""

    def __init__(self, refusals: int, said: str = NO_AGENT) -> None:
        self.refusals, self.said = refusals, said
        self.asked: list[str] = []

    def list_jobs(self) -> list[Any]:
        return [SimpleNamespace(submission_id="nas-try")] if self.said != NO_AGENT and self.asked else []

    def submit_job(self, submission_id: str, **given: Any) -> str:
        self.asked.append(submission_id)
        if len(self.asked) <= self.refusals:
            raise RuntimeError(f"Request failed with status code 500: {self.said}")
        return submission_id


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Submit to a `Beginning`; time does not pass but for what is slept."""
    slept = [0.0]
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.__setitem__(0, slept[0] + seconds))
    monkeypatch.setattr(time, "monotonic", lambda: slept[0])

    def submit(head: Beginning) -> str:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.listen()
            monkeypatch.setattr(job_server, "_client", lambda address: head)
            return JobServer(f"http://127.0.0.1:{bound.getsockname()[1]}").submit("nas-try", "true", {}, {})

    return submit


def test_a_head_that_has_only_just_begun_is_waited_for(submitted: Any) -> None:
    head = Beginning(5)
    assert submitted(head) == "nas-try"
    assert head.asked == ["nas-try"] * 6


def test_where_somebody_else_was_faster_the_next_name_is_taken(submitted: Any) -> None:
    head = Beginning(2, "ValueError: Job with submission_id nas-try already exists. Please use a different one.")
    assert submitted(head) == "nas-try-3"
    assert head.asked == ["nas-try", "nas-try-2", "nas-try-3"]


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        requests.exceptions.ConnectionError("refused"),
        requests.exceptions.ReadTimeout("nothing came"),
        RuntimeError("Request failed with status code 503: no upstream."),
    ],
)
def test_a_head_that_is_not_reached_may_have_the_job(submitted: Any, error: Exception) -> None:
    class Away(Beginning):
        def submit_job(self, submission_id: str, **given: Any) -> str:
            raise error

    with pytest.raises(AwayError, match="may have taken the job"):
        submitted(Away(0))


def test_a_number_in_a_message_is_no_refusal_of_the_token(submitted: Any) -> None:
    with pytest.raises(UserError, match="does not do as a job server of Ray"):
        submitted(Beginning(1, "a worker with the number 14032 died"))


def test_a_head_without_an_agent_is_not_waited_for_for_ever(submitted: Any) -> None:
    head = Beginning(1000)
    with pytest.raises(UserError, match="No available agent"):
        submitted(head)
    assert 30 < len(head.asked) < 100
