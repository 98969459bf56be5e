"""show draws a trial's network, a candidate's, an exported one's; gc removes what nobody needs."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from nas.cli.app import application
from nas.cli.picture import Picture
from nas.history import Entry
from nas.home import home, open_log
from nas.job import Job
from nas.plan import Plan
from search_spaces.decisions import Candidate
from search_spaces.space import Description
from workers.artifacts import Artifacts
from workers.objectives import Outcome
from workers.trial import Result as TrialResult
from workers.trial import Trial

JOB = {
    "name": "digits",
    "task": "image_classification",
    "space": {"name": "pnas", "blocks": 2},
    "strategy": "random",
    "budget": {"trials": 4},
}
SPACE = "{name: pnas, blocks: 2}"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(application(), list(arguments))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a search `digits` with thirty trials, each better than the one before; in its own folder."""
    monkeypatch.chdir(tmp_path)
    plan = Plan.of(Job.parse(JOB))
    log = open_log()
    log.create("digits", plan.record(), {})
    epoch = log.acquire("digits")
    artifacts = Artifacts.open(home())
    for number in range(30):
        trial = Trial(number, plan.decisions.sample(Random(number)))
        result = TrialResult(number, 1, Outcome.COMPLETED, {"accuracy": number / 100}, 1, checkpoint="checkpoint")
        log.append("digits", epoch, [Entry(0, 1.0, "ask", number, trial.json())])
        log.append("digits", epoch, [Entry(0, 2.0, "tell", number, result.json())])
        artifacts.put("digits", number, 1, "checkpoint", bytes(1000))
    log.release("digits", epoch, "finished", "")
    log.close()
    return plan


def test_the_drawing_is_of_the_candidate(plan: Plan) -> None:
    assert plan.space is not None
    for number in (0, 7):
        shown = json.loads(run("show", "digits", "--trial", str(number), "--json").stdout)
        candidate = plan.decisions.sample(Random(number))
        described = plan.space.describe(candidate, plan.task.signature)
        assert shown["candidate"] == candidate.json()
        assert shown["parameters"] == described.parameters
        labels = [node["label"] for node in shown["graphs"]["cell"]["nodes"]]
        assert labels == [node.label for node in described.graphs["cell"].nodes]
        drawn = run("show", "digits", "--trial", str(number)).stdout
        assert drawn.startswith(f"digits, trial {number}\n")
        assert all(label.replace("_", " ") in drawn for label in labels)


def test_without_a_number_it_is_the_best(plan: Plan) -> None:
    assert run("show", "digits").stdout.startswith("digits, trial 29\n")


def test_a_folder_named_as_the_search_hides_it_not(plan: Plan) -> None:
    Path("digits").mkdir()
    assert run("show", "digits").stdout.startswith("digits, trial 29\n")


def test_a_file_has_no_trials(plan: Plan) -> None:
    Path("one.json").write_text("{}")
    refused = run("show", "one.json", "--trial", "3")
    assert refused.exit_code == 2
    assert "leave --trial 3 out" in refused.stderr


def test_a_part_alone_is_drawn_into_the_file_that_was_named(plan: Plan) -> None:
    drawn = run("show", "digits", "--part", "cell", "--svg", "cell.svg")
    assert "network" not in drawn.stdout
    assert ElementTree.parse("cell.svg").getroot().tag.endswith("svg")
    wrong = run("show", "digits", "--part", "sell")
    assert wrong.exit_code == 3
    assert "did you mean cell?" in wrong.stderr


def test_a_space_that_describes_no_graphs_is_said_to_have_no_drawing() -> None:
    shown = Picture("own, trial 0", Candidate({}), Description(10, 20, 40)).text(80)
    assert shown.split("\n\n")[1] == "no drawing: `describe` of its space gives no graphs"
    assert "10 parameters" in shown


def test_several_parts_are_drawn_into_a_file_each(plan: Plan, tmp_path: Path) -> None:
    said = run("show", "digits", "--svg", "net.svg").stderr
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["net-cell.svg", "net-network.svg"]
    assert "net-cell.svg" in said


def test_a_candidate_from_a_file_is_drawn_as_its_trial_is(plan: Plan) -> None:
    trial = json.loads(run("trials", "digits", "--json").stdout)[3]
    Path("record.json").write_text(json.dumps(trial))
    Path("bare.json").write_text(json.dumps(trial["candidate"]))
    expected = json.loads(run("show", "digits", "--trial", "3", "--json").stdout)["graphs"]["cell"]
    for name in ("record.json", "bare.json"):
        shown = json.loads(run("show", name, "--space", SPACE, "--json").stdout)
        assert shown["graphs"]["cell"] == expected
        assert shown["title"] == name


def stored() -> list[int]:
    return sorted(one.trial for one in Artifacts.open(home()).list("digits"))


def test_gc_says_first_and_removes_then(plan: Plan) -> None:
    first = run("gc")
    assert "nas gc --yes" in first.stderr
    assert len(stored()) == 30
    (found,) = json.loads(run("gc", "--json").stdout)
    assert (found["files"], found["bytes"], found["kept_bytes"], found["removed"]) == (20, 20_000, 10_000, False)
    assert run("gc", "--yes").exit_code == 0
    assert stored() == list(range(20, 30))
    assert "nothing to remove" in run("gc").stderr


def test_gc_keeps_to_a_quota_the_best_last(plan: Plan) -> None:
    (found,) = json.loads(run("gc", "--quota", "3 kB", "--yes", "--json").stdout)
    assert found["removed"] is True
    assert stored() == [27, 28, 29]


def test_gc_leaves_a_running_search_alone(plan: Plan) -> None:
    with closing(open_log()) as log:
        log.acquire("digits")
    (found,) = json.loads(run("gc", "--yes", "--json").stdout)
    assert (found["files"], found["removed"]) == (0, False)
    assert "runs" in found["skipped"]
    assert len(stored()) == 30


def test_gc_says_which_search_it_could_not_look_at(plan: Plan) -> None:
    with closing(open_log()) as log:
        log.create("mine", {**plan.record(), "task": {"name": "no_such_module:train"}}, {})
    found = {one["search"]: one for one in json.loads(run("gc", "--yes", "--json").stdout)}
    assert "no_such_module" in found["mine"]["skipped"]
    assert found["digits"]["removed"] is True
