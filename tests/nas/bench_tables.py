"""Small tables of trainings, written out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.bench.table import Key, Row, Table, Training, objective
from search_spaces.decision import Choice
from search_spaces.decisions import Decisions

TITLES = "op,width,val4,val,test,seconds4,seconds"
LINES = (
    "conv,16,0.50,0.70,0.69,10,100",
    "conv,32,0.55,0.80,0.78,20,200",
    "conv,64,0.40,0.75,0.79,40,400",
    "pool,16,0.30,0.40,0.41,8,80",
    "pool,32,0.35,,,16,160",
    "skip,16,0.20,0.30,0.29,4,40",
)


def table(values: Mapping[Key, Sequence[float]], minimize: bool = False, epochs: int = 1) -> Table:
    """A table of these rows: the repeats of a full training, which take as many seconds as the row's place from 1.

    What is reported is their mean plus 100.
    """
    places = range(len(next(iter(values))))
    options = [sorted({str(key[place]) for key in values}) for place in places]
    decisions = Decisions({f"d{place}": Choice(tuple(found)) for place, found in zip(places, options, strict=True)})
    rows = {
        key: Row({epochs: tuple(Training(value, float(place)) for value in found)}, sum(found) / len(found) + 100)
        for place, (key, found) in enumerate(values.items(), 1)
    }
    return Table("small", decisions, objective("value", minimize), rows, epochs)


def line(values: Sequence[float], minimize: bool = False) -> Table:
    """A table of one decision with an option for each value."""
    return table({(f"{place:02}",): [value] for place, value in enumerate(values)}, minimize)


def written(folder: Path, titles: str = TITLES, lines: Sequence[str] = LINES) -> Path:
    """A CSV file of them."""
    file = folder / "trainings.csv"
    file.write_text("\n".join([titles, *lines, ""]), encoding="utf-8")
    return file
