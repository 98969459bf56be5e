"""Searches of a table through the real loop: what is seen, what it costs, what the incumbent is after each trial."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from statistics import fmean, stdev
from typing import final

import pytest
from bench_tables import line, table
from hypothesis import given
from hypothesis import strategies as st

from nas.bench.columns import Columns
from nas.bench.compete import Searcher, compete
from nas.bench.file_table import FileTable
from nas.bench.run import Contest, Contestant, Told, run
from nas.bench.table import Key, Row, Table, Training, World, objective
from nas.bench.trace import trace
from nas.strategy import Draw, Setting, Strategy
from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Attempt, Result, Trial

RANDOM = Contestant("random")
values = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=12)


def rungs(continued: bool = False) -> Table:
    """Two candidates with trainings of 4 and 12 epochs; a third was never trained in full."""
    decisions = Decisions({"op": Choice(("a", "b", "c"))})
    rows: dict[Key, Row] = {
        ("a",): Row({4: (Training(0.5, 40.0),), 12: (Training(0.7, 100.0),)}, 1.7),
        ("b",): Row({4: (Training(0.6, 40.0),), 12: (Training(0.6, 110.0),)}, 1.6),
        ("c",): Row({4: (Training(0.9, 40.0),)}, math.nan),
    }
    return Table("rungs", decisions, objective("accuracy"), rows, 12, continued)


def trained(world: World, op: str, epochs: int, parent: Attempt | None = None) -> Result:
    above = None if parent is None else parent.trial.id
    return world(Attempt(Trial(7, Candidate({"op": op}), epochs, 12, above), parent=parent))


def test_a_training_is_answered_with_its_value_and_its_seconds() -> None:
    world = World(rungs(), 0)
    short, full = trained(world, "a", 4), trained(world, "a", 12)
    assert (short.outcome, dict(short.metrics), short.seconds) == (Outcome.COMPLETED, {"accuracy": 0.5}, 40.0)
    assert (full.outcome, dict(full.metrics), full.seconds) == (Outcome.COMPLETED, {"accuracy": 0.7}, 100.0)


@pytest.mark.parametrize(("op", "epochs"), [("c", 12), ("c", 4), ("d", 12), ("a", 5), ("a", 0)])
def test_what_the_table_does_not_have_is_infeasible(op: str, epochs: int) -> None:
    assert trained(World(rungs(), 0), op, epochs).outcome is Outcome.INFEASIBLE


@pytest.mark.parametrize(("continued", "seconds"), [(False, 100.0), (True, 60.0)])
def test_a_promotion_pays_the_difference_only_where_trainings_go_on(continued: bool, seconds: float) -> None:
    below = Attempt(Trial(3, Candidate({"op": "a"}), 4, 12))
    assert trained(World(rungs(continued), 0), "a", 12, below).seconds == seconds


def test_what_is_seen_of_repeats_is_the_seed_s_and_evenly_spread() -> None:
    found = table({(str(place),): (1.0, 2.0, 4.0) for place in range(400)})
    seen = [[World(found, seed).gain(key) for key in found.rows] for seed in (1, 1, 2)]
    assert seen[0] == seen[1] != seen[2]
    shares = [seen[0].count(value) / 400 for value in (1.0, 2.0, 4.0)]
    assert all(abs(share - 1 / 3) < 4 * math.sqrt(2 / 9 / 400) for share in shares)  # four standard errors


def test_one_repeat_is_seen_at_every_length() -> None:
    lengths = {epochs: tuple(Training(10.0 * repeat + epochs) for repeat in range(5)) for epochs in (1, 2)}
    decisions = Decisions({"op": Choice(tuple("abcdefgh"))})
    rows: dict[Key, Row] = {(op,): Row(lengths, 0.0) for op in "abcdefgh"}
    found = Table("long", decisions, objective("v"), rows, 2)
    for seed in range(5):
        world = World(found, seed)
        for op in "abcdefgh":
            short, full = (world(Attempt(Trial(0, Candidate({"op": op}), epochs, 2))).metrics["v"] for epochs in (1, 2))
            assert full - short == 1.0


@given(st.lists(st.lists(st.integers(0, 5).map(float), min_size=1, max_size=3), min_size=1, max_size=8), st.booleans())
def test_ranks_and_regrets_are_those_of_counting(rows: list[list[float]], minimize: bool) -> None:
    found = table({(str(place),): one for place, one in enumerate(rows)}, minimize)
    world = World(found, 5)
    sign = -1 if minimize else 1
    seen = {key: world.value(Candidate({"d0": str(key[0])})) for key in found.rows}
    gains = {key: sign * value for key, value in seen.items() if value is not None}
    reports = {key: sign * row.reported for key, row in found.rows.items()}
    assert world.best_search == max(gains.values())
    assert world.best_report == max(reports.values())
    for key, row in found.rows.items():
        assert world.gain(key) == gains[key]
        assert world.search_rank(gains[key]) == sum(one > gains[key] for one in gains.values())
        assert world.report_rank(row.reported) == sum(one > reports[key] for one in reports.values())


@given(values, st.booleans())
def test_a_trace_follows_the_best_full_training(given: list[float], minimize: bool) -> None:
    found = line(given, minimize)
    sign = -1 if minimize else 1
    keys = list(found.rows)
    told = [Told(key, 1, sign * value, float(i)) for i, (key, value) in enumerate(zip(keys, given, strict=True), 1)]
    traced = trace(found, told, len(given), 0)
    best = min if minimize else max
    for i in range(len(given)):
        value = best(given[: i + 1])
        better = sum(sign * one > sign * value for one in given)
        assert traced.search[i] == value
        assert traced.report[i] == found.rows[keys[given.index(value)]].reported
        assert traced.search_rank[i] == better
        assert traced.report_rank[i] == better
        assert traced.search_regret[i] == abs(best(given) - value)
        assert traced.report_regret[i] == pytest.approx(abs(best(given) - value))
        assert traced.seconds[i] == i + 1


def test_short_and_infeasible_trainings_are_no_incumbent_and_a_short_search_keeps_its_end() -> None:
    told = [
        Told(("c",), 12, None, 0.0),
        Told(("a",), 4, 0.5, 40.0),
        Told(("b",), 12, 0.6, 150.0),
        Told(("a",), 4, 9.0, 190.0),
        Told(("a",), 12, 0.7, 290.0),
    ]
    traced = trace(rungs(), told, 7, 0)
    assert traced.told == 5
    assert traced.search == (None, None, 0.6, 0.6, 0.7, 0.7, 0.7)
    assert traced.report == (None, None, 1.6, 1.6, 1.7, 1.7, 1.7)
    assert traced.search_rank == (None, None, 1.0, 1.0, 0.0, 0.0, 0.0)
    assert traced.seconds == (0.0, 40.0, 150.0, 190.0, 290.0, 290.0, 290.0)
    assert trace(rungs(), told, 2, 0).search == (None, None)
    assert trace(rungs(), (), 2, 0).seconds == (0.0, 0.0)


def test_of_equal_values_the_first_stays() -> None:
    found = table({("a",): (1.0,), ("b",): (1.0,)})
    assert trace(found, [Told(("b",), 1, 1.0, 1.0), Told(("a",), 1, 1.0, 2.0)], 2, 0).report == (101.0, 101.0)
    told = [Told(("b",), 1, 1.0, 1.0), Told(("a",), 1, 1.0, 2.0)]
    rows: dict[Key, Row] = {("a",): Row({1: (Training(1.0),)}, 5.0), ("b",): Row({1: (Training(1.0),)}, 3.0)}
    assert trace(Table("t", found.decisions, found.objective, rows), told, 2, 0).report == (3.0, 3.0)


def expected_best(given: Sequence[float], drawn: int) -> float:
    """The mean of the best of so many rows drawn without replacement, over all ways to draw them."""
    return fmean(max(one) for one in combinations(given, drawn))


def test_random_search_reaches_what_counting_all_draws_gives() -> None:
    given = [0.1, 0.9, 0.4, 0.4, 0.7, 0.2, 0.85, 0.3, 0.5]
    found = line(given)
    traces = [trace(found, run(found, RANDOM, Contest(6), seed), 6, seed) for seed in range(1500)]
    for trials in range(1, 7):
        reached = [one.search[trials - 1] or 0.0 for one in traces]
        off = fmean(reached) - expected_best(given, trials)
        assert abs(off) < 4 * stdev(reached) / math.sqrt(len(reached))


@pytest.mark.slow
def test_random_search_of_a_published_table_reports_what_its_ranks_give(data_root: Path) -> None:
    """Of k rows drawn without replacement that of rank i is the best in C(n - i - 1, k - 1) of C(n, k) ways."""
    edges = tuple(f"op{edge}" for edge in range(6))
    file = FileTable(data_root / "nb201" / "nb201.csv.gz", Columns(edges, "c10_val200_s0", "c10_test200"))
    found = compete(file, {"random": RANDOM}, Contest(100), range(200))["random"]
    rows = sorted(file().rows.values(), key=lambda row: -row.trainings[1][0].value)
    for drawn in (10, 50, 100):
        ways = [math.comb(len(rows) - i - 1, drawn - 1) / math.comb(len(rows), drawn) for i in range(3000)]
        expected = sum(row.reported * share for row, share in zip(rows, ways, strict=False)) / sum(ways)
        reached = [one.report[drawn - 1] or 0.0 for one in found]
        assert abs(fmean(reached) - expected) < 4 * stdev(reached) / math.sqrt(len(reached))


def test_nothing_is_trained_twice_unless_bare_and_the_end_is_all_there_is() -> None:
    found = line([1.0, 2.0, 3.0])
    told = run(found, RANDOM, Contest(50), 0)
    assert sorted(one.row for one in told) == [("00",), ("01",), ("02",)]
    bare = run(found, Contestant("random", bare=True), Contest(50), 0)
    assert len(bare) == 50


def test_one_worker_takes_the_seconds_of_all_and_more_workers_those_of_the_longest() -> None:
    found = line([1.0, 2.0, 3.0, 4.0])  # which take 1, 2, 3 and 4 seconds
    told = run(found, RANDOM, Contest(4), 3)
    taken = [float(one.row[0] or 0) + 1 for one in told]
    assert [one.seconds for one in told] == [sum(taken[: i + 1]) for i in range(4)]
    assert [one.seconds for one in run(found, RANDOM, Contest(4, workers=4), 3)] == [1.0, 2.0, 3.0, 4.0]
    two = run(found, RANDOM, Contest(4, workers=2), 3)
    assert two[0].seconds == min(taken[:2])
    assert max(one.seconds for one in two) < sum(taken)


def test_infeasible_rows_are_told_without_a_value_and_without_time() -> None:
    decisions = Decisions({"op": Choice(("a", "b", "c"))})
    found = Table("gaps", decisions, objective("v"), {("a",): Row({1: (Training(0.5, 9.0),)}, 0.5)})
    told = run(found, RANDOM, Contest(3), 0)
    assert {one.row: one.gain for one in told} == {("a",): 0.5, ("b",): None, ("c",): None}
    assert told[-1].seconds == 9.0


@final
class Climbing(Strategy):
    """Trains everything for 4 epochs, then, continuing that, for 12."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.below: list[Trial] = []
        self.above = 0

    def propose(self, draw: Draw) -> Trial | None:
        if draw.trial < 3:
            return Trial(draw.trial, Candidate({"op": "abc"[draw.trial]}), 4, 12)
        below = self.below[self.above] if self.above < len(self.below) else None
        return below and Trial(draw.trial, below.candidate, 12, 12, below.id)

    @property
    def exhausted(self) -> bool:
        return self.above == 3

    def asked(self, trial: Trial) -> None:
        if trial.parent is None:
            self.below.append(trial)
        else:
            self.above += 1

    def told(self, result: Result) -> None:
        """Nothing depends on it."""


@final
class Broken(Strategy):
    """Cannot bear a result."""

    def propose(self, draw: Draw) -> Trial:
        return self.trial(draw, self.setting.decisions.sample(draw.generator()))

    def asked(self, trial: Trial) -> None:
        """Fine so far."""

    def told(self, result: Result) -> None:
        raise ZeroDivisionError("told too much")


@pytest.mark.parametrize(("continued", "seconds"), [(False, [40, 80, 80, 180, 290]), (True, [40, 80, 80, 140, 210])])
def test_rungs_go_through_the_loop(continued: bool, seconds: list[float]) -> None:
    told = run(rungs(continued), Contestant(f"{__name__}:Climbing"), Contest(5), 0)
    assert [(one.row[0], one.epochs) for one in told] == [("a", 4), ("b", 4), ("c", 4), ("a", 12), ("b", 12)]
    assert [one.gain for one in told] == [0.5, 0.6, None, 0.7, 0.6]
    assert [one.seconds for one in told] == seconds


def test_a_strategy_that_cannot_digest_a_result_is_named() -> None:
    with pytest.raises(UserError, match=r"mine, seed 4: .*cannot digest trial 0 \(ZeroDiv.*much"):
        compete(partial(line, [1.0, 2.0]), {"mine": Contestant(f"{__name__}:Broken")}, Contest(2), [4], 1)


def failing(table: Table, contest: Contest, seed: int) -> Sequence[Told]:
    """Somebody else's method, on a bad day."""
    raise RuntimeError(f"no luck with {table.name}")


def counting(table: Table, contest: Contest, seed: int) -> Sequence[Told]:
    """Somebody else's method: the rows in their order, from the seed on."""
    keys = list(table.rows)
    world = World(table, seed)
    found = [keys[(seed + i) % len(keys)] for i in range(contest.trials)]
    return [Told(key, table.epochs, world.gain(key), float(i)) for i, key in enumerate(found)]


def test_what_comes_out_does_not_depend_on_the_number_of_processes() -> None:
    source = partial(table, {(a, b): (ord(a) / 9.0, ord(b) / 7.0) for a, b in product("abc", "defg")})
    searchers: dict[str, Searcher] = {"random": RANDOM, "bare": Contestant("random", bare=True), "counting": counting}
    heard: list[tuple[str, int]] = []
    alone = compete(source, searchers, Contest(6), range(3, 7), 1)
    spread = compete(source, searchers, Contest(6), range(3, 7), 2, lambda name, over: heard.append((name, over)))
    assert alone == spread
    assert list(spread) == list(searchers)
    assert [one.seed for one in spread["random"]] == [3, 4, 5, 6]
    assert sorted(heard) == sorted((name, over) for name in searchers for over in (1, 2, 3, 4))
    assert compete(source, searchers, Contest(6), [5], 1)["random"] == alone["random"][2:3]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_says_whose_it_is_and_with_which_seed(processes: int) -> None:
    with pytest.raises(UserError, match="mine, seed 1: RuntimeError: no luck with small"):
        compete(partial(line, [1.0]), {"mine": failing}, Contest(2), [1, 2], processes)


SLOW = """
import os, signal, sys, time
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
from bench_tables import line
from nas.bench.columns import Columns
from nas.bench.compete import compete
from nas.bench.run import Contest

def wait(table, contest, seed):
    (Path({folder!r}) / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
    compete(partial(line, [1.0]), {{"wait": wait}}, Contest(1), [1, 2], 2)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # no such file system here, or just gone
        return not Path("/proc").is_dir()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.05)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_one_that_started_it(tmp_path: Path, end: signal.Signals) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SLOW.format(tests=str(Path(__file__).parent), folder=str(begun)))
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
    until(lambda: len(list(begun.iterdir())) == 2)
    children = [int(one.name) for one in begun.iterdir()]
    assert all(map(alive, children))
    parent.send_signal(end)
    parent.communicate()
    until(lambda: not any(map(alive, children)))


def test_a_process_that_only_searches_loads_neither_numpy_nor_torch() -> None:
    script = "import sys, nas.bench.compete; print({'numpy', 'torch', 'scipy', 'ray', 'rich'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
