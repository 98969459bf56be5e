"""What a figure counts, and that a kept search is used again only while it is still true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cached
import pytest
from cached import Cached, digest
from fill import FIGURES, PAGE, filled
from hyperparameters import ranked, regrets
from matrix import reached

from nas.bench.run import Contest, Contestant, Told
from nas.bench.table import Key, Row, Table, Training, objective
from nas.bench.trace import Trace, trace
from search_spaces.decision import Choice
from search_spaces.decisions import Decisions

OPTIONS = tuple(range(30))
CONTEST = Contest(6)


def numbers(shift: float = 0.0) -> Table:
    """Thirty numbers, the largest being best."""
    rows: dict[Key, Row] = {(i,): Row({1: (Training(i + shift, 5.0),)}, i + shift) for i in OPTIONS}
    return Table("group/numbers", Decisions({"n": Choice(OPTIONS, ordered=True)}), objective("value"), rows)


@pytest.fixture(autouse=True)
def _forget() -> None:
    digest.cache_clear()


def test_a_kept_search_is_read_again(tmp_path: Path) -> None:
    """The file is what counts: a search that was changed there comes back changed."""
    kept = Cached(Contestant("random"), tmp_path)
    found = kept(numbers(), CONTEST, 4)
    assert list(kept(numbers(), CONTEST, 4)) == list(found)
    place = kept.place(numbers(), CONTEST, 4)
    record = json.loads(place.read_text())
    record["told"] = record["told"][:2]
    place.write_text(json.dumps(record))
    assert list(kept(numbers(), CONTEST, 4)) == list(found[:2])
    assert list(kept(numbers(), CONTEST, 5)) != list(found)


def test_a_search_of_another_table_does_not_count(tmp_path: Path) -> None:
    """The same name with other values: searched again."""
    kept = Cached(Contestant("random"), tmp_path)
    kept(numbers(), CONTEST, 4)
    assert all(one.gain is not None and one.gain % 1 == 0.5 for one in kept(numbers(0.5), CONTEST, 4))


def test_a_search_by_other_code_does_not_count(tmp_path: Path) -> None:
    """The digest of the code stands beside the search."""
    kept = Cached(Contestant("random"), tmp_path)
    found = kept(numbers(), CONTEST, 4)
    place = kept.place(numbers(), CONTEST, 4)
    place.write_text(json.dumps({"code": "another", "told": []}))
    assert list(kept(numbers(), CONTEST, 4)) == list(found)


def test_the_beginning_of_a_longer_search_is_a_search(tmp_path: Path) -> None:
    """Of one worker; with two, another trial could have been told before."""
    kept = Cached(Contestant("random"), tmp_path)
    long = kept(numbers(), Contest(9), 4)
    assert list(kept(numbers(), CONTEST, 4)) == list(long[:6])
    assert not kept.place(numbers(), CONTEST, 4).exists()
    kept(numbers(), Contest(9, 2), 4)
    kept(numbers(), Contest(6, 2), 4)
    assert kept.place(numbers(), Contest(6, 2), 4).exists()


def test_every_option_has_its_own_place(tmp_path: Path) -> None:
    """Options, wrappers, trials and workers are all part of the name."""
    table = numbers()
    contestants = [Contestant("a"), Contestant("a", {"k": 1}), Contestant("a", {"k": 2}), Contestant("a", bare=True)]
    places = {Cached(one, tmp_path).place(table, CONTEST, 0) for one in contestants}
    places |= {Cached(contestants[0], tmp_path).place(table, Contest(6, workers), 0) for workers in (1, 2)}
    places |= {Cached(contestants[0], tmp_path).place(table, Contest(7), 0)}
    assert len(places) == 6


def test_a_digest_follows_what_is_imported_and_not_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another constant in an imported file counts; another docstring or comment does not."""
    monkeypatch.setattr(cached, "ROOT", tmp_path)
    folder = tmp_path / "nas" / "strategies"
    folder.mkdir(parents=True)
    mine, other = folder / "mine.py", folder / "other.py"
    mine.write_text('"""One."""\nfrom nas.strategies.other import SIZE\n')
    other.write_text("SIZE = 1\n")
    found = [digest("nas.strategies.mine")]
    mine.write_text('"""Two."""\n# a remark\nfrom nas.strategies.other import SIZE\n')
    digest.cache_clear()
    found.append(digest("nas.strategies.mine"))
    other.write_text("SIZE = 2\n")
    digest.cache_clear()
    found.append(digest("nas.strategies.mine"))
    assert found[0] == found[1] != found[2]


def test_equal_regrets_share_their_ranks() -> None:
    """Two runs on one table and one on another, ranked by hand."""
    found = ranked(
        {"t": {"a": [0.0, 3.0], "b": [0.0, 1.0], "c": [5.0, 2.0]}, "u": {"a": [1.0], "b": [2.0], "c": [3.0]}}
    )
    assert found == {
        "a": {"t": [1.5, 3.0], "u": [1.0]},
        "b": {"t": [1.5, 1.0], "u": [2.0]},
        "c": {"t": [3.0, 2.0], "u": [3.0]},
    }


def traced(table: Table, *rows: int, seconds: float = 5.0) -> Trace:
    told = [Told((n,), 1, float(n), seconds * (i + 1)) for i, n in enumerate(rows)]
    return trace(table, told, len(rows), 0)


def test_the_median_row_lacks_one() -> None:
    """Of thirty numbers the best is 29, and the median row is 14: 14 of 15 steps away it lacks 1."""
    table = numbers()
    assert regrets(table, [traced(table, 14, 29)], 1) == [1.0]
    assert regrets(table, [traced(table, 14, 29)], 2) == [0.0]


def test_a_race_with_shorter_trainings_ends_when_random_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told later does not count; without shorter trainings all trials do."""
    monkeypatch.setattr("matrix.TRIALS", 2)
    plain = numbers()
    rungs = replace(plain, rows={**plain.rows, (0,): Row({1: (Training(0.0),), 0: (Training(0.0),)}, 0.0)})
    random, quick = traced(plain, 3, 5), traced(plain, 7, 11, 13, 19, seconds=3.0)
    assert reached(rungs, random, random) == 5 - 29
    assert reached(rungs, quick, random) == 13 - 29
    assert reached(plain, quick, random) == 19 - 29
    nothing = trace(plain, [Told((99,), 1, None, 1.0)], 2, 0)
    assert reached(plain, nothing, random) < reached(plain, traced(plain, 0), random)


def test_a_figure_is_put_between_its_marks() -> None:
    """Only there, and again over what was there."""
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n<!-- begin y -->\n<!-- end y -->\n"
    once = filled(page, "x", "| new \\1 |\n\n")
    assert once == page.replace("old", "| new \\1 |")
    assert filled(once, "y", "z").endswith("<!-- begin y -->\nz\n<!-- end y -->\n")
    assert filled(once, "picture", "z") == once


def test_every_figure_has_its_marks() -> None:
    """All but the picture."""
    page = PAGE.read_text()
    assert {name for name in FIGURES if filled(page, name, "new") == page} == {"headline"}
