"""Tables out of files: wide and long ones, packed and not, and what is said of those that cannot be."""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from bench_tables import LINES, TITLES, written

from nas.bench.columns import Columns
from nas.bench.file_table import FileTable
from nas.bench.table import Table
from search_spaces.decision import Choice
from workers.errors import DamagedError, NotFoundError, UserError

WIDE = Columns(("op", "width"), "val", "test", ordered=("width",), cost="seconds")
LONG_TITLES = "op,epochs,repeat,val,test,seconds,kind"
LONG = Columns(("op",), "val", "test", cost="seconds", fidelity_column="epochs", repeat_column="repeat")
LONG_LINES = (
    "a,4,0,0.5,0.4,1,x",
    "a,4,1,0.6,0.5,2,x",
    "a,12,0,0.7,0.6,3,x",
    "a,12,1,0.8,0.8,4,x",
    "b,4,0,0.1,0.2,5,x",
    "c,12,0,0.9,0.3,6,y",
)


def read(file: Path, columns: Columns) -> Table:
    return FileTable(file, columns)()


def test_a_wide_file_has_a_row_per_candidate(tmp_path: Path) -> None:
    found = read(written(tmp_path), WIDE)
    assert found.decisions["op"] == Choice(("conv", "pool", "skip"))
    assert found.decisions["width"] == Choice((16, 32, 64), ordered=True)
    assert (found.name, found.epochs, found.fidelities, found.repeated) == ("trainings", 1, (), False)
    assert set(found.feasible) == {("conv", 16), ("conv", 32), ("conv", 64), ("pool", 16), ("skip", 16)}
    row = found.rows["conv", 64]
    assert (row.trainings[1][0].value, row.trainings[1][0].seconds, row.reported) == (0.75, 400.0, 0.79)


def test_columns_of_shorter_trainings_and_their_seconds(tmp_path: Path) -> None:
    file = written(tmp_path)
    found = read(file, replace(WIDE, fidelities={4: "val4"}, costs={4: "seconds4"}, epochs=20))
    assert (found.epochs, found.fidelities) == (20, (4,))
    row = found.rows["conv", 32]
    assert {epochs: (one[0].value, one[0].seconds) for epochs, one in row.trainings.items()} == {
        4: (0.55, 20.0),
        20: (0.80, 200.0),
    }
    assert ("pool", 32) in found.rows
    assert ("pool", 32) not in found.feasible, "a short training alone is none that could be reported"


def test_a_shorter_training_costs_in_proportion_where_nothing_is_said(tmp_path: Path) -> None:
    columns = replace(WIDE, fidelities={4: "val4"}, epochs=20)
    assert read(written(tmp_path), columns).rows["conv", 32].trainings[4][0].seconds == 200 * 4 / 20
    free = read(written(tmp_path), replace(columns, cost=None)).rows["conv", 32]
    assert [free.trainings[epochs][0].seconds for epochs in (4, 20)] == [0.2, 1.0]


@pytest.mark.parametrize(
    ("changes", "length"),
    [
        ({"epochs": 30}, 30),
        ({"fidelities": {4: "val4", 25: "val"}}, 25),
        ({"costs": {4: "seconds4"}}, 40),  # ten times the seconds of 4 epochs in every row
    ],
)
def test_the_length_of_a_full_training_is_said_in_several_ways(
    tmp_path: Path, changes: dict[str, Any], length: int
) -> None:
    columns = replace(WIDE, **{"fidelities": {4: "val4"}, **changes})
    assert read(written(tmp_path), columns).epochs == length


@pytest.mark.parametrize(
    ("short", "full", "length"),
    [
        ("c10_val12", "c10_val200_s0", 200),
        ("val_12_epochs", "val_108_epochs", 108),
        ("val12", "val", None),
        ("val12", "val8", None),
        ("c12_val", "c200_val", 200),
        ("val_12", "test_200", None),
        ("val112", "val200", None),
    ],
)
def test_two_names_that_differ_in_the_number_say_the_length(short: str, full: str, length: int | None) -> None:
    assert Columns(("op",), full, full, fidelities={12: short}).length == length


def test_a_long_file_has_a_row_per_training_and_repeat(tmp_path: Path) -> None:
    found = read(written(tmp_path, LONG_TITLES, LONG_LINES), LONG)
    assert (found.epochs, found.fidelities, found.repeated) == (12, (4,), True)
    assert set(found.rows) == {("a",), ("b",), ("c",)}
    assert set(found.feasible) == {("a",), ("c",)}, "b was never trained in full"
    row = found.rows["a",]
    assert [(one.value, one.seconds) for one in row.trainings[4]] == [(0.5, 1.0), (0.6, 2.0)]
    assert [(one.value, one.seconds) for one in row.trainings[12]] == [(0.7, 3.0), (0.8, 4.0)]
    assert row.reported == fmean([0.6, 0.8]), "the repeats of the longest training, and of no other"


def test_a_long_file_can_be_cut_at_an_epoch(tmp_path: Path) -> None:
    found = read(written(tmp_path, LONG_TITLES, LONG_LINES), replace(LONG, epochs=4))
    assert (found.epochs, found.fidelities, set(found.feasible)) == (4, (), {("a",), ("b",)})
    assert found.rows["a",].reported == fmean([0.4, 0.5])


def test_where_keeps_the_rows_that_have_one_of_the_values(tmp_path: Path) -> None:
    file = written(tmp_path, LONG_TITLES, LONG_LINES)
    assert set(read(file, replace(LONG, where={"kind": ("y",)})).rows) == {("c",)}
    assert len(read(file, replace(LONG, where={"kind": ("y", "x")})).rows) == 3
    assert set(read(file, replace(LONG, where={"epochs": ("12.0",), "kind": ("x",)})).rows) == {("a",)}


def test_text_that_is_a_number_is_sorted_as_one_and_stays_text(tmp_path: Path) -> None:
    file = written(tmp_path, "k,v", ["10,1", "9,2", "-1,3"])
    assert read(file, Columns(("k",), "v", "v")).decisions["k"] == Choice(("-1", "9", "10"))
    file = written(tmp_path, "k,v", ["10,1", "9,2", "nan,3", ",4"])
    assert read(file, Columns(("k",), "v", "v")).decisions["k"] == Choice(("", "10", "9", "nan"))


@pytest.mark.parametrize("empty", ["", "nan", "inf", "-inf", "NaN"])
def test_a_training_without_a_finite_value_is_none(tmp_path: Path, empty: str) -> None:
    found = read(written(tmp_path, lines=[*LINES[:4], f"skip,64,0.1,{empty},,1,1"]), WIDE)
    assert ("skip", 64) not in found.feasible
    assert 64 in found.decisions["width"].points


def test_packed_files_and_other_endings_of_lines_say_the_same(tmp_path: Path) -> None:
    plain = written(tmp_path)
    packed = tmp_path / "TRAININGS.CSV.GZ"
    packed.write_bytes(gzip.compress(plain.read_bytes().replace(b"\n", b"\r\n")))
    marked = tmp_path / "marked.csv"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert read(packed, WIDE).rows == read(plain, WIDE).rows == read(marked, WIDE).rows


def test_a_parquet_file_says_the_same(tmp_path: Path, require: Callable[[str, bool, str], None]) -> None:
    require("tables", find_spec("pyarrow") is not None, "pyarrow is not installed: pip install 'cellwright[benchmark]'")
    import pyarrow
    from pyarrow import parquet

    plain = written(tmp_path)
    with plain.open() as opened:
        rows = list(csv.DictReader(opened))
    columns: dict[str, list[Any]] = {"op": [row["op"] for row in rows]}
    columns["width"] = [int(row["width"]) for row in rows]
    for name in ("val4", "val", "test", "seconds4", "seconds"):
        columns[name] = [float(row[name]) if row[name] else None for row in rows]
    file = tmp_path / "trainings.parquet"
    parquet.write_table(pyarrow.table(columns), file)
    assert read(file, WIDE).rows == read(plain, WIDE).rows
    with pytest.raises(UserError, match="has no column 'vall': did you mean val"):
        read(file, replace(WIDE, search="vall"))
    file.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DamagedError, match="cannot be read as parquet"):
        read(file, WIDE)


def test_without_pyarrow_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="only where pyarrow is installed: pip install pyarrow, or save it as CSV"):
        read(tmp_path / "table.parquet", WIDE)


@pytest.mark.parametrize(
    ("titles", "lines", "columns", "said"),
    [
        (TITLES, LINES, replace(WIDE, search="vall"), r"has no column 'vall': did you mean val4?\?"),
        (TITLES, LINES, replace(WIDE, ordered=("op",)), "line 2: op is 'conv', but must be a number"),
        (
            TITLES,
            LINES,
            replace(WIDE, ordered=("widht",)),
            "'widht' is ordered, but is no decision: did you mean",
        ),
        (TITLES, LINES, replace(WIDE, decisions=("op", "op"), ordered=()), "name each column once"),
        (TITLES, LINES, replace(WIDE, decisions=("op",), ordered=()), "line 3 is the same candidate as line 2: name"),
        (TITLES, LINES, replace(WIDE, where={"op": ("cow",)}), r"no row with op=cow \(others have conv, pool, skip\)"),
        (TITLES, (), WIDE, "has no row"),
        (TITLES, ["conv,16,a,b,c,1,1"], WIDE, "line 2: val is 'b', but must be a number, or empty"),
        (TITLES, [*LINES, "skip,32,0.1,0.2,0.3"], WIDE, "line 8 has 5 cells, but there are 7 titles"),
        (TITLES, ["skip,32,0.1,0.2,0.3,1,"], WIDE, "line 2: seconds is '', but must be seconds, 0 or more: fill"),
        (TITLES, ["skip,32,0.1,0.2,0.3,1,-4"], WIDE, "line 2: seconds is '-4', but must be seconds"),
        (TITLES, ["skip,32,0.1,0.2,,1,1"], WIDE, "line 2 has val, but no finite test"),
        (TITLES, ["skip,32,0.1,,,1,1"], WIDE, "no training with a finite val"),
        ("val," + TITLES, ["1," + LINES[0]], WIDE, "has 2 columns 'val': rename all but one"),
        (TITLES, LINES, replace(WIDE, fidelities={4: "val4"}), r"give --epochs N, or --fidelity N=val"),
        (
            TITLES,
            LINES,
            replace(WIDE, fidelities={4: "val4"}, epochs=3),
            "4 epochs is named as shorter, but a full",
        ),
        (TITLES, LINES, replace(WIDE, costs={4: "seconds4"}), "seconds of 4 epochs are given, but not their value"),
        (TITLES, LINES, replace(WIDE, fidelities={4: "val4"}, fidelity_column="width"), "exclude each other"),
        (LONG_TITLES, ["a,x,0,1,1,1,x"], LONG, "line 2: epochs is 'x', but must be a whole number from 1"),
        (LONG_TITLES, LONG_LINES, replace(LONG, repeat_column=None), "is the same training as line 2: name a --repeat"),
        (LONG_TITLES, LONG_LINES, replace(LONG, epochs=5), "no training of 5 epochs with a finite val"),
    ],
)
def test_mistakes_are_said_with_their_place_and_remedy(
    tmp_path: Path, titles: str, lines: tuple[str, ...], columns: Columns, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read(written(tmp_path, titles, lines), columns)


def _broken(folder: Path) -> Path:
    file = folder / "broken.csv.gz"
    lines = "\n".join(["op,width,val,test,seconds", *(f"c{place},16,1,1,1" for place in range(50))])
    file.write_bytes(gzip.compress(lines.encode())[:-12])
    return file


def _latin(folder: Path) -> Path:
    file = folder / "latin.csv"
    file.write_bytes("op,width,val,test,seconds\nfaltung-\u00e4,16,1,1,1\n".encode("latin-1"))
    return file


@pytest.mark.parametrize(
    ("file", "kind", "said"),
    [
        (lambda folder: folder / "none.csv", NotFoundError, "there is no table .*none.csv"),
        (lambda folder: written(folder).rename(folder / "table.txt"), UserError, "ends in .csv, .csv.gz, .parquet"),
        (_broken, DamagedError, "cannot be unpacked"),
        (_latin, UserError, "no text in UTF-8"),
    ],
)
def test_files_that_are_none(tmp_path: Path, file: Callable[[Path], Path], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        read(file(tmp_path), WIDE)


def test_the_published_table_of_15625_cells(data_root: Path) -> None:
    edges = tuple(f"op{edge}" for edge in range(6))
    columns = Columns(edges, "c10_val200_s0", "c10_test200", cost="c10_train_seconds200", fidelities={12: "c10_val12"})
    found = read(data_root / "nb201" / "nb201.csv.gz", columns)
    assert len(found.feasible) == found.decisions.size() == 5**6
    assert (found.epochs, found.fidelities) == (200, (12,))
    assert max(row.reported for row in found.rows.values()) == 94.3733  # 94.37 is what is published
    best = max(found.feasible.values(), key=lambda row: row.trainings[200][0].value)
    assert best.trainings[12][0].seconds == pytest.approx(best.trainings[200][0].seconds * 12 / 200)


def test_the_published_table_of_small_cells_with_repeats(data_root: Path) -> None:
    columns = Columns(
        ("edges", "ops"),
        "val_acc",
        "test_acc",
        cost="train_seconds",
        where={"space": ("4V",)},
        fidelity_column="epochs",
        repeat_column="repeat",
    )
    found = read(data_root / "ecnas" / "ecnas.csv.gz", columns)
    assert (found.epochs, found.fidelities, len(found.feasible)) == (108, (4, 12, 36), 91)
    assert found.decisions.size() == 169, "two columns whose values do not all go together"
    assert all(len(one) == 3 for row in found.rows.values() for one in row.trainings.values())
    assert round(max(one.value for row in found.rows.values() for one in row.trainings[108]), 4) == 0.9433


def test_a_table_without_shorter_trainings_offers_no_rungs(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert read(file, replace(WIDE, epochs=20)).setting(seed=0).fidelities == (20,)
    assert read(file, replace(WIDE, fidelities={4: "val4"}, epochs=20)).setting(seed=0).fidelities == (4, 20)
