"""The job server of a head that has only just begun."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from nas.remote import job_server
from nas.remote.job_server import JobServer
from workers.errors import UserError


class Beginning:
    """Ray's client: a head that refuses the first `refusals` jobs with the words of Ray 2.60."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked: list[str] = []

    def list_jobs(self) -> list[Any]:
        return []

    def submit_job(self, submission_id: str, **given: Any) -> str:
        self.asked.append(submission_id)
        if len(self.asked) <= self.refusals:
            said = "No available agent to submit job, please try again later.."
            raise RuntimeError(f"Request failed with status code 500: {said}")
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


def test_a_head_without_an_agent_is_not_waited_for_for_ever(submitted: Any) -> None:
    head = Beginning(1000)
    with pytest.raises(UserError, match="No available agent"):
        submitted(head)
    assert 30 < len(head.asked) < 100
