"""The forecast of a job's cost agrees with what would be built and trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import pytest
from torch import nn

from nas import machine
from nas.forecast import cost, example, forecast, pace, slots, typical
from nas.job import Job
from nas.plan import Plan
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Signature, Space
from workers.errors import UserError

JOB: dict[str, Any] = {
    "task": {"name": "image_classification", "epochs": 2},
    "space": {"name": "pnas", "blocks": 2},
    "budget": {"trials": 3},
    "final": {"top": 1, "epochs": 4},
    "pool": {"name": "local", "slots": 2},
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan.of(Job.parse(JOB))


def test_the_example_is_built_without_memory_and_counted_as_the_real_one(plan: Plan) -> None:
    candidate, described = typical(plan)
    shown = example(plan, candidate, described)
    network = plan.build(candidate)
    assert shown["parameters"] == sum(one.numel() for one in network.parameters() if one.requires_grad)
    names = {part["part"] for part in shown["parts"]}
    assert {"cells.0", "classifier"} <= names
    assert {name.partition(".")[0] for name, _ in network.named_children()} >= {n.partition(".")[0] for n in names}
    assert sum(part["parameters"] for part in shown["parts"]) == shown["parameters"]
    assert shown["parts"][-1]["shape"] == [10]


def test_a_space_whose_description_is_wrong_is_refused(plan: Plan) -> None:
    candidate, described = typical(plan)
    with pytest.raises(UserError, match="must agree"):
        example(plan, candidate, replace(described, parameters=described.parameters + 1))


def test_the_example_is_the_middle_of_a_sample(plan: Plan) -> None:
    spread = plan.estimate(16).multiply_adds
    assert spread is not None
    assert spread.smallest <= typical(plan)[1].multiply_adds <= spread.largest


def test_the_time_is_the_arithmetic_by_the_pace_of_all_slots(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.forecast.pace", lambda *_: 1e9)
    candidate, described = typical(plan)
    expected = plan.estimate(16)
    assert expected.multiply_adds_in_all is not None
    assert (expected.trainings, expected.epochs) == (4, 3 * 2 + 4)
    found = cost(plan, candidate, described, expected)
    assert found["seconds"] == pytest.approx(expected.multiply_adds_in_all / 1e9 / 2)


def test_no_search_takes_longer_than_its_budget_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.forecast.pace", lambda *_: 1.0)
    limited = Plan.of(Job.parse({**JOB, "budget": {"trials": 3, "minutes": 1}}))
    assert forecast(limited)["seconds"] == 60.0


def test_a_network_too_large_to_time_has_no_pace(plan: Plan) -> None:
    candidate, described = typical(plan)
    assert pace(plan, candidate, replace(described, multiply_adds=10**12)) is None


def test_timing_leaves_torch_as_it_was(plan: Plan) -> None:
    import torch

    before = torch.get_num_threads()
    speed = pace(plan, *typical(plan))
    assert speed is not None
    assert speed > 0
    assert torch.get_num_threads() == before


def test_slots_are_the_jobs_or_one_per_core(plan: Plan) -> None:
    assert slots(plan) == 2
    assert slots(Plan.of(Job.parse({**JOB, "pool": "local"}))) == machine.cores()


def test_settings_alone_have_no_network(tmp_path: Path) -> None:
    (tmp_path / "plainly.py").write_text("def train(decisions):\n    return 0.0\n")
    task = {"name": "plainly:train", "decisions": {"x": {"choice": [1, 2]}}}
    found = forecast(Plan.of(Job.parse({"task": task, "budget": {"trials": 5}, "folder": str(tmp_path)})))
    assert (found["size"], found["trainings"], found["space"]) == (2, 5, None)
    assert "example" not in found


@final
@dataclass(frozen=True)
class Misspelt(Space):
    """A user's space that asks for a decision it does not have."""

    @property
    def decisions(self) -> Decisions:
        return Decisions({"width": Choice((1, 2))})

    def build(self, candidate: Candidate, signature: Signature) -> nn.Module:
        return nn.Linear(1, int(candidate["widht"]))


def test_what_a_users_space_raises_is_told_with_its_line() -> None:
    job = {"task": "image_classification", "space": "test_forecast:Misspelt", "strategy": "random"}
    with pytest.raises(UserError, match=r"builds no network .* KeyError: 'widht' \(test_forecast.py, line \d+\)"):
        forecast(Plan.of(job))
