"""The job file: read back as written, and every mistake in one message that can be acted upon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import FOLDER

from nas.job import Job
from nas.jobfile.document import parse
from nas.jobfile.template import TEMPLATE
from workers.errors import NotFoundError, UserError
from workers.plugins import Spec

BASE: dict[str, Any] = {
    "task": "stand_ins:SumTask",
    "space": "stand_ins:GridSpace",
    "strategy": "stand_ins:Uniform",
    "pool": "stand_ins:Instant",
    "folder": FOLDER,
}
HEAD = f"""\
task: {{name: "stand_ins:SumTask", epochs: 3}}
space: stand_ins:GridSpace
pool: stand_ins:Instant
folder: {FOLDER}
"""
positive = st.integers(1, 10**6)
seconds = st.floats(1e-3, 1e9)
plain = st.text(st.sampled_from("abcXYZ019._-"), max_size=20).map(lambda rest: f"n{rest}")
JOBS = st.fixed_dictionaries(
    {name: st.just(value) for name, value in BASE.items() if name in ("task", "folder")},
    optional={
        "name": plain,
        "space": st.fixed_dictionaries({"name": st.just("stand_ins:GridSpace")}, optional={"width": positive}),
        "strategy": st.sampled_from(["random", "stand_ins:Uniform"]),
        "objectives": st.lists(
            st.one_of(
                st.sampled_from(["value", "cost"]),
                st.fixed_dictionaries({"metric": plain, "direction": st.sampled_from(["maximize", "minimize"])}),
            ),
            max_size=3,
        ),
        "constraints": st.dictionaries(plain, st.fixed_dictionaries({"max": seconds}), max_size=3),
        "budget": st.fixed_dictionaries(
            {"trials": positive},
            optional={"epochs": positive, "hours": seconds, "minutes": seconds, "trial_seconds": seconds},
        ),
        "pool": st.fixed_dictionaries({"name": st.just("stand_ins:Instant")}, optional={"slots": positive}),
        "baseline": st.floats(0, 1, exclude_max=True),
        "final": st.fixed_dictionaries({}, optional={"top": positive, "seeds": positive, "epochs": positive}),
        "journal": st.one_of(
            plain, st.fixed_dictionaries({}, optional={"place": plain, "durability": st.just("full")})
        ),
        "artifacts": st.fixed_dictionaries(
            {}, optional={"place": plain, "quota": st.one_of(positive, st.just("2 GB"))}
        ),
        "seed": st.integers(0, 2**40),
    },
)


@settings(max_examples=60, deadline=None)
@given(JOBS)
def test_a_job_reads_back_what_it_writes(values: dict[str, Any]) -> None:
    job = Job.parse(values)
    written = json.loads(json.dumps(job.json()))
    assert Job.parse(written) == job
    assert Job.parse(written).json() == written


@settings(max_examples=30, deadline=None)
@given(JOBS)
def test_a_job_means_the_same_in_yaml(values: dict[str, Any]) -> None:
    document = parse(yaml.safe_dump(values))
    assert Job.parse(document.values) == Job.parse(values)


def test_times_and_sizes_are_read_in_their_units() -> None:
    job = Job.parse({**BASE, "budget": {"hours": 1, "minutes": 30}, "artifacts": {"quota": "1.5 GiB"}})
    assert job.budget.seconds == 5400
    assert job.artifacts.quota == 3 << 29


def test_random_search_has_no_baseline_beside_it_unless_asked() -> None:
    assert Job.parse({**BASE, "strategy": "random"}).baseline == 0
    assert Job.parse({**BASE, "strategy": {"name": "random"}}).baseline == 0
    assert Job.parse({**BASE, "strategy": "random", "baseline": 0.5}).baseline == 0.5
    assert Job.parse(BASE).baseline == 0.2


def test_several_objectives_have_a_strategy_for_several() -> None:
    plain = {key: value for key, value in BASE.items() if key != "strategy"}
    assert Job.parse({**plain, "objectives": ["value"]}).strategy == Spec("surrogate")
    several = {**plain, "objectives": ["value", "parameters"]}
    assert Job.parse(several).strategy == Spec("evolution")
    assert Job.parse({**several, "strategy": "halving"}).strategy == Spec("halving")


def test_the_template_is_a_valid_job(tmp_path: Path) -> None:
    path = tmp_path / "my-job.yaml"
    path.write_text(TEMPLATE)
    job = Job.load(path)
    assert job.name == "digits"
    assert job.strategy == Spec("surrogate")


def test_every_commented_setting_of_the_template_is_valid_too(tmp_path: Path) -> None:
    text = TEMPLATE
    for line in text.splitlines():
        key = line.strip().removeprefix("# ")
        if line.strip().startswith("# ") and (line.startswith("  ") or key.startswith(("constraints:", "  "))):
            text = text.replace(line, line.replace("# ", "", 1), 1)
    text = text.replace("  learning_rate: 0.05", "  # learning_rate: 0.05", 1)
    text = text.replace("# journal:", "journal:").replace("# artifacts:", "artifacts:")
    text = text.replace("#   ", "  ")
    path = tmp_path / "all.yaml"
    path.write_text(text)
    job = Job.load(path)
    assert job.constraints["latency"].max == 0.01
    assert set(job.task.options) >= {"learning_rate", "optimizer"}
    assert job.budget.seconds == 7200
    assert job.artifacts.quota == 20 * 10**9


def test_a_file_without_a_name_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "first-try.yaml"
    path.write_text(HEAD.replace(f"folder: {FOLDER}", ""))
    (tmp_path / "stand_ins.py").write_bytes(Path(FOLDER, "stand_ins.py").read_bytes())
    job = Job.load(path)
    assert (job.name, job.folder) == ("first-try", str(tmp_path))


MISTAKES = [
    ("budgt: {trials: 3}", ["line 5", "'budgt'", "did you mean budget?"]),
    ("trials: 3", ["line 5", "'trials'", "write budget: {trials: ...}"]),
    ("budget: {trials: 0}", ["line 5", "budget.trials is 0", "at least 1"]),
    ("budget: {trials: -4}", ["budget.trials is -4", "at least 1"]),
    ("budget: {trials: true}", ["budget.trials is true", "whole number"]),
    ("budget: {trials: 2.5}", ["budget.trials is 2.5", "whole number"]),
    ("budget: {trials: many}", ["budget.trials is 'many'", "whole number"]),
    ("budget: {hours: 0}", ["budget.hours is 0", "more than 0"]),
    ("budget: {minutes: soon}", ["budget.minutes is 'soon'", "number"]),
    ("budget: {seconds: .nan}", ["budget.seconds is nan", "finite"]),
    ("budget: {}", ["budget has no limit", "trials, epochs, hours"]),
    ("budget: 40", ["budget is 40", "mapping", "budget: {trials: 40}"]),
    ("budget:\n  trials: 3\n  houres: 4", ["line 7", "'houres'", "did you mean hours?"]),
    ("baseline: 1", ["baseline is 1", "less than 1"]),
    ("baseline: -0.1", ["baseline is -0.1", "at least 0"]),
    ("final: {top: -1}", ["final.top is -1", "at least 0"]),
    ("final: {seeds: 0}", ["final.seeds is 0", "at least 1"]),
    ("final: {tops: 1}", ["'tops'", "did you mean top?"]),
    ("objectives: [{metric: value, direction: up}]", ["objectives[0].direction is 'up'", "'maximize' or 'minimize'"]),
    ("objectives: [{direction: maximize}]", ["objectives[0].metric is missing"]),
    ("objectives: 3", ["objectives is 3", "list"]),
    ("constraints: {parameters: 5}", ["constraints.parameters is 5", "{parameters: {max: 500000}}"]),
    ("constraints: {parameters: {max: 0}}", ["constraints.parameters.max is 0", "more than 0"]),
    ("constraints: {parameters: {most: 9}}", ["'most'", "did you mean max?", "2 mistakes"]),
    ("strategy: pna", ["'pna' is no strategy", "did you mean 'pnas'?", "package.module:Name"]),
    ("strategy: no_such_module:Name", ["no_such_module", "cannot be imported"]),
    ("strategy: stand_ins:Unifrom", ["stand_ins has no Unifrom", "did you mean Uniform?"]),
    ("strategy: stand_ins:GridSpace", ["is the class GridSpace", "subclass of Strategy"]),
    ("strategy: os:path", ["'os:path' is a module", "subclass of Strategy"]),
    ("strategy: {nam: random}", ["strategy is {'nam': 'random'}", "mapping with a name"]),
    ("strategy: {name: random, width: 3}", ["'width' is no option of strategy"]),
    ("strategy: {name: pnas, beam: wide}", ["strategy.beam is 'wide'", "whole number"]),
    ("seed: -1", ["seed is -1", "at least 0"]),
    ("seed: 1.5", ["seed is 1.5", "whole number"]),
    ("name: a/b", ["name is 'a/b'", "letters, digits"]),
    ("journal: {durability: total}", ["journal.durability is 'total'", "'normal' or 'full'"]),
    ("artifacts: ftp://me:correct-horse@host/x", ["ftp://me:***@host/x", "FSSPEC_FTP_PASSWORD"]),
    ("artifacts: {quota: 20 apples}", ["artifacts.quota is '20 apples'", "20 GB"]),
    ("seed: 1\nseed: 2", ["line 6", "'seed' a second time"]),
    ("seed: [1", ["no YAML"]),
    ("seed: !!python/object:os.system 1", ["no YAML"]),
    ("seed: 1\n  baseline: 2", ["line 6", "no YAML"]),
    ("? [a, b]\n: 3", ["line 5", "key that is no text"]),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[text.replace("\n", "; ") for text, _ in MISTAKES])
def test_a_mistake_is_named_with_its_rule_and_its_line(text: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(HEAD + text)
    with pytest.raises(UserError) as caught:
        Job.load(path)
    for fragment in expected:
        assert fragment in str(caught.value)
    assert "pydantic" not in str(caught.value)


OPTIONS = [
    ({"name": "stand_ins:SumTask", "epoch": 3}, ["'epoch' is no option of task", "did you mean epochs?"]),
    ({"name": "stand_ins:SumTask", "epochs": "3"}, ["task.epochs is '3'", "whole number"]),
    ({"name": "stand_ins:SumTask", "epochs": {"choise": [1]}}, ["task.epochs is {'choise': [1]}", "{choice: [...]}"]),
    ({"name": "stand_ins:SumTask", "fail": [1, "x"]}, ["task.fail"]),
    ({"name": "stand_ins:SumTask", "scale": {"range": [1]}}, ["scale", "[low, high]"]),
    ({"name": "image_classification", "learning_rate": 5000}, ["learning_rate is 5000", "number from"]),
    ({"name": "image_classification", "optimizer": "sdg"}, ["optimizer is 'sdg'", "one of 'sgd'"]),
    ({"name": "image_classification", "optimizer": {"choice": ["sgd", "sdg"]}}, ["'sdg'", "one of 'sgd'"]),
    ({"name": "image_classification", "batch_size": {"choice": [32, "x"]}}, ["batch_size: 'x' is no number"]),
    ({"name": "image_classification", "dataset": "digit"}, ["digit", "digits"]),
]


@pytest.mark.parametrize(("task", "expected"), OPTIONS)
def test_options_are_checked_against_who_takes_them(task: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        Job.parse({**BASE, "task": task})
    for fragment in expected:
        assert fragment in str(caught.value)


def test_what_makes_no_space_is_told() -> None:
    with pytest.raises(UserError, match="'os:getcwd' makes a str, but must make a Space"):
        Job.parse({**BASE, "space": "os:getcwd"})


def test_several_mistakes_are_listed_together(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(HEAD + "seed: -1\nbudget: {trials: 0}\nfinel: {top: 1}\n")
    with pytest.raises(UserError, match="has 3 mistakes") as caught:
        Job.load(path)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["line 5", "line 6", "line 7"]


def test_a_wrong_option_is_named_beside_a_wrong_key() -> None:
    with pytest.raises(UserError, match="has 2 mistakes") as caught:
        Job.parse({**BASE, "task": {"name": "stand_ins:SumTask", "epoch": 3}, "seed": -1})
    assert "did you mean epochs?" in str(caught.value)


def test_scientific_notation_is_a_number() -> None:
    assert parse("a: 1e-4\nb: 3E5\nc: [1e3, .5e-2]").values == {"a": 1e-4, "b": 3e5, "c": [1e3, 0.005]}


def test_bombs_and_endless_things_are_refused_at_once() -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
    )
    with pytest.raises(UserError, match="more than 20,000 values"):
        parse(laughs)
    with pytest.raises(UserError, match="deeper than 16"):
        parse("a: &a [*a]")
    with pytest.raises(UserError, match=r"deeper than 16|no YAML"):
        parse("a: " + "[" * 3000 + "]" * 3000)
    with pytest.raises(UserError, match="larger than"):
        parse("a" * (1 << 21))


@pytest.mark.parametrize(("text", "fragment"), [("", "empty"), ("- a", "list"), ("just words", "str")])
def test_a_file_that_is_no_mapping_says_so(text: str, fragment: str) -> None:
    with pytest.raises(UserError, match=fragment):
        parse(text)


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nas init"):
        Job.load(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        Job.load(tmp_path / "binary.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        Job.load(tmp_path)


def test_budget_pool_and_final_can_change_and_nothing_else_can() -> None:
    job = Job.parse({**BASE, "budget": {"trials": 3, "seconds": 60}, "pool": {"name": "stand_ins:Instant", "slots": 3}})
    changed = job.changed({"budget": {"hours": 1}, "final": {"top": 4}, "pool": {"slots": 1}})
    assert (changed.budget.trials, changed.budget.seconds) == (3, 3600)
    assert changed.final.top == 4
    assert changed.pool == Spec("stand_ins:Instant", {"slots": 1})
    assert job.changed({"pool": "local"}).pool == Spec("local")
    assert job.changed({"pool": {"name": "ray", "slots": 2}}).pool == Spec("ray", {"slots": 2})
    with pytest.raises(UserError, match="seed cannot change once a search exists, only budget, pool, final can"):
        job.changed({"seed": 3})
    with pytest.raises(UserError, match=r"budget\.trials is 0"):
        job.changed({"budget": {"trials": 0}})


def test_without_a_space_nothing_is_trained_again_unless_the_job_says_so() -> None:
    task = {"name": "image_classification", "learning_rate": {"range": [0.01, 0.1]}}
    assert Job.parse({"task": task}).final.top == 0
    assert Job.parse({"task": task, "final": {"seeds": 2}}).final.top == 1
    assert Job.parse({"task": task, "space": "pnas"}).final.top == 1
