"""FileTable: a table out of a file, wide (a row per candidate) or long (a row per training)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import final

from nas.bench.columns import Columns
from nas.bench.sheet import Cells, Sheet
from nas.bench.table import Key, Row, Table, Training, objective
from nas.jobfile.mistakes import nearest
from search_spaces.decision import Choice, Value
from search_spaces.decisions import Decisions
from workers.errors import UserError

SHOWN = 6  # values of a column in a message


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """One training as the file has it: where, the value to search by, its seconds, the value to report."""

    number: int
    value: float
    seconds: float | None
    reported: float | None


@final
@dataclass
class Gathered:
    """The trainings of one candidate: by epochs, then by repeat."""

    trainings: dict[int, dict[str, Cell]] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class FileTable:
    """Calling it reads the file; `UserError` names the line of what is wrong there."""

    path: Path
    columns: Columns

    def __call__(self) -> Table:
        reading = _Reading(Sheet(self.path), self.columns)
        for number, cells in reading.sheet.rows(self.columns.named):
            reading.row(number, cells)
        return reading.table()


@final
class _Reading:
    """What is known after some rows; a full training whose epochs nothing has said yet is kept under 0."""

    def __init__(self, sheet: Sheet, columns: Columns) -> None:
        self.sheet, self.columns = sheet, columns
        self.places = {name: place for place, name in enumerate(columns.named)}
        self.found: dict[Key, Gathered] = {}
        self.seen: dict[str, set[str]] = {name: set() for name in columns.where}
        self.longest = 0
        self._numbers: dict[str, Value] = {}  # a cache: the same few texts come in every row
        self._decided = [(self.places[name], name in columns.ordered, name) for name in columns.decisions]
        self._where = [(self.places[name], name, wanted) for name, wanted in columns.where.items()]
        self._check()

    def row(self, number: int, cells: Cells) -> None:
        """Take note of one row of the file."""
        for place, name, wanted in self._where:
            if not any(_same(cells[place], one) for one in wanted):
                self.seen[name].add(cells[place])
                return
        key = tuple([self._value(number, cells[p], name) if o else cells[p] for p, o, name in self._decided])
        gathered = self.found.setdefault(key, Gathered())
        columns, repeat = self.columns, self._text(cells, self.columns.repeat_column)
        if columns.fidelity_column is not None:
            epochs = self._epochs(number, cells)
            self._keep(gathered, number, cells, (epochs, repeat, columns.search, columns.cost))
            return
        self._keep(gathered, number, cells, (0, repeat, columns.search, columns.cost))
        for epochs, name in columns.shorter.items():
            self._keep(gathered, number, cells, (epochs, repeat, name, columns.costs.get(epochs)))

    def table(self) -> Table:
        """The whole table, when every row is known."""
        if not self.found:
            raise UserError(f"{self.sheet.path} has no row{self._left_out()}")
        epochs = self._length()
        rows = {key: row for key, one in self.found.items() if (row := self._row(one.trainings, epochs)) is not None}
        if not any(epochs in row.trainings for row in rows.values()):
            what = f"of {epochs} epochs " if self.columns.fidelity_column else ""
            raise UserError(
                f"{self.sheet.path} has no training {what}with a finite {self.columns.search}: name another column"
            )
        return Table(
            name=self.sheet.path.name.partition(".")[0],
            decisions=Decisions(self._decisions()),
            objective=objective(self.columns.search, self.columns.minimize),
            rows=rows,
            epochs=epochs,
            continued=self.columns.continued,
        )

    def _check(self) -> None:
        columns = self.columns
        for name in columns.ordered:
            if name not in columns.decisions:
                raise UserError(f"{name!r} is ordered, but is no decision: {nearest(name, columns.decisions)}")
        if len(set(columns.decisions)) < len(columns.decisions) or not columns.decisions:
            raise UserError(f"the decisions are {', '.join(columns.decisions) or 'none'}: name each column once")
        if columns.fidelity_column and (columns.fidelities or columns.costs):
            raise UserError("a fidelity column and columns of fidelities exclude each other: leave one of them out")
        for epochs in columns.costs:
            if epochs not in columns.fidelities:
                raise UserError(f"the seconds of {epochs} epochs are given, but not their value: name that column, too")
        if columns.costs and columns.cost is None:
            raise UserError("the seconds of shorter trainings are given, but not those of a full one: name them, too")

    def _value(self, number: int, text: str, name: str) -> Value:
        """The number that an ordered decision is; whole ones as int."""
        known = self._numbers.get(text)
        if known is None:
            found = _number(text)
            if found is None or not math.isfinite(found):
                raise UserError(f"{self.sheet.place(number)}: {name} is {text!r}, but must be a number: it is ordered")
            known = self._numbers[text] = int(found) if found.is_integer() else found
        return known

    def _epochs(self, number: int, cells: Cells) -> int:
        name = self.columns.fidelity_column
        found = _number(self._text(cells, name))
        if found is None or not found.is_integer() or found < 1:
            text = self._text(cells, name)
            raise UserError(f"{self.sheet.place(number)}: {name} is {text!r}, but must be a whole number from 1")
        return int(found)

    def _text(self, cells: Cells, name: str | None) -> str:
        return "" if name is None else cells[self.places[name]]

    def _float(self, number: int, cells: Cells, name: str) -> float | None:
        """The number in a cell; None where it is empty or no finite number, as that of a training that diverged."""
        text = cells[self.places[name]]
        if not text:
            return None
        found = _number(text)
        if found is None:
            raise UserError(f"{self.sheet.place(number)}: {name} is {text!r}, but must be a number, or empty")
        return found if math.isfinite(found) else None

    def _keep(self, gathered: Gathered, number: int, cells: Cells, what: tuple[int, str, str, str | None]) -> None:
        """One training of a row; one without a value is none."""
        epochs, repeat, search, cost = what
        kept = gathered.trainings.setdefault(epochs, {})
        if repeat in kept:
            self._refuse_twice(kept[repeat].number, number)
        value = self._float(number, cells, search)
        if value is None:
            return
        seconds = None if cost is None else self._float(number, cells, cost)
        if cost is not None and (seconds is None or seconds < 0):
            text = self._text(cells, cost)
            raise UserError(
                f"{self.sheet.place(number)}: {cost} is {text!r}, but must be seconds, 0 or more: "
                "fill them in, or leave the column of seconds out"
            )
        kept[repeat] = Cell(number, value, seconds, self._float(number, cells, self.columns.report))
        self.longest = max(self.longest, epochs)

    def _refuse_twice(self, first: int, second: int) -> None:
        columns = self.columns
        kind = "training" if columns.fidelity_column else "candidate"
        hints = ["more --decisions", "a --where that keeps one of them"]
        if columns.repeat_column is None:
            hints.insert(0, "a --repeat-column")
        if columns.fidelity_column is None:
            hints.insert(0, "a --fidelity-column")
        named = f"{', '.join(hints[:-1])} or {hints[-1]}"
        raise UserError(f"{self.sheet.place(second)} is the same {kind} as line {first}: name {named}")

    def _left_out(self) -> str:
        told = []
        for name, wanted in self.columns.where.items():
            there = sorted(self.seen[name])
            more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
            told.append(f"{name}={'|'.join(wanted)} (others have {', '.join(there[:SHOWN])}{more})")
        return f" with {', '.join(told)}" if told else ""

    def _length(self) -> int:
        """The epochs of a full training; in a wide table, as a last resort, by what a shorter one costs."""
        columns = self.columns
        if columns.fidelity_column is not None:
            return columns.epochs or self.longest or 1
        length = columns.length
        if length is None and columns.costs:
            length = max(round(self._ratio()), max(columns.shorter) + 1)
        if length is None:
            raise UserError(
                "shorter trainings are named, but not how many epochs a full one takes: give --epochs N, "
                f"or --fidelity N={columns.search}"
            )
        if columns.shorter and max(columns.shorter) >= length:
            raise UserError(
                f"a training of {max(columns.shorter)} epochs is named as shorter, but a full one takes {length}: "
                "give --epochs N where that is wrong"
            )
        return length

    def _ratio(self) -> float:
        """How many epochs a full training takes if every epoch costs the same, in the median row."""
        epochs = max(self.columns.costs)
        pairs = [
            (full.seconds, short.seconds)
            for one in self.found.values()
            for full, short in zip(one.trainings[0].values(), one.trainings[epochs].values(), strict=False)
        ]
        return epochs * median([full / short for full, short in pairs if full and short] or [1.0])

    def _row(self, trainings: Mapping[int, Mapping[str, Cell]], epochs: int) -> Row | None:
        """The row of one candidate; None where there is no training."""
        full = trainings.get(0 if self.columns.fidelity_column is None else epochs, {})
        kept: dict[int, tuple[Training, ...]] = {}
        for length, repeats in trainings.items():
            if repeats and length <= epochs:
                cells = [repeats[one] for one in sorted(repeats)]
                kept[length or epochs] = tuple(self._training(one, length or epochs, epochs, full) for one in cells)
        if not kept:
            return None
        missing = next((one for one in full.values() if one.reported is None), None)
        if missing is not None:
            raise UserError(
                f"{self.sheet.place(missing.number)} has {self.columns.search}, but no finite {self.columns.report}: "
                "report another column, or leave the row out (--where)"
            )
        return Row(kept, fmean(one.reported for one in full.values() if one.reported is not None) if full else math.nan)

    def _training(self, cell: Cell, length: int, epochs: int, full: Mapping[str, Cell]) -> Training:
        """With its seconds: in proportion to its epochs where the file has none, a full one being 1 without costs."""
        if cell.seconds is not None:
            return Training(cell.value, cell.seconds)
        same = next((one.seconds for one in full.values() if one.number == cell.number), None)
        return Training(cell.value, (1.0 if same is None else same) * length / epochs)

    def _decisions(self) -> dict[str, Choice]:
        found: dict[str, Choice] = {}
        for place, name in enumerate(self.columns.decisions):
            options = _sorted({key[place] for key in self.found})
            found[name] = Choice(tuple(options), ordered=name in self.columns.ordered)
        return found


def _sorted(values: Iterable[Value | None]) -> list[Value]:
    """Numbers by size, also where they are text; anything else as text."""
    known = [value for value in values if value is not None]
    numbers = [_number(str(value)) for value in known]
    if all(number is not None and math.isfinite(number) for number in numbers):
        return sorted(known, key=lambda value: (float(value), str(value)))
    return sorted(known, key=str)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _same(text: str, wanted: str) -> bool:
    """Equal as text or as numbers."""
    if text == wanted:
        return True
    left, right = _number(text), _number(wanted)
    return left is not None and left == right
